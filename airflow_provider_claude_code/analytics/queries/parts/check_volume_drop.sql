-- Days with far fewer rows than the same weekdays before.
--
-- finding: what is wrong, as in `data_quality`.
SELECT
  'volume_drop' AS check_name, date, organization_id, table_name,
  CONCAT(
    'Only ', CAST(row_count AS STRING), ' of the usual ', median_row_count /* as_text */, ' rows, the median of ',
    CAST(weekdays_compared AS STRING), ' of the same weekdays before. Load the day again, unless people worked less, ',
    'such as on a holiday.'
  ) AS finding
FROM `claude_code.load_health`
WHERE state IN ('loaded', 'empty') AND weekdays_compared >= 2
  -- The product may be slightly too large, since max_drop is not exact.
  AND median_row_count > 0 AND median_row_count - row_count >= median_row_count * 0.5 /* max_drop */ - 0.000001
