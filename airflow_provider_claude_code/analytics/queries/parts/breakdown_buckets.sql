-- The weeks or months whose breakdowns a report shows, with the columns of `buckets`: for each organisation the last
-- one within the report's period, and the one before it, with which its groups are compared. Outside reports, all are
-- needed, so `buckets` is read instead.
SELECT period_start, period_end, organization_id, days_in_period, days_loaded
FROM (
  SELECT
    *,
    MAX(IF(period_start >= DATE '2025-09-01' /* first_day */, period_start, NULL)) OVER (
      PARTITION BY organization_id
    ) AS last_start
  FROM `claude_code.buckets`
)
WHERE period_start <= last_start AND period_end >= DATE_SUB(last_start, INTERVAL 1 DAY)
