-- How many days of each week or month in `breakdown_buckets` have charges: one row per week or month and organisation
-- that has any.
--
-- period_start: first day of the week or month (UTC).
-- organization_id: the organisation.
-- charged_days: days whose charges were loaded after they were complete.
SELECT periods.period_start, charge_days.organization_id, COUNTIF(charge_days.is_complete) AS charged_days
FROM `claude_code.charge_days` AS charge_days
JOIN `claude_code.breakdown_buckets` AS periods
  ON periods.organization_id = charge_days.periods_of
  AND charge_days.date BETWEEN periods.period_start AND periods.period_end
GROUP BY 1, 2
