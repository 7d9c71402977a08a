-- The estimate and the charges of each actor and model on each UTC day that has charges: one row per date,
-- organization_id, currency, actor_type, actor and model. Amounts that only one side has are null on the other.
--
-- date: the UTC day.
-- organization_id: the organisation.
-- currency: currency of the amounts.
-- actor_type: the actor's type.
-- who: the person's id, else the actor's id as it is compared.
-- model: the model's identifier without a date.
-- estimate: sum of the estimates.
-- list_amount: sum of the charges at list prices.
-- charged: sum of what is charged.
-- allowance: the difference that rounding of the estimates explains.
-- keys: API keys that share the name.
-- beyond_list: difference of estimate and list price beyond the allowance.
-- beyond_charged: difference of estimate and charge beyond the allowance.
-- unmatched_estimate: the estimate, if there is no charge.
-- unmatched_list: the charge at list prices, if there is no estimate.
-- is_of_one_side: whether one side has the day's amounts in another currency.
WITH sides AS (
  SELECT
    entries.date, entries.organization_id, currency, actor_type, actor, CAST(NULL AS STRING) AS user_id,
    CAST(NULL AS STRING) AS key_id, model, estimated_cost_cents AS estimate, NULL AS list_amount, NULL AS charged,
    CASE
      WHEN estimated_cost_cents = ROUND(estimated_cost_cents, 0) THEN 0.5
      WHEN estimated_cost_cents = ROUND(estimated_cost_cents, 1) THEN 0.05
      WHEN estimated_cost_cents = ROUND(estimated_cost_cents, 2) THEN 0.005
      WHEN estimated_cost_cents = ROUND(estimated_cost_cents, 3) THEN 0.0005
      WHEN estimated_cost_cents = ROUND(estimated_cost_cents, 4) THEN 0.00005
      WHEN estimated_cost_cents = ROUND(estimated_cost_cents, 5) THEN 0.000005
      -- 0 as an exact number, which the others are then, too.
      ELSE estimated_cost_cents - estimated_cost_cents
    END AS allowance
  FROM `claude_code.entries` AS entries
  -- Without charges there is nothing to compare.
  JOIN `claude_code.charge_days` AS charge_days
    ON charge_days.organization_id = entries.organization_id AND charge_days.date = entries.date
  WHERE customer_type = 'api'
  UNION ALL
  SELECT
    date, organization_id, currency, actor_type, actor, user_id, IF(actor_type = 'api_actor', actor_id, NULL),
    COALESCE(model, '(no model)'), NULL, list_amount_cents, amount_cents, NULL
  FROM `claude_code.charges`
  WHERE is_claude_code AND cost_type = 'tokens'
),
pairs AS (
  SELECT
    sides.date,
    sides.organization_id,
    sides.currency,
    sides.actor_type,
    COALESCE(sides.user_id, names.found, sides.actor) AS who,
    REGEXP_REPLACE(sides.model, r'-[0-9]{8}$', '') AS model,
    SUM(sides.estimate) AS estimate,
    SUM(sides.list_amount) AS list_amount,
    SUM(sides.charged) AS charged,
    SUM(sides.allowance) AS allowance,
    COUNT(DISTINCT sides.key_id) AS keys
  FROM sides
  LEFT JOIN `claude_code.actor_names` AS names
    ON names.kind = 'user_id' AND sides.actor_type = 'user_actor' AND names.id = sides.actor
    AND sides.date BETWEEN names.valid_from AND names.valid_to
  GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT
  pairs.*,
  -- Amounts are kept to a billionth.
  IF(ABS(estimate - list_amount) - allowance > 0.000001, ABS(estimate - list_amount) - allowance, 0) AS beyond_list,
  IF(ABS(estimate - charged) - allowance > 0.000001, ABS(estimate - charged) - allowance, 0) AS beyond_charged,
  IF(list_amount IS NULL, estimate, 0) AS unmatched_estimate,
  IF(estimate IS NULL, list_amount, 0) AS unmatched_list,
  -- One side has the day's amounts in another currency.
  (COUNT(estimate) OVER of_currency = 0 AND COUNT(estimate) OVER of_day > 0)
    OR (COUNT(list_amount) OVER of_currency = 0 AND COUNT(list_amount) OVER of_day > 0) AS is_of_one_side
FROM pairs
WINDOW of_day AS (PARTITION BY date, organization_id),
  of_currency AS (PARTITION BY date, organization_id, currency)
