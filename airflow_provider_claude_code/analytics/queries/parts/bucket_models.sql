-- Which models each person, key and machine used in each week or month in `breakdown_buckets`: one row per week or
-- month, organisation, customer type, model, actor and group of the mapping.
--
-- period_start: first day of the week or month.
-- days_in_period: days of the week or month.
-- days_loaded: how many of them have a complete load of usage.
-- organization_id: the organisation.
-- customer_type: api, subscription, or a type that the API added later.
-- undated_model: the model's identifier without the date at its end.
-- actor_type: the actor's type.
-- actor: the actor's id as it is compared.
-- person: who counts as a person, see `records`.
-- team: the group that the actor is in on these days; null without one.
-- cost_centre: who pays for it; null without one.
-- group_name: one name for team and cost_centre; null without them.
-- is_used: whether any entry has tokens.
-- has_cost: whether any entry contributes to a cost in US dollars.
-- cost_entries: model entries with a cost in US dollars.
WITH placed AS (
  SELECT
    days.period_start, days.days_in_period, days.days_loaded, mapping.team, mapping.cost_centre, mapping.group_name,
    entries.*
  FROM `claude_code.entries` AS entries
  JOIN `claude_code.breakdown_days` AS days
    ON days.organization_id = entries.organization_id AND days.date = entries.date
  LEFT JOIN `claude_code.actor_groups` AS mapping
    ON mapping.actor_type = entries.actor_type AND mapping.actor = entries.actor
    AND entries.date BETWEEN mapping.valid_from AND mapping.valid_to AND NOT mapping.is_conflict
  WHERE entries.date >= DATE '0001-01-01' /* buckets_from */
)
SELECT
  period_start,
  days_in_period,
  days_loaded,
  organization_id,
  customer_type,
  undated_model,
  actor_type,
  actor,
  person,
  team,
  cost_centre,
  group_name,
  LOGICAL_OR(is_used) AS is_used,
  LOGICAL_OR(has_cost) AS has_cost,
  COUNTIF(currency = 'USD') AS cost_entries,
  COUNT(*) AS entries,
  COUNTIF(estimated_cost_cents = 0 AND is_used) AS entries_rounded_to_zero,
  SUM(input_tokens) AS input_tokens,
  SUM(output_tokens) AS output_tokens,
  SUM(cache_read_tokens) AS cache_read_tokens,
  SUM(cache_creation_tokens) AS cache_creation_tokens,
  SUM(api_cost_cents) AS api_cost_cents,
  SUM(subscription_value_cents) AS subscription_value_cents,
  COUNTIF(is_other_cost) AS other_cost_entries
FROM placed
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
