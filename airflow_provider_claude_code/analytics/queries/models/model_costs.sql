-- Which models were used and what they cost: one row per week or month (breakdown_grain), organisation, customer type
-- and model. Models that fewer than min_group_size people used are combined into "(small groups)" of their customer
-- type. Models that only machines used are always shown. A customer type of fewer people has no rows.
--
-- key: period_start, organization_id, customer_type, model
-- period_start: First day of the week (Monday) or month, in UTC. A period that is not over is included only with a
--   min_group_size of 1.
-- organization_id: The organisation.
-- days_in_period: Days of the week or month.
-- days_loaded: How many of them have a complete load.
-- customer_type: api (billed by use), subscription, or a type that the API added later.
-- model: The model without the date at the end of its name.
-- model_family: The family of the model: opus for claude-opus-4-5 and for claude-3-opus. The whole name if it has
--   another form; null for "(small groups)".
-- people: People who used tokens of the model: all actors but the API keys that are marked as machines.
-- machines: API keys of machines, as in the mapping, that used tokens of the model.
-- entries: Rows of the table model_usage.
-- entries_rounded_to_zero: Entries with tokens and a cost of 0, since the API rounds small costs.
-- input_tokens: Input tokens.
-- output_tokens: Output tokens.
-- cache_read_tokens: Tokens read from the cache.
-- cache_creation_tokens: Tokens written to the cache.
-- cache_read_ratio: cache_read_tokens divided by all input tokens (input, cache_read and cache_creation).
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; null for other types, and when no entry is in US dollars.
-- share_of_api_cost: api_cost_usd divided by the sum over all models.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use; null
--   for other types, and when no entry is in US dollars.
-- share_of_subscription_value: subscription_value_usd divided by the sum over all models.
-- other_cost_entries: Entries whose cost is in neither column, since it has another currency or another customer type.
WITH folded AS (
  SELECT
    models.period_start,
    models.organization_id,
    models.days_in_period,
    models.days_loaded,
    models.customer_type,
    COALESCE(folding.folded_name, models.undated_model) AS model,
    COALESCE(folding.is_small, FALSE) AS is_small,
    models.actor_type,
    models.actor,
    models.person,
    SUM(models.entries) AS entries,
    SUM(models.entries_rounded_to_zero) AS entries_rounded_to_zero,
    SUM(models.input_tokens) AS input_tokens,
    SUM(models.output_tokens) AS output_tokens,
    SUM(models.cache_read_tokens) AS cache_read_tokens,
    SUM(models.cache_creation_tokens) AS cache_creation_tokens,
    SUM(models.api_cost_cents) AS api_cost_cents,
    SUM(models.subscription_value_cents) AS subscription_value_cents,
    SUM(models.other_cost_entries) AS other_cost_entries,
    LOGICAL_OR(models.is_used) AS is_used
  FROM `claude_code.bucket_models` AS models
  LEFT JOIN `claude_code.model_folding` AS folding
    ON folding.period = models.period_start AND folding.organization_id = models.organization_id
    AND folding.dimension = models.customer_type AND folding.name = models.undated_model
  WHERE NOT COALESCE(folding.is_hidden, FALSE)
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
),
sums AS (
  SELECT
    period_start,
    organization_id,
    days_in_period,
    days_loaded,
    customer_type,
    model,
    is_small,
    COUNTIF(is_used AND person IS NOT NULL) AS people,
    COUNTIF(is_used AND person IS NULL) AS machines,
    SUM(entries) AS entries,
    SUM(entries_rounded_to_zero) AS entries_rounded_to_zero,
    SUM(input_tokens) AS input_tokens,
    SUM(output_tokens) AS output_tokens,
    SUM(cache_read_tokens) AS cache_read_tokens,
    SUM(cache_creation_tokens) AS cache_creation_tokens,
    SUM(api_cost_cents) * 0.01 /* dollars_per_cent */ AS api_cost_usd,
    SUM(subscription_value_cents) * 0.01 /* dollars_per_cent */ AS subscription_value_usd,
    SUM(other_cost_entries) AS other_cost_entries
  FROM folded
  GROUP BY 1, 2, 3, 4, 5, 6, 7
)
SELECT
  period_start,
  organization_id,
  days_in_period,
  days_loaded,
  customer_type,
  model,
  CASE
    WHEN is_small THEN NULL
    WHEN REGEXP_CONTAINS(LOWER(model), r'claude-(?:[0-9]+-)*[a-z]')
      THEN REGEXP_REPLACE(LOWER(model), r'^.*?claude-(?:[0-9]+-)*([a-z]+).*$', r'\1')
    ELSE model
  END AS model_family,
  people,
  machines,
  entries,
  entries_rounded_to_zero,
  input_tokens,
  output_tokens,
  cache_read_tokens,
  cache_creation_tokens,
  SAFE_DIVIDE(cache_read_tokens, input_tokens + cache_read_tokens + cache_creation_tokens) AS cache_read_ratio,
  api_cost_usd,
  SAFE_DIVIDE(
    CAST(api_cost_usd AS FLOAT64), SUM(api_cost_usd) OVER (PARTITION BY organization_id, period_start)
  ) AS share_of_api_cost,
  subscription_value_usd,
  SAFE_DIVIDE(
    CAST(subscription_value_usd AS FLOAT64),
    SUM(subscription_value_usd) OVER (PARTITION BY organization_id, period_start)
  ) AS share_of_subscription_value,
  other_cost_entries
FROM sums
