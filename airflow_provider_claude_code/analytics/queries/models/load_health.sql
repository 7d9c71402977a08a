-- Whether each day is loaded, and as large as usual: one row per UTC day, organisation and table, from the table's
-- first loaded day to the last one that is loaded or should be. Snapshot tables have rows only for days with a
-- snapshot, because past days cannot be loaded.
--
-- key: date, organization_id, table_name
-- date: The UTC day.
-- organization_id: The organisation of the key that loaded the table.
-- stream: The report or list of the API that the table comes from: usage, cost or members.
-- table_name: The table. Tables that were never loaded have no rows.
-- state: loaded; empty (loaded, and the API had nothing for the table); incomplete (the newest load, empty or not, read
--   the day before it was complete); or missing.
-- row_count: Rows that the newest load wrote; null when the day is missing.
-- loads: How often the day was loaded.
-- first_complete_hours_after_day_end: Hours from the end of the day (24:00 UTC) to the first load that was complete.
-- loaded_hours_after_day_end: Hours from the end of the day to the newest load.
-- weekdays_compared: How many of the same weekdays in the 28 days before have a complete load, 0 to 4.
-- median_row_count: Median of row_count on these weekdays; null when there are none.
-- row_count_to_median: row_count divided by median_row_count; null when that is 0.
WITH tables AS (
  SELECT organization_id, stream, table_name, MIN(date) AS first_date, MAX(date) AS last_date
  FROM `claude_code.newest_loads`
  GROUP BY organization_id, stream, table_name
),
expected AS (
  -- A table that was added later has no days before.
  SELECT days.date, tables.organization_id, tables.stream, tables.table_name
  FROM `claude_code.days` AS days
  JOIN tables ON tables.organization_id = days.organization_id AND days.date >= tables.first_date
  WHERE tables.stream = 'usage'
  UNION ALL
  SELECT date, tables.organization_id, tables.stream, tables.table_name
  FROM tables
  JOIN `claude_code.streams` AS streams ON streams.stream = tables.stream
  CROSS JOIN UNNEST(GENERATE_DATE_ARRAY(
    tables.first_date,
    GREATEST(
      tables.last_date,
      DATE(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL streams.minutes_until_complete MINUTE), 'UTC')
    )
  )) AS date
  WHERE tables.stream <> 'usage' AND NOT streams.is_snapshot
  UNION ALL
  SELECT snapshots.date, snapshots.organization_id, snapshots.stream, snapshots.table_name
  FROM `claude_code.newest_loads` AS snapshots
  JOIN `claude_code.streams` AS streams ON streams.stream = snapshots.stream
  WHERE streams.is_snapshot
),
compared AS (
  SELECT
    expected.date,
    expected.organization_id,
    expected.table_name,
    earlier.row_count,
    COUNT(*) OVER (PARTITION BY expected.organization_id, expected.table_name, expected.date) AS weekdays,
    ROW_NUMBER() OVER (
      PARTITION BY expected.organization_id, expected.table_name, expected.date ORDER BY earlier.row_count
    ) AS row_count_position
  FROM expected
  JOIN `claude_code.newest_loads` AS earlier
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
    AVG(IF(2 * row_count_position BETWEEN weekdays AND weekdays + 2, row_count, NULL)) AS row_count
  FROM compared
  GROUP BY date, organization_id, table_name
)
SELECT
  expected.date,
  expected.organization_id,
  expected.stream,
  expected.table_name,
  CASE
    WHEN newest.load_id IS NULL THEN 'missing'
    WHEN NOT newest.complete THEN 'incomplete'
    WHEN newest.row_count = 0 THEN 'empty'
    ELSE 'loaded'
  END AS state,
  newest.row_count,
  COALESCE(newest.load_count, 0) AS loads,
  TIMESTAMP_DIFF(newest.first_complete_at, TIMESTAMP(DATE_ADD(expected.date, INTERVAL 1 DAY), 'UTC'), SECOND) / 3600
    AS first_complete_hours_after_day_end,
  TIMESTAMP_DIFF(newest.loaded_at, TIMESTAMP(DATE_ADD(expected.date, INTERVAL 1 DAY), 'UTC'), SECOND) / 3600
    AS loaded_hours_after_day_end,
  COALESCE(medians.weekdays, 0) AS weekdays_compared,
  medians.row_count AS median_row_count,
  SAFE_DIVIDE(newest.row_count, medians.row_count) AS row_count_to_median
FROM expected
LEFT JOIN `claude_code.newest_loads` AS newest
  ON newest.organization_id = expected.organization_id AND newest.date = expected.date
  AND newest.table_name = expected.table_name
LEFT JOIN medians
  ON medians.organization_id = expected.organization_id AND medians.date = expected.date
  AND medians.table_name = expected.table_name
