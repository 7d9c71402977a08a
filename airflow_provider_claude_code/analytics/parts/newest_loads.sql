-- The newest load of each organisation, UTC day and table: its row of `loads`.
--
-- load_count: how often the day was loaded into the table.
-- first_complete_at: when the first of these loads began that read the day after it was complete.
SELECT
  loads.*,
  COUNT(*) OVER (PARTITION BY organization_id, date, table_name) AS load_count,
  MIN(IF(complete, loaded_at, NULL)) OVER (PARTITION BY organization_id, date, table_name) AS first_complete_at
FROM `claude_code.loads` AS loads
-- Other streams have days of their own.
WHERE date >= DATE '2025-01-01' /* since */ AND table_name IN ('usage', 'model_usage', 'tool_usage')
QUALIFY ROW_NUMBER() OVER (PARTITION BY organization_id, date, table_name ORDER BY load_id DESC) = 1
