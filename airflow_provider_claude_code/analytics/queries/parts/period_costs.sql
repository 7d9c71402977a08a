-- How much of what each organisation's usage costs is known: one row per period of `periods`, organisation, actor type and
-- customer type with usage.
--
-- period_start: first day of the period (UTC).
-- organization_id: the organisation.
-- actor_type: user_actor for people, api_actor for API keys, or a kind that the API added later.
-- customer_type: api, subscription, or a kind that the API added later.
-- actors: active people or keys, except keys of machines.
-- actors_with_cost: people or keys, except those of machines, whose known cost is not 0.
-- sessions: their sessions, and those of machines.
-- sessions_with_cost: those of them whose cost is known in US dollars.
-- amount_usd: estimated cost (api) or value (subscription) in US dollars, as far as it is known; null when no record
--   names a model.
WITH actors AS (
  SELECT
    periods.period_start,
    days.organization_id,
    days.actor_type,
    days.customer_type,
    days.actor,
    LOGICAL_OR(days.person IS NOT NULL) AS counts,
    LOGICAL_OR(days.is_active) AS is_active,
    SUM(days.sessions) AS sessions,
    SUM(days.sessions_with_cost) AS sessions_with_cost,
    SUM(COALESCE(days.api_cost_cents, days.subscription_value_cents)) AS amount_cents
  FROM `claude_code.actor_days` AS days
  JOIN `claude_code.periods` AS periods
    ON periods.organization_id = days.organization_id AND days.date BETWEEN periods.period_start AND periods.period_end
  GROUP BY 1, 2, 3, 4, 5
)
SELECT
  period_start,
  organization_id,
  actor_type,
  customer_type,
  COUNT(IF(counts AND is_active, 1, NULL)) AS actors,
  COUNT(IF(counts AND amount_cents <> 0, 1, NULL)) AS actors_with_cost,
  SUM(sessions) AS sessions,
  SUM(sessions_with_cost) AS sessions_with_cost,
  SUM(amount_cents) * 0.01 /* dollars_per_cent */ AS amount_usd
FROM actors
GROUP BY 1, 2, 3, 4
