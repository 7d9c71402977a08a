-- Which days changed after they had been loaded: one row per load of a day and table whose content differs from that of
-- the load before. Loads that found the same content are left out. So are snapshots (the stream members), which are
-- expected to differ. The change may be that of a single record, so the model is created only if it is named.
--
-- key: date, organization_id, table_name, loaded_at
-- date: The UTC day that changed.
-- organization_id: The organisation of the key that loaded it.
-- stream: The stream that the table belongs to: usage or cost.
-- table_name: The table that changed.
-- previous_loaded_at: When the load before began.
-- loaded_at: When the load that found the change began.
-- hours_after_day_end: Hours from the end of the day (24:00 UTC) to loaded_at.
-- was_complete: Whether the load before had read the day after it was complete; if not, a change was to be expected.
-- is_complete: Whether this load did so.
-- identity_changed: Whether actor_id is stored in another way than before (plain or hmac, or with another pseudonym
--   secret). This alone changes the content. The changes of rows, sessions and cost still show what the API changed.
-- schema_changed: Whether the two loads wrote different versions of the tables (schema_version), which may change the
--   content by itself.
-- request_changed: Whether the two loads sent different requests, for example for other products, which changes the
--   content by itself.
-- rows_changed: Rows of the day in the table: the new number minus the old one.
-- sessions_changed: Sessions of the day: the new number minus the old one; null for streams without sessions.
-- cost_cents_changed: Estimated cost of the day in cents, for all customer types: the new amount minus the old one;
--   null when one of them is unknown because its currencies differ, and for streams without an estimate.
WITH steps AS (
  SELECT
    date, organization_id, streams.stream, table_name, loaded_at, content_digest, complete, actor_identity,
    pseudonym_key_id, schema_version, request, row_count, num_sessions, estimated_cost_cents,
    LAG(loaded_at) OVER history AS previous_loaded_at,
    LAG(content_digest) OVER history AS previous_digest,
    LAG(complete) OVER history AS was_complete,
    LAG(CONCAT(actor_identity, COALESCE(pseudonym_key_id, ''))) OVER history AS previous_identity,
    LAG(schema_version) OVER history AS previous_schema_version,
    LAG(COALESCE(request, '{}')) OVER history AS previous_request,
    LAG(row_count) OVER history AS previous_row_count,
    LAG(num_sessions) OVER history AS previous_num_sessions,
    LAG(estimated_cost_cents) OVER history AS previous_cost_cents
  FROM `claude_code.loads` AS loads
  JOIN `claude_code.streams` AS streams ON streams.stream = COALESCE(loads.stream, 'usage')
  WHERE date >= DATE '2025-01-01' /* since */ AND NOT streams.is_snapshot
  WINDOW history AS (PARTITION BY organization_id, date, table_name ORDER BY load_id)
)
SELECT
  date,
  organization_id,
  stream,
  table_name,
  previous_loaded_at,
  loaded_at,
  TIMESTAMP_DIFF(loaded_at, TIMESTAMP(DATE_ADD(date, INTERVAL 1 DAY), 'UTC'), SECOND) / 3600 AS hours_after_day_end,
  was_complete,
  complete AS is_complete,
  previous_identity <> CONCAT(actor_identity, COALESCE(pseudonym_key_id, '')) AS identity_changed,
  previous_schema_version <> schema_version AS schema_changed,
  previous_request <> COALESCE(request, '{}') AS request_changed,
  row_count - previous_row_count AS rows_changed,
  num_sessions - previous_num_sessions AS sessions_changed,
  estimated_cost_cents - previous_cost_cents AS cost_cents_changed
FROM steps
WHERE content_digest <> previous_digest
