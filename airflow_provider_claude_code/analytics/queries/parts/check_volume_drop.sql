-- Days with far fewer rows than the same weekdays before.
--
-- finding: what is wrong, as in `data_quality`.
SELECT
  'volume_drop' AS check_name, date, organization_id, table_name,
  CONCAT(
    CAST(row_count AS STRING), ' rows, where the median of the ', CAST(weekdays_compared AS STRING),
    ' same weekdays before is ', CAST(median_row_count AS STRING), '.'
  ) AS finding
FROM `claude_code.load_health`
WHERE state IN ('loaded', 'empty') AND weekdays_compared >= 2
  AND median_row_count > 0 AND median_row_count - row_count >= median_row_count * 0.5 /* max_drop */
