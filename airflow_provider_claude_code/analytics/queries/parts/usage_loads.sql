-- The rows of `loads` that are read: one row per load of a UTC day and table of the stream usage. Other streams have
-- days of their own.
--
-- table_name: usage, model_usage or tool_usage.
SELECT *
FROM `claude_code.loads`
WHERE date >= DATE '2025-01-01' /* since */ AND COALESCE(stream, 'usage') = 'usage'
