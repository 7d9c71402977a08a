-- What each person and each API key did in each period of `periods`, and what it costs: one row per period, organisation
-- and actor with usage, or with charges for Claude Code. The report sums these rows up; no person leaves the database.
--
-- period_start: first day of the period (UTC).
-- organization_id: the organisation.
-- kind: person; machine for the API key of a machine; key for other API keys, and for kinds of actors that the API added
--   later; nobody for charges that name nobody.
-- actor: the actor's id as it is compared.
-- active_days: days with any session, commit, pull request, line, tool action or token.
-- api_days: those of them with activity of customer_type api.
-- other_days: those of them with activity of another customer_type.
-- commits: commits made by Claude Code.
-- pull_requests: pull requests made by Claude Code.
-- actions: tool actions that were accepted.
-- api_commits: commits of customer_type api.
-- api_pull_requests: pull requests of customer_type api.
-- api_actions: accepted tool actions of customer_type api.
-- api_sessions: sessions of customer_type api.
-- api_sessions_with_detail: those of them of records that name models; the cost of the others is unknown.
-- subscription_sessions: sessions of customer_type subscription.
-- subscription_sessions_with_detail: those of them of records that name models.
-- other_cost_entries: model entries with a cost in another currency or of another customer type.
-- api_cost_cents: estimated cost of customer_type api in US cents; null when no such record names a model.
-- subscription_value_cents: estimated value of customer_type subscription in US cents; null likewise.
-- charged_cents: what is charged for Claude Code in US cents; null without such charges.
-- other_charges: charges for Claude Code in another currency.
SELECT
  period_start,
  organization_id,
  CASE
    WHEN actor_type IS NULL THEN 'nobody'
    WHEN actor_type = 'user_actor' THEN 'person'
    WHEN person IS NULL THEN 'machine'
    ELSE 'key'
  END AS kind,
  actor,
  SUM(active_days) AS active_days,
  SUM(api_days) AS api_days,
  SUM(other_days) AS other_days,
  SUM(commits) AS commits,
  SUM(pull_requests) AS pull_requests,
  SUM(actions) AS actions,
  SUM(api_commits) AS api_commits,
  SUM(api_pull_requests) AS api_pull_requests,
  SUM(api_actions) AS api_actions,
  SUM(api_sessions) AS api_sessions,
  SUM(api_sessions_with_detail) AS api_sessions_with_detail,
  SUM(subscription_sessions) AS subscription_sessions,
  SUM(subscription_sessions_with_detail) AS subscription_sessions_with_detail,
  SUM(other_cost_entries) AS other_cost_entries,
  SUM(api_cost_cents) AS api_cost_cents,
  SUM(subscription_value_cents) AS subscription_value_cents,
  SUM(charged_cents) AS charged_cents,
  SUM(other_charges) AS other_charges
FROM (
  SELECT
    periods.period_start,
    days.organization_id,
    days.actor_type,
    days.actor,
    days.person,
    COUNT(DISTINCT IF(days.is_active, days.date, NULL)) AS active_days,
    COUNT(IF(days.is_active AND days.customer_type = 'api', 1, NULL)) AS api_days,
    COUNT(DISTINCT IF(days.is_active AND days.customer_type <> 'api', days.date, NULL)) AS other_days,
    SUM(days.commits) AS commits,
    SUM(days.pull_requests) AS pull_requests,
    SUM(days.tool_actions_accepted) AS actions,
    SUM(IF(days.customer_type = 'api', days.commits, 0)) AS api_commits,
    SUM(IF(days.customer_type = 'api', days.pull_requests, 0)) AS api_pull_requests,
    SUM(IF(days.customer_type = 'api', days.tool_actions_accepted, 0)) AS api_actions,
    SUM(IF(days.customer_type = 'api', days.sessions, 0)) AS api_sessions,
    SUM(IF(days.customer_type = 'api', days.sessions_with_model_detail, 0)) AS api_sessions_with_detail,
    SUM(IF(days.customer_type = 'subscription', days.sessions, 0)) AS subscription_sessions,
    SUM(IF(days.customer_type = 'subscription', days.sessions_with_model_detail, 0))
      AS subscription_sessions_with_detail,
    SUM(days.other_cost_entries) AS other_cost_entries,
    SUM(days.api_cost_cents) AS api_cost_cents,
    SUM(days.subscription_value_cents) AS subscription_value_cents,
    CAST(NULL AS NUMERIC) AS charged_cents,
    0 AS other_charges
  FROM `claude_code.actor_days` AS days
  JOIN `claude_code.periods` AS periods
    ON periods.organization_id = days.organization_id AND days.date BETWEEN periods.period_start AND periods.period_end
  GROUP BY 1, 2, 3, 4, 5
  UNION ALL
  SELECT
    periods.period_start, charges.organization_id, charges.actor_type, charges.actor, charges.person,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL,
    IF(charges.currency = 'USD', charges.amount_cents, NULL),
    IF(charges.currency <> 'USD' AND charges.amount_cents <> 0, 1, 0)
  FROM `claude_code.charges` AS charges
  JOIN `claude_code.charge_days` AS charge_days
    ON charge_days.organization_id = charges.organization_id AND charge_days.date = charges.date
  JOIN `claude_code.periods` AS periods
    ON periods.organization_id = charge_days.periods_of
    AND charges.date BETWEEN periods.period_start AND periods.period_end
  WHERE charges.is_claude_code
)
GROUP BY 1, 2, 3, 4
