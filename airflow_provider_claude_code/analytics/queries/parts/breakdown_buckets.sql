-- The weeks or months whose breakdowns a report shows, with the columns of `buckets`: of each organisation the last one
-- within the report's period, and the one that ends the day before, with which its groups are compared. Without a
-- report they are all: then `buckets` is read in the place of this.
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
