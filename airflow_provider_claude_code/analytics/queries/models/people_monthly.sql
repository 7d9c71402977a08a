-- PERSONAL DATA: what each person and each API key did in each period; one row per period, organisation and actor. It
-- is created only if it is named. With actor_identity=hmac its actors are pseudonyms.
--
-- key: period_start, organization_id, actor_type, actor_id
-- period_start: First UTC day of the calendar month, or in a report of the report's period.
-- organization_id: The organisation.
-- actor_type: user_actor for people, api_actor for API keys, or a kind that the API added later.
-- actor_id: The actor's id; an address is in lower case (A to Z). Empty for actors without one, who share a row.
-- days_in_period: Days of the period.
-- days_loaded: How many of them have a complete load.
-- active_days: Days with any session, commit, pull request, line, tool action or token.
-- sessions: Sessions.
-- lines_added: Lines of code added.
-- lines_removed: Lines of code removed.
-- commits: Commits made by Claude Code.
-- pull_requests: Pull requests made by Claude Code.
-- tool_actions_offered: Tool actions that were accepted or rejected.
-- tool_actions_accepted: Tool actions that were accepted.
-- acceptance_rate: tool_actions_accepted divided by tool_actions_offered; null if nothing was offered.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; 0 when there is no record of this type, null when there are some but none has a cost in US dollars.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use; 0 or
--   null in the same cases as api_cost_usd.
-- other_cost_entries: Model entries whose cost is in neither column, since it has another currency or another customer
--   type.
-- sessions_with_model_detail: Sessions of records whose models are loaded; the cost of the others is unknown.
-- share_of_sessions_with_model_detail: sessions_with_model_detail divided by sessions; null without sessions.
SELECT
  periods.period_start,
  periods.organization_id,
  days.actor_type,
  days.actor AS actor_id,
  ANY_VALUE(periods.days_in_period) AS days_in_period,
  ANY_VALUE(periods.days_loaded) AS days_loaded,
  COUNT(DISTINCT IF(days.is_active, days.date, NULL)) AS active_days,
  SUM(days.sessions) AS sessions,
  SUM(days.lines_added) AS lines_added,
  SUM(days.lines_removed) AS lines_removed,
  SUM(days.commits) AS commits,
  SUM(days.pull_requests) AS pull_requests,
  SUM(days.tool_actions_offered) AS tool_actions_offered,
  SUM(days.tool_actions_accepted) AS tool_actions_accepted,
  SAFE_DIVIDE(SUM(days.tool_actions_accepted), SUM(days.tool_actions_offered)) AS acceptance_rate,
  IF(COUNTIF(days.customer_type = 'api') = 0, 0, SUM(days.api_cost_cents)) * 0.01 /* dollars_per_cent */
    AS api_cost_usd,
  IF(COUNTIF(days.customer_type = 'subscription') = 0, 0, SUM(days.subscription_value_cents))
    * 0.01 /* dollars_per_cent */ AS subscription_value_usd,
  SUM(days.other_cost_entries) AS other_cost_entries,
  SUM(days.sessions_with_model_detail) AS sessions_with_model_detail,
  SAFE_DIVIDE(SUM(days.sessions_with_model_detail), SUM(days.sessions)) AS share_of_sessions_with_model_detail
FROM `claude_code.actor_days` AS days
JOIN `claude_code.periods` AS periods
  ON periods.organization_id = days.organization_id AND days.date BETWEEN periods.period_start AND periods.period_end
GROUP BY 1, 2, 3, 4
