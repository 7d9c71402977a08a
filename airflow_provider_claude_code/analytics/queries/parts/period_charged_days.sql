-- How many days of each period of `periods` have charges: one row per period and organisation that has any.
--
-- period_start: first day of the period (UTC).
-- organization_id: the organisation.
-- charged_days: days whose charges were loaded after they were complete.
SELECT periods.period_start, charge_days.organization_id, COUNT(IF(charge_days.is_complete, 1, NULL)) AS charged_days
FROM `claude_code.charge_days` AS charge_days
JOIN `claude_code.periods` AS periods
  ON periods.organization_id = charge_days.periods_of
  AND charge_days.date BETWEEN periods.period_start AND periods.period_end
GROUP BY 1, 2
