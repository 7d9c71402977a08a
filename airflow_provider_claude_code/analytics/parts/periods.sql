-- Stands in for `months` where a report is made: its period, and one as long right before.
SELECT
  periods.month,
  periods.last_date,
  days.organization_id,
  DATE_DIFF(periods.last_date, periods.month, DAY) + 1 AS days_in_month,
  COUNTIF(days.is_complete) AS days_loaded
FROM `claude_code.days` AS days
JOIN (
  SELECT DATE '2025-09-01' /* first_day */ AS month, DATE '2025-09-28' /* last_day */ AS last_date
  UNION ALL
  SELECT
    CAST(
      DATE_SUB(
        DATE '2025-09-01' /* first_day */,
        INTERVAL DATE_DIFF(DATE '2025-09-28' /* last_day */, DATE '2025-09-01' /* first_day */, DAY) + 1 DAY
      ) AS DATE
    ),
    CAST(DATE_SUB(DATE '2025-09-01' /* first_day */, INTERVAL 1 DAY) AS DATE)
) AS periods
  ON days.date BETWEEN periods.month AND periods.last_date
GROUP BY 1, 2, 3, 4
