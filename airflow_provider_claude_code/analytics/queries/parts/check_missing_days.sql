-- Days that were never loaded, or only before they were complete.
--
-- finding: what is wrong, as in `data_quality`.
SELECT
  'missing_days' AS check_name, health.date, health.organization_id, health.table_name,
  IF(
    health.state = 'missing',
    'The day was never loaded. Load it.',
    'The day was loaded before it was complete, and not since. Load it again.'
  ) AS finding
FROM `claude_code.load_health` AS health
JOIN `claude_code.streams` AS streams ON streams.stream = health.stream
WHERE health.state IN ('missing', 'incomplete')
  AND TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), TIMESTAMP(health.date, 'UTC'), SECOND) >= 60 * streams.minutes_until_complete
