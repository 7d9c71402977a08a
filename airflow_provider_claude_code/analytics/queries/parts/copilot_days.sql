-- Days with GitHub Copilot, from the user-level reports of its usage metrics (users-1-day and users-28-day), whose lines
-- are JSON: one row per line. https://docs.github.com/en/copilot/reference/copilot-usage-metrics describes them. A report
-- names people by their GitHub login, so a table of logins and addresses has to be given with it.
--
-- date: the UTC day.
-- person: the person's address as it is compared; the login in lower case where the table of logins has none.
-- is_known: whether the table of logins has an address.
-- is_active: whether the report has any prompt, generation, acceptance or line that was added on the day, or the use of
--   chat, agent mode or the CLI.
WITH logins AS (
  -- Of several addresses of a login it is always the same one.
  SELECT LOWER(TRIM(login)) AS login, MIN(NULLIF(address, '')) AS address
  FROM (
    SELECT login, actor_id /* comparable */ AS address
    FROM (SELECT 'user_actor' AS actor_type, * FROM `claude_code.copilot_logins`)
  )
  GROUP BY 1
)
SELECT
  reported.day AS date,
  COALESCE(logins.address, LOWER(TRIM(reported.user_login))) AS person,
  logins.address IS NOT NULL AS is_known,
  GREATEST(
    COALESCE(reported.user_initiated_interaction_count, 0),
    COALESCE(reported.code_generation_activity_count, 0),
    COALESCE(reported.code_acceptance_activity_count, 0),
    COALESCE(reported.loc_added_sum, 0)
  ) > 0
    OR COALESCE(reported.used_chat, FALSE)
    OR COALESCE(reported.used_agent, FALSE)
    OR COALESCE(reported.used_cli, FALSE) AS is_active
FROM `claude_code.copilot_usage` AS reported
LEFT JOIN logins ON logins.login = LOWER(TRIM(reported.user_login))
