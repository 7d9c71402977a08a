-- The loaded days of the weeks or months in `breakdown_buckets`: one row per organisation and UTC day.
--
-- organization_id: the organisation.
-- date: the UTC day.
-- period_start: first day of its week or month.
-- days_in_period: days of this week or month.
-- days_loaded: how many of them have a complete load of usage.
SELECT days.organization_id, days.date, buckets.period_start, buckets.days_in_period, buckets.days_loaded
FROM `claude_code.bucket_days` AS days
JOIN `claude_code.breakdown_buckets` AS buckets
  ON buckets.organization_id = days.organization_id AND buckets.period_start = days.bucket_start
WHERE days.is_loaded
