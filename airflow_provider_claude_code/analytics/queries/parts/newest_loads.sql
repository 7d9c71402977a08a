-- The newest load of each organisation, UTC day and table of the streams that this version knows: its row of
-- `loads`.
--
-- stream: the report or list of the API that the table is of.
-- load_count: how often the day was loaded into the table.
-- first_complete_at: when the first of these loads began that read the day after it was complete.
-- most_records: the most records (rows without repeated keys) that one of these loads had.
SELECT
  load_id, loaded_at, organization_id, date, COALESCE(stream, 'usage') AS stream, request, table_name, row_count, complete,
  repeated_keys, actor_identity, pseudonym_key_id,
  COUNT(*) OVER (PARTITION BY organization_id, date, table_name) AS load_count,
  MIN(IF(complete, loaded_at, NULL)) OVER (PARTITION BY organization_id, date, table_name) AS first_complete_at,
  MAX(row_count - repeated_keys) OVER (PARTITION BY organization_id, date, table_name) AS most_records
FROM `claude_code.loads` AS loads
WHERE date >= DATE '2025-01-01' /* since */ AND COALESCE(stream, 'usage') IN (SELECT stream FROM `claude_code.streams`)
QUALIFY ROW_NUMBER() OVER (PARTITION BY organization_id, date, table_name ORDER BY load_id DESC) = 1
