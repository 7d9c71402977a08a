-- The days of the weeks or months whose breakdowns a report shows, with the columns of `loaded_days`. Outside reports,
-- all are needed, so `loaded_days` is read instead.
SELECT days.organization_id, days.date, days.bucket_start
FROM `claude_code.loaded_days` AS days
JOIN `claude_code.breakdown_buckets` AS buckets
  ON buckets.organization_id = days.organization_id AND buckets.period_start = days.bucket_start
