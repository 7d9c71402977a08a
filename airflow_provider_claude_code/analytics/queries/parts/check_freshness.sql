-- Streams whose newest complete day ended too long ago, or that have none: one row per organisation and stream. The
-- limit is later by as much as the days of a stream are complete later than those of usage, or earlier, but not before
-- the day has ended.
--
-- finding: what is wrong, as in `data_quality`.
WITH newest_complete AS (
  SELECT organization_id, 'usage' AS stream, MAX(IF(is_complete, date, NULL)) AS date
  FROM `claude_code.days`
  GROUP BY organization_id
  UNION ALL
  SELECT organization_id, stream, MAX(IF(complete, date, NULL))
  FROM `claude_code.newest_loads`
  WHERE stream <> 'usage'
  GROUP BY organization_id, stream
),
limits AS (
  SELECT
    stream,
    GREATEST(0, 48 /* max_age_hours */ + (minutes_until_complete - 1500 /* minutes_until_complete */) / 60) AS hours
  FROM `claude_code.streams`
)
SELECT
  'freshness' AS check_name, newest_complete.date, newest_complete.organization_id,
  newest_complete.stream AS table_name,
  COALESCE(
    CONCAT(
      -- The limit and not the age, since a report of the same data should say the same.
      IF(date IS NULL, NULL, 'The newest complete day ended more than '),
      CAST(CAST(FLOOR(limits.hours) AS INT64) AS STRING),
      ' hours ago. Look for loads that failed or do not run, and load the days since.'
    ),
    'No day was loaded after it was complete. Load one.'
  ) AS finding
FROM newest_complete
JOIN limits ON limits.stream = newest_complete.stream
WHERE date IS NULL
  OR TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), TIMESTAMP(DATE_ADD(date, INTERVAL 1 DAY), 'UTC'), SECOND) / 3600
    > limits.hours
