-- PERSONAL DATA: what each person and each API key did in each month; one row per month, organisation and actor. It is
-- never created unless it is asked for by name. With actor_identity=hmac its actors are pseudonyms.
--
-- month: First day of the month (UTC).
-- organization_id: The organisation.
-- actor_type: user_actor for people, api_actor for API keys, or a kind that the API added later.
-- actor_id: The actor's id, an address in lower case (A to Z); empty for those without one, who share a row.
-- days_in_month: Days of the month.
-- days_loaded: How many of them have a complete load.
-- active_days: Days with any session, commit, pull request, line, tool action or token.
-- sessions: Sessions.
-- lines_added: Lines of code added.
-- lines_removed: Lines of code removed.
-- commits: Commits made by Claude Code.
-- pull_requests: Pull requests made by Claude Code.
-- tool_actions_offered: Tool actions that were accepted or rejected.
-- tool_actions_accepted: Those that were accepted.
-- acceptance_rate: Accepted of offered, 0 to 1; null when nothing was offered.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; null when no such record names a model.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use;
--   null when no such record names a model.
-- other_cost_entries: Model entries with a cost that is in neither: another currency or another customer type.
-- sessions_with_model_detail: Sessions of records that name models; the cost of the others is unknown.
-- share_of_sessions_with_model_detail: These of all sessions, 0 to 1; null without sessions.
SELECT
  months.month,
  months.organization_id,
  days.actor_type,
  days.actor AS actor_id,
  ANY_VALUE(months.days_in_month) AS days_in_month,
  ANY_VALUE(months.days_loaded) AS days_loaded,
  COUNT(DISTINCT IF(days.is_active, days.date, NULL)) AS active_days,
  SUM(days.sessions) AS sessions,
  SUM(days.lines_added) AS lines_added,
  SUM(days.lines_removed) AS lines_removed,
  SUM(days.commits) AS commits,
  SUM(days.pull_requests) AS pull_requests,
  SUM(days.tool_actions_offered) AS tool_actions_offered,
  SUM(days.tool_actions_accepted) AS tool_actions_accepted,
  SAFE_DIVIDE(SUM(days.tool_actions_accepted), SUM(days.tool_actions_offered)) AS acceptance_rate,
  SUM(IF(days.customer_type = 'api', days.cost_cents, NULL)) * NUMERIC '0.01' AS api_cost_usd,
  SUM(IF(days.customer_type = 'subscription', days.cost_cents, NULL)) * NUMERIC '0.01' AS subscription_value_usd,
  SUM(days.other_cost_entries) AS other_cost_entries,
  SUM(days.sessions_with_model_detail) AS sessions_with_model_detail,
  SAFE_DIVIDE(SUM(days.sessions_with_model_detail), SUM(days.sessions)) AS share_of_sessions_with_model_detail
FROM `claude_code.actor_days` AS days
JOIN `claude_code.months` AS months
  ON months.organization_id = days.organization_id AND days.date BETWEEN months.month AND months.last_date
GROUP BY 1, 2, 3, 4
