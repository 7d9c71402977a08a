-- What each organisation did in each month, with everybody counted once: one row per month and organisation that has a
-- day in `days`. Read by period it compares two periods, and no person leaves the database. Sums are null when there
-- was no usage.
--
-- month: First day of the month (UTC).
-- organization_id: The organisation.
-- days_in_month: Days of the month.
-- days_loaded: How many of them have a complete load.
-- active_people: People (user_actor) with any session, commit, pull request, line, tool action or token.
-- active_keys: API keys (api_actor) with any of these.
-- sessions: Sessions.
-- lines_added: Lines of code added.
-- lines_removed: Lines of code removed.
-- commits: Commits made by Claude Code.
-- pull_requests: Pull requests made by Claude Code.
-- tool_actions_offered: Tool actions that were accepted or rejected.
-- tool_actions_accepted: Those that were accepted.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; null when no such record names a model.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use;
--   null when no such record names a model.
-- other_cost_entries: Model entries with a cost that is in neither: another currency or another customer type.
-- sessions_with_model_detail: Sessions of records that name models; the cost of the others is unknown.
SELECT
  months.month,
  months.organization_id,
  ANY_VALUE(months.days_in_month) AS days_in_month,
  ANY_VALUE(months.days_loaded) AS days_loaded,
  COUNT(DISTINCT IF(people.actor_type = 'user_actor' AND people.active_days > 0, people.actor_id, NULL))
    AS active_people,
  COUNT(DISTINCT IF(people.actor_type = 'api_actor' AND people.active_days > 0, people.actor_id, NULL)) AS active_keys,
  SUM(people.sessions) AS sessions,
  SUM(people.lines_added) AS lines_added,
  SUM(people.lines_removed) AS lines_removed,
  SUM(people.commits) AS commits,
  SUM(people.pull_requests) AS pull_requests,
  SUM(people.tool_actions_offered) AS tool_actions_offered,
  SUM(people.tool_actions_accepted) AS tool_actions_accepted,
  SUM(people.api_cost_usd) AS api_cost_usd,
  SUM(people.subscription_value_usd) AS subscription_value_usd,
  SUM(people.other_cost_entries) AS other_cost_entries,
  SUM(people.sessions_with_model_detail) AS sessions_with_model_detail
FROM `claude_code.months` AS months
LEFT JOIN `claude_code.people_monthly` AS people
  ON people.month = months.month AND people.organization_id = months.organization_id
GROUP BY 1, 2
