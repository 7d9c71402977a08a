-- Whether each day is there, and as large as it should be: one row per UTC day, organisation and table, from the first
-- loaded day to the last one that is there or should be.
--
-- date: The UTC day.
-- organization_id: The organisation of the key that loads it.
-- table_name: usage, model_usage or tool_usage, as far as it was ever loaded.
-- state: loaded; empty (loaded, and the API had nothing for the table); incomplete (the newest load, empty or not, read
--   the day before it was complete); or missing.
-- row_count: Rows that the newest load wrote; null when the day is missing.
-- num_sessions: Sessions that it read.
-- loads: How often the day was loaded.
-- first_complete_hours_after_day_end: Hours from the end of the day (24:00 UTC) to the first load that was complete.
-- loaded_hours_after_day_end: Hours from the end of the day to the newest load.
-- weekdays_compared: How many of the same weekdays in the 28 days before have a complete load, 0 to 4.
-- median_row_count: Median of row_count on these; null when there are none.
-- median_num_sessions: Median of num_sessions on these.
-- row_count_to_median: row_count divided by median_row_count; null when that is 0.
-- num_sessions_to_median: num_sessions divided by median_num_sessions; null when that is 0.
WITH newest AS (
  SELECT * FROM `claude_code.newest_loads`
),
expected AS (
  SELECT days.date, days.organization_id, tables.table_name
  FROM `claude_code.days` AS days
  JOIN (SELECT DISTINCT organization_id, table_name FROM newest) AS tables
    ON tables.organization_id = days.organization_id
),
compared AS (
  SELECT
    expected.date,
    expected.organization_id,
    expected.table_name,
    earlier.row_count,
    earlier.num_sessions,
    COUNT(*) OVER (PARTITION BY expected.organization_id, expected.table_name, expected.date) AS weekdays,
    ROW_NUMBER() OVER (
      PARTITION BY expected.organization_id, expected.table_name, expected.date ORDER BY earlier.row_count
    ) AS row_count_position,
    ROW_NUMBER() OVER (
      PARTITION BY expected.organization_id, expected.table_name, expected.date ORDER BY earlier.num_sessions
    ) AS num_sessions_position
  FROM expected
  JOIN newest AS earlier
    ON earlier.organization_id = expected.organization_id AND earlier.table_name = expected.table_name
    AND DATE_DIFF(expected.date, earlier.date, DAY) IN (7, 14, 21, 28)
  WHERE earlier.complete
),
medians AS (
  SELECT
    date,
    organization_id,
    table_name,
    COUNT(*) AS weekdays,
    -- The one in the middle, or the mean of the two there.
    AVG(IF(2 * row_count_position BETWEEN weekdays AND weekdays + 2, row_count, NULL)) AS row_count,
    AVG(IF(2 * num_sessions_position BETWEEN weekdays AND weekdays + 2, num_sessions, NULL)) AS num_sessions
  FROM compared
  GROUP BY date, organization_id, table_name
)
SELECT
  expected.date,
  expected.organization_id,
  expected.table_name,
  CASE
    WHEN newest.load_id IS NULL THEN 'missing'
    WHEN NOT newest.complete THEN 'incomplete'
    WHEN newest.row_count = 0 THEN 'empty'
    ELSE 'loaded'
  END AS state,
  newest.row_count,
  newest.num_sessions,
  COALESCE(newest.load_count, 0) AS loads,
  TIMESTAMP_DIFF(newest.first_complete_at, TIMESTAMP(DATE_ADD(expected.date, INTERVAL 1 DAY), 'UTC'), SECOND) / 3600
    AS first_complete_hours_after_day_end,
  TIMESTAMP_DIFF(newest.loaded_at, TIMESTAMP(DATE_ADD(expected.date, INTERVAL 1 DAY), 'UTC'), SECOND) / 3600
    AS loaded_hours_after_day_end,
  COALESCE(medians.weekdays, 0) AS weekdays_compared,
  medians.row_count AS median_row_count,
  medians.num_sessions AS median_num_sessions,
  SAFE_DIVIDE(newest.row_count, medians.row_count) AS row_count_to_median,
  SAFE_DIVIDE(newest.num_sessions, medians.num_sessions) AS num_sessions_to_median
FROM expected
LEFT JOIN newest
  ON newest.organization_id = expected.organization_id AND newest.date = expected.date
  AND newest.table_name = expected.table_name
LEFT JOIN medians
  ON medians.organization_id = expected.organization_id AND medians.date = expected.date
  AND medians.table_name = expected.table_name
