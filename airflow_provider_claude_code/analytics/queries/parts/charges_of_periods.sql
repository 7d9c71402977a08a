-- The charges of each week or month in `breakdown_buckets`, in US cents: one row per row of `charges` on one of its
-- days.
--
-- period_start: first day of the week or month (UTC).
-- organization_id: the organisation that is charged. Where it has no usage, the weeks and months are those of its
--   parent.
-- charged_cents: the charge; null in another currency.
SELECT
  periods.period_start,
  periods.days_in_period,
  periods.days_loaded,
  charges.*,
  IF(charges.currency = 'USD', charges.amount_cents, NULL) AS charged_cents
FROM `claude_code.charges` AS charges
JOIN `claude_code.charge_days` AS charge_days
  ON charge_days.organization_id = charges.organization_id AND charge_days.date = charges.date
JOIN `claude_code.breakdown_buckets` AS periods
  ON periods.organization_id = charge_days.periods_of
  AND charges.date BETWEEN periods.period_start AND periods.period_end
