-- One row per organisation and month that has a day in `days`.
--
-- month: First day of the month (UTC).
-- last_date: Last day of the month.
-- organization_id: The organisation.
-- days_in_month: Days of the month.
-- days_loaded: How many of them have a complete load.
SELECT
  CAST(DATE_TRUNC(date, MONTH) AS DATE) AS month,
  LAST_DAY(MIN(date), MONTH) AS last_date,
  organization_id,
  EXTRACT(DAY FROM LAST_DAY(MIN(date), MONTH)) AS days_in_month,
  COUNTIF(is_complete) AS days_loaded
FROM `claude_code.days`
GROUP BY 1, organization_id
