-- Which models were used and what they cost: one row per UTC day, organisation and model. Models that fewer than
-- min_group_size people used on a day are folded into "(small groups)"; those that only API keys used stand for
-- themselves. A day that is not loaded, or without model detail, is one row without a model.
--
-- date: The UTC day.
-- organization_id: The organisation.
-- is_loaded: Whether the day was ever loaded.
-- is_complete: Whether its newest load read it after it was complete.
-- model: The model's identifier.
-- model_family: opus, sonnet or haiku, from the identifier; other when it names none of them; null for "(small groups)".
-- people: People (user_actor) who used tokens of the model.
-- keys: API keys (api_actor) that did.
-- entries: Rows of model_usage.
-- entries_rounded_to_zero: Those with tokens and a cost of 0, which the API has rounded.
-- input_tokens: Input tokens.
-- output_tokens: Output tokens.
-- cache_read_tokens: Tokens read from the cache.
-- cache_creation_tokens: Tokens written to the cache.
-- cache_read_ratio: cache_read_tokens of all tokens that went in (input, cache_read, cache_creation), 0 to 1.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; null when the model was not used so.
-- share_of_api_cost: api_cost_usd of that of the day and organisation, 0 to 1.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use;
--   null when the model was not used so.
-- share_of_subscription_value: subscription_value_usd of that of the day and organisation, 0 to 1.
-- other_cost_entries: Rows with a cost that is in neither: another currency or another customer type.
-- share_of_sessions_with_model_detail: On that day, sessions of records that name models of all sessions, 0 to 1; the
--   cost of the others is unknown.
WITH entries AS (
  SELECT
    date, organization_id, actor_type, model,
    COALESCE(IF(actor_type = 'user_actor', actor_id /* address */, actor_id), '') AS actor,
    COUNT(*) AS entries,
    COUNTIF(estimated_cost_cents = 0 AND is_used) AS entries_rounded_to_zero,
    SUM(input_tokens) AS input_tokens,
    SUM(output_tokens) AS output_tokens,
    SUM(cache_read_tokens) AS cache_read_tokens,
    SUM(cache_creation_tokens) AS cache_creation_tokens,
    SUM(IF(customer_type = 'api' AND currency = 'USD', estimated_cost_cents, NULL)) AS api_cost_cents,
    SUM(IF(customer_type = 'subscription' AND currency = 'USD', estimated_cost_cents, NULL)) AS subscription_cents,
    COUNTIF(
      estimated_cost_cents <> 0 AND (currency <> 'USD' OR customer_type NOT IN ('api', 'subscription'))
    ) AS other_cost_entries,
    LOGICAL_OR(is_used) AS is_used
  FROM (
    SELECT
      *, GREATEST(input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens) > 0 AS is_used
    FROM `claude_code.model_usage`
    WHERE date >= DATE '2025-01-01' /* since */
  )
  GROUP BY 1, 2, 3, 4, 5
),
members AS (
  SELECT
    'model' AS dimension, date AS period, organization_id, model AS name, IF(is_used, actor, NULL) AS person
  FROM entries
  WHERE actor_type = 'user_actor'
),
models AS (
  SELECT
    entries.date,
    entries.organization_id,
    IF(folding.is_small, '(small groups)', entries.model) AS model,
    -- Only where models are folded together has an actor several rows; to compare all of them takes much memory.
    COUNTIF(is_used AND actor_type = 'user_actor' AND NOT COALESCE(is_small, FALSE))
      + COUNT(DISTINCT IF(is_used AND actor_type = 'user_actor' AND is_small, actor, NULL)) AS people,
    COUNTIF(is_used AND actor_type = 'api_actor' AND NOT COALESCE(is_small, FALSE))
      + COUNT(DISTINCT IF(is_used AND actor_type = 'api_actor' AND is_small, actor, NULL)) AS keys,
    SUM(entries.entries) AS entries,
    SUM(entries_rounded_to_zero) AS entries_rounded_to_zero,
    SUM(input_tokens) AS input_tokens,
    SUM(output_tokens) AS output_tokens,
    SUM(cache_read_tokens) AS cache_read_tokens,
    SUM(cache_creation_tokens) AS cache_creation_tokens,
    SUM(api_cost_cents) * NUMERIC '0.01' AS api_cost_usd,
    SUM(subscription_cents) * NUMERIC '0.01' AS subscription_value_usd,
    SUM(other_cost_entries) AS other_cost_entries
  FROM entries
  LEFT JOIN `claude_code.small_groups` AS folding
    ON folding.period = entries.date AND folding.organization_id = entries.organization_id
    AND folding.name = entries.model
  GROUP BY 1, 2, 3
),
detail AS (
  SELECT
    date, organization_id,
    SAFE_DIVIDE(SUM(sessions_with_model_detail), SUM(sessions)) AS share_of_sessions_with_model_detail
  FROM `claude_code.actor_days`
  GROUP BY date, organization_id
)
SELECT
  days.date,
  days.organization_id,
  days.is_loaded,
  days.is_complete,
  models.model,
  CASE
    WHEN models.model = '(small groups)' THEN NULL
    WHEN LOWER(models.model) LIKE '%opus%' THEN 'opus'
    WHEN LOWER(models.model) LIKE '%sonnet%' THEN 'sonnet'
    WHEN LOWER(models.model) LIKE '%haiku%' THEN 'haiku'
    WHEN models.model IS NOT NULL THEN 'other'
  END AS model_family,
  models.people,
  models.keys,
  models.entries,
  models.entries_rounded_to_zero,
  models.input_tokens,
  models.output_tokens,
  models.cache_read_tokens,
  models.cache_creation_tokens,
  SAFE_DIVIDE(
    models.cache_read_tokens, models.input_tokens + models.cache_read_tokens + models.cache_creation_tokens
  ) AS cache_read_ratio,
  models.api_cost_usd,
  SAFE_DIVIDE(
    CAST(models.api_cost_usd AS FLOAT64), SUM(models.api_cost_usd) OVER (PARTITION BY days.organization_id, days.date)
  ) AS share_of_api_cost,
  models.subscription_value_usd,
  SAFE_DIVIDE(
    CAST(models.subscription_value_usd AS FLOAT64),
    SUM(models.subscription_value_usd) OVER (PARTITION BY days.organization_id, days.date)
  ) AS share_of_subscription_value,
  models.other_cost_entries,
  IF(days.is_loaded, detail.share_of_sessions_with_model_detail, NULL) AS share_of_sessions_with_model_detail
FROM `claude_code.days` AS days
LEFT JOIN models
  ON models.organization_id = days.organization_id AND models.date = days.date AND days.is_loaded
LEFT JOIN detail ON detail.organization_id = days.organization_id AND detail.date = days.date
