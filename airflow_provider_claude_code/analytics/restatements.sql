-- Which days changed after they had been loaded: one row per load of a day and table whose content differs from that of
-- the load before. Loads that found what was there already are left out.
--
-- date: The UTC day that changed.
-- organization_id: The organisation of the key that loaded it.
-- table_name: usage, model_usage or tool_usage.
-- previous_loaded_at: When the load before began.
-- loaded_at: When the load that found the change began.
-- hours_after_day_end: Hours from the end of the day (24:00 UTC) until then.
-- was_complete: Whether the load before had read the day after it was complete; if not, a change was to be expected.
-- is_complete: Whether this load did.
-- identity_changed: Whether actor_id is written otherwise since (plain or hmac, or another pseudonym secret), which
--   changes the content by itself; the changes of rows, sessions and cost still say what the API changed.
-- rows_changed: Rows of the day in the table, now less before.
-- sessions_changed: Sessions of the day, now less before.
-- cost_cents_changed: Cost of the day in cents, of all customer types, now less before; null when either is unknown
--   because its currencies differ.
WITH steps AS (
  SELECT
    loads.*,
    LAG(loaded_at) OVER history AS previous_loaded_at,
    LAG(content_digest) OVER history AS previous_digest,
    LAG(complete) OVER history AS was_complete,
    LAG(CONCAT(actor_identity, COALESCE(pseudonym_key_id, ''))) OVER history AS previous_identity,
    LAG(row_count) OVER history AS previous_row_count,
    LAG(num_sessions) OVER history AS previous_num_sessions,
    LAG(estimated_cost_cents) OVER history AS previous_cost_cents
  FROM `claude_code.loads` AS loads
  WHERE date >= DATE '2025-01-01' /* since */
  WINDOW history AS (PARTITION BY organization_id, date, table_name ORDER BY load_id)
)
SELECT
  date,
  organization_id,
  table_name,
  previous_loaded_at,
  loaded_at,
  TIMESTAMP_DIFF(loaded_at, TIMESTAMP(DATE_ADD(date, INTERVAL 1 DAY), 'UTC'), SECOND) / 3600 AS hours_after_day_end,
  was_complete,
  complete AS is_complete,
  previous_identity <> CONCAT(actor_identity, COALESCE(pseudonym_key_id, '')) AS identity_changed,
  row_count - previous_row_count AS rows_changed,
  num_sessions - previous_num_sessions AS sessions_changed,
  estimated_cost_cents - previous_cost_cents AS cost_cents_changed
FROM steps
WHERE content_digest <> previous_digest
