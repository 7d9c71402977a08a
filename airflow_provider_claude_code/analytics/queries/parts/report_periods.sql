-- The report's period, and one of the same length before it: one row per organisation and period that has a day in
-- `days_of_periods`. A report reads them instead of `periods`. The period before is whole weeks earlier, so both have
-- the same weekdays.
--
-- period_start: First day of the period (UTC).
-- period_end: Last day of the period.
-- organization_id: The organisation.
-- days_in_period: Days of the period.
-- days_loaded: How many of them have a complete load of usage.
SELECT
  given.period_start,
  given.period_end,
  days.organization_id,
  DATE_DIFF(given.period_end, given.period_start, DAY) + 1 AS days_in_period,
  COUNTIF(days.is_complete) AS days_loaded
FROM `claude_code.days_of_periods` AS days
JOIN (
  SELECT DATE '2025-09-01' /* first_day */ AS period_start, DATE '2025-09-28' /* last_day */ AS period_end
  UNION ALL
  SELECT
    CAST(DATE_SUB(DATE '2025-09-01' /* first_day */, INTERVAL 28 /* days_between_periods */ DAY) AS DATE),
    CAST(DATE_SUB(DATE '2025-09-28' /* last_day */, INTERVAL 28 /* days_between_periods */ DAY) AS DATE)
) AS given
  ON days.date BETWEEN given.period_start AND given.period_end
GROUP BY 1, 2, 3, 4
