-- The weeks or months of breakdowns, as breakdown_grain says: one row per organisation and week (Monday to Sunday) or
-- calendar month that is over and whose last day has a complete load. If one that is not over were shown, each day
-- could be computed from what was shown before. With a min_group_size of 1, those are included as well. An organisation
-- without usage has the weeks or months of its charges. A report has only those of its period and of the one before.
--
-- period_start: First day (UTC).
-- period_end: Last day.
-- organization_id: The organisation.
-- days_in_period: Days of the week or month.
-- days_loaded: How many of them have a complete load of usage.
-- is_loaded: Whether any of them has a load of usage.
SELECT
  bucket_start AS period_start,
  bucket_end AS period_end,
  organization_id,
  DATE_DIFF(bucket_end, bucket_start, DAY) + 1 AS days_in_period,
  COUNTIF(is_complete AND is_usage) AS days_loaded,
  LOGICAL_OR(is_loaded) AS is_loaded
FROM (
  SELECT *, LOGICAL_OR(is_usage) OVER (PARTITION BY organization_id) AS has_usage
  FROM (
    SELECT organization_id, date, bucket_start, bucket_end, is_complete, is_loaded, TRUE AS is_usage
    FROM `claude_code.bucket_days`
    UNION ALL
    -- Charges may be loaded where usage never is.
    SELECT organization_id, date, date /* bucket_start */, date /* bucket_end */, is_complete, FALSE, FALSE
    FROM `claude_code.charge_loads`
  )
)
WHERE is_usage = has_usage
  AND bucket_start >= DATE '0001-01-01' /* buckets_from */ AND bucket_end <= DATE '9999-12-31' /* buckets_until */
GROUP BY 1, 2, 3
HAVING LOGICAL_OR(date = bucket_end AND is_complete) OR 5 /* min_group_size */ = 1
