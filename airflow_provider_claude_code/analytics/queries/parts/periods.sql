-- The calendar months of the days in `days_of_periods`: one row per organisation and month. A report has its own period
-- and the one before instead, see `report_periods`.
--
-- period_start: First day of the month (UTC).
-- period_end: Last day of the month.
-- organization_id: The organisation.
-- days_in_period: Days of the month.
-- days_loaded: How many of them have a complete load of usage.
SELECT
  CAST(DATE_TRUNC(date, MONTH) AS DATE) AS period_start,
  LAST_DAY(MIN(date), MONTH) AS period_end,
  organization_id,
  EXTRACT(DAY FROM LAST_DAY(MIN(date), MONTH)) AS days_in_period,
  COUNTIF(is_complete) AS days_loaded
FROM `claude_code.days_of_periods`
GROUP BY 1, organization_id
