-- Tables of a day that contradict each other or `loads`.
--
-- finding: what is wrong, as in `data_quality`.
WITH remembered AS (
  SELECT
    date, stream, table_name, SUM(row_count) AS row_count, MAX(IF(row_count > 0, loaded_at, NULL)) AS loaded_at
  FROM `claude_code.newest_loads`
  GROUP BY date, stream, table_name
),
-- Which tables were loaded for an organisation. A parent's key loads those of its children.
loaded_tables AS (
  SELECT DISTINCT parents.organization_id, loads.date, loads.table_name
  FROM `claude_code.newest_loads` AS loads
  JOIN `claude_code.parents` AS parents ON parents.parent_id = loads.organization_id
),
-- Days before the first that is still there have expired.
kept AS (
  SELECT 'usage' AS stream, MIN(date) AS first_date FROM `claude_code.days`
  UNION ALL
  SELECT remembered.stream, MIN(held.date)
  FROM `claude_code.stored_rows` AS held
  JOIN remembered ON remembered.date = held.date AND remembered.table_name = held.table_name
  WHERE remembered.stream <> 'usage'
  GROUP BY remembered.stream
),
sums_in_range AS (
  SELECT date, organization_id, table_name, cost_cents, has_mixed_currencies,
    CAST(model_count AS INT64) AS model_count,
    CAST(tokens AS INT64) AS tokens,
    CAST(accepted AS INT64) AS accepted,
    CAST(rejected AS INT64) AS rejected
  FROM `claude_code.day_sums`
  WHERE date NOT IN (SELECT date FROM `claude_code.days_out_of_range`)
),
parent_sums AS (
  SELECT * FROM sums_in_range WHERE table_name = 'usage'
),
model_sums AS (
  SELECT * FROM sums_in_range WHERE table_name = 'model_usage'
),
tool_sums AS (
  SELECT * FROM sums_in_range WHERE table_name = 'tool_usage'
)
SELECT
  'sums' AS check_name,
  COALESCE(remembered.date, held.date) AS date,
  CAST(NULL AS STRING) AS organization_id,
  COALESCE(remembered.table_name, held.table_name) AS table_name,
  IF(
    COALESCE(remembered.row_count, 0) = COALESCE(held.row_count, 0),
    'The rows are not those of the newest load in loads, as if a load had been killed. Load the day again.',
    CONCAT(
      'loads remembers ', CAST(COALESCE(remembered.row_count, 0) AS STRING), ' rows, and the table holds ',
      CAST(COALESCE(held.row_count, 0) AS STRING), '. Load the day again, unless you have deleted rows.'
    )
  ) AS finding
FROM remembered
FULL JOIN `claude_code.stored_rows` AS held
  ON held.date = remembered.date AND held.table_name = remembered.table_name
LEFT JOIN kept ON kept.stream = remembered.stream
WHERE (COALESCE(remembered.row_count, 0) <> COALESCE(held.row_count, 0) OR remembered.loaded_at <> held.loaded_at)
  AND COALESCE(remembered.date, held.date) >= DATE '0001-01-01' /* buckets_from */
  AND NOT COALESCE(held.date IS NULL AND remembered.date < kept.first_date, FALSE)
UNION ALL
-- A load replaces a day whole.
SELECT
  'sums', date, organization_id, 'usage',
  CONCAT(
    'The rows are of ', CAST(COUNT(DISTINCT loaded_at) AS STRING), ' loads, so usage may count twice. If the tables of a ',
    'parent organisation and its child are combined, leave out those of the child. Otherwise load the day again.'
  )
FROM `claude_code.held_days`
WHERE date >= DATE '0001-01-01' /* buckets_from */
GROUP BY date, organization_id
HAVING COUNT(DISTINCT loaded_at) > 1
UNION ALL
SELECT
  'sums', parent_sums.date, parent_sums.organization_id, 'model_usage',
  CONCAT(
    'usage says ', CAST(parent_sums.model_count AS STRING), ' model entries, ',
    CAST(COALESCE(parent_sums.tokens, 0) AS STRING), ' tokens and ',
    COALESCE(parent_sums.cost_cents /* as_text */, '0'), ' cents; model_usage says ',
    CAST(COALESCE(model_sums.model_count, 0) AS STRING), ', ', CAST(COALESCE(model_sums.tokens, 0) AS STRING), ' and ',
    COALESCE(model_sums.cost_cents /* as_text */, '0'), '. Load the day again, with both tables.'
  )
FROM parent_sums
JOIN loaded_tables
  ON loaded_tables.date = parent_sums.date AND loaded_tables.organization_id = parent_sums.organization_id
  AND loaded_tables.table_name = 'model_usage'
LEFT JOIN model_sums
  ON model_sums.date = parent_sums.date AND model_sums.organization_id = parent_sums.organization_id
WHERE parent_sums.model_count <> COALESCE(model_sums.model_count, 0)
  OR COALESCE(parent_sums.tokens, 0) <> COALESCE(model_sums.tokens, 0)
  -- A record whose entries have different currencies has no cost.
  OR (
    NOT parent_sums.has_mixed_currencies
    AND COALESCE(parent_sums.cost_cents, 0) <> COALESCE(model_sums.cost_cents, 0)
  )
UNION ALL
SELECT
  'sums', parent_sums.date, parent_sums.organization_id, 'tool_usage',
  CONCAT(
    'usage says ', CAST(parent_sums.accepted AS STRING), ' accepted and ', CAST(parent_sums.rejected AS STRING),
    ' rejected actions; tool_usage says ', CAST(COALESCE(tool_sums.accepted, 0) AS STRING), ' and ',
    CAST(COALESCE(tool_sums.rejected, 0) AS STRING), '. Load the day again, with both tables.'
  )
FROM parent_sums
JOIN loaded_tables
  ON loaded_tables.date = parent_sums.date AND loaded_tables.organization_id = parent_sums.organization_id
  AND loaded_tables.table_name = 'tool_usage'
LEFT JOIN tool_sums
  ON tool_sums.date = parent_sums.date AND tool_sums.organization_id = parent_sums.organization_id
WHERE parent_sums.accepted <> COALESCE(tool_sums.accepted, 0)
  OR parent_sums.rejected <> COALESCE(tool_sums.rejected, 0)
