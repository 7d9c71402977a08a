-- Days with Cursor, from the daily usage data of its Admin API or the CSV file of its dashboard: one row per row of it.
-- https://cursor.com/docs/account/teams/admin-api describes it.
--
-- date: the UTC day: the API gives it as milliseconds since 1970, the dashboard as text that begins with YYYY-MM-DD.
-- person: the person's address as it is compared.
-- is_active: what Cursor says of it.
SELECT
  COALESCE(
    DATE(TIMESTAMP_MILLIS(SAFE_CAST(text AS INT64)), 'UTC'), SAFE_CAST(SUBSTR(text, 1, 10) AS DATE)
  ) AS date,
  actor_id /* comparable */ AS person,
  COALESCE(is_active, FALSE) AS is_active
FROM (
  SELECT
    'user_actor' AS actor_type,
    email AS actor_id,
    CAST(date AS STRING) AS text,
    isActive AS is_active
  FROM `claude_code.cursor_usage`
)
