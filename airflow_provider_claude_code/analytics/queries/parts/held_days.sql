-- The days of `usage` that have rows, and whose: one row per organisation, UTC day and moment of the load.
--
-- organization_id: the organisation of the records.
-- date: the UTC day.
-- loaded_at: when the load began that brought them.
-- has_other_costs: whether a record's cost is not in US dollars of customer_type api or subscription alone. Then
--   `model_usage` says what it is made of.
SELECT
  organization_id,
  date,
  loaded_at,
  LOGICAL_OR(
    model_count > 0 AND (COALESCE(currency, '') <> 'USD' OR customer_type NOT IN ('api', 'subscription'))
  ) AS has_other_costs
FROM `claude_code.usage`
WHERE date >= DATE '2025-01-01' /* since */
GROUP BY organization_id, date, loaded_at
