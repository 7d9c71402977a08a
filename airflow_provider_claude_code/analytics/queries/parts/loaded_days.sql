-- The days of `bucket_days` whose usage is loaded: one row per organisation and UTC day.
--
-- organization_id: the organisation.
-- date: the UTC day.
-- bucket_start: first day of its week or month.
SELECT organization_id, date, bucket_start
FROM `claude_code.bucket_days`
WHERE is_loaded
