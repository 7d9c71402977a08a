-- The rows of `model_usage` that are read: one row per record and model entry.
--
-- actor: the actor's id as it is compared. Actors without an id are taken for one.
-- largest_count: the largest number of tokens of a kind.
-- undated_model: the model's identifier without the date at its end.
-- is_used: whether it is above 0.
-- has_cost: whether the entry contributes to a cost in US dollars: it has tokens, or a cost without tokens.
-- api_cost_cents: the cost of customer_type api in US cents, null for others.
-- subscription_value_cents: the value of customer_type subscription in US cents, null for others.
-- is_other_cost: whether there is a cost that is in neither: another currency or another customer type.
-- person: who counts as a person when groups are folded: the actor, with its type; null for the API key of a machine.
SELECT
  *,
  REGEXP_REPLACE(model, r'-[0-9]{8}$', '') AS undated_model,
  largest_count > 0 AS is_used,
  currency = 'USD' AND (largest_count > 0 OR estimated_cost_cents <> 0) AS has_cost,
  IF(currency = 'USD' AND customer_type = 'api', estimated_cost_cents, NULL) AS api_cost_cents,
  IF(currency = 'USD' AND customer_type = 'subscription', estimated_cost_cents, NULL) AS subscription_value_cents,
  estimated_cost_cents <> 0 AND (currency <> 'USD' OR customer_type NOT IN ('api', 'subscription')) AS is_other_cost
FROM (
  SELECT *, GREATEST(input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens) AS largest_count
  FROM `claude_code.model_usage_rows`
)
