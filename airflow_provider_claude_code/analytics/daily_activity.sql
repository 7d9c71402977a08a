-- What an organisation did with Claude Code on each day: one row per UTC day and organisation, from the first loaded
-- day to the last one that is there or should be. All counts are null on a day that is not loaded, and 0 on one that is
-- loaded and empty.
--
-- date: The UTC day.
-- organization_id: The organisation that owns the usage.
-- is_loaded: Whether the day was ever loaded.
-- is_complete: Whether its newest load read it after it was complete.
-- active_people: People (user_actor) with any session, commit, pull request, line, tool action or token.
-- active_keys: API keys (api_actor) with any of these.
-- active_others: Actors of kinds that the API added later, with any of these.
-- sessions: Sessions.
-- lines_added: Lines of code added.
-- lines_removed: Lines of code removed.
-- lines_net: Lines added less lines removed.
-- commits: Commits made by Claude Code.
-- pull_requests: Pull requests made by Claude Code.
-- tool_actions_offered: Tool actions that people or keys could accept: accepted and rejected ones.
-- tool_actions_accepted: Those that were accepted.
-- acceptance_rate: Accepted of offered, 0 to 1; null when nothing was offered.
-- input_tokens: Tokens, of records with model detail; null when none has any.
-- output_tokens: The same.
-- cache_read_tokens: The same.
-- cache_creation_tokens: The same.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; null when no such record names a model.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use;
--   null when no such record names a model.
-- other_cost_entries: Model entries with a cost that is in neither: another currency or another customer type.
-- sessions_with_model_detail: Sessions of records that name models; the cost and tokens of the others are unknown.
-- share_of_sessions_with_model_detail: These of all sessions, 0 to 1; null without sessions.
WITH activity AS (
  SELECT
    date,
    organization_id,
    COUNT(DISTINCT IF(is_active AND actor_type = 'user_actor', actor, NULL)) AS active_people,
    COUNT(DISTINCT IF(is_active AND actor_type = 'api_actor', actor, NULL)) AS active_keys,
    COUNT(DISTINCT IF(is_active AND actor_type NOT IN ('user_actor', 'api_actor'), CONCAT(actor_type, ':', actor), NULL))
      AS active_others,
    SUM(sessions) AS sessions,
    SUM(lines_added) AS lines_added,
    SUM(lines_removed) AS lines_removed,
    SUM(commits) AS commits,
    SUM(pull_requests) AS pull_requests,
    SUM(tool_actions_offered) AS tool_actions_offered,
    SUM(tool_actions_accepted) AS tool_actions_accepted,
    SUM(input_tokens) AS input_tokens,
    SUM(output_tokens) AS output_tokens,
    SUM(cache_read_tokens) AS cache_read_tokens,
    SUM(cache_creation_tokens) AS cache_creation_tokens,
    SUM(IF(customer_type = 'api', cost_cents, NULL)) * NUMERIC '0.01' AS api_cost_usd,
    SUM(IF(customer_type = 'subscription', cost_cents, NULL)) * NUMERIC '0.01' AS subscription_value_usd,
    SUM(other_cost_entries) AS other_cost_entries,
    SUM(sessions_with_model_detail) AS sessions_with_model_detail
  FROM `claude_code.actor_days`
  GROUP BY date, organization_id
)
SELECT
  days.date,
  days.organization_id,
  days.is_loaded,
  days.is_complete,
  IF(days.is_loaded, COALESCE(activity.active_people, 0), NULL) AS active_people,
  IF(days.is_loaded, COALESCE(activity.active_keys, 0), NULL) AS active_keys,
  IF(days.is_loaded, COALESCE(activity.active_others, 0), NULL) AS active_others,
  IF(days.is_loaded, COALESCE(activity.sessions, 0), NULL) AS sessions,
  IF(days.is_loaded, COALESCE(activity.lines_added, 0), NULL) AS lines_added,
  IF(days.is_loaded, COALESCE(activity.lines_removed, 0), NULL) AS lines_removed,
  IF(days.is_loaded, COALESCE(activity.lines_added - activity.lines_removed, 0), NULL) AS lines_net,
  IF(days.is_loaded, COALESCE(activity.commits, 0), NULL) AS commits,
  IF(days.is_loaded, COALESCE(activity.pull_requests, 0), NULL) AS pull_requests,
  IF(days.is_loaded, COALESCE(activity.tool_actions_offered, 0), NULL) AS tool_actions_offered,
  IF(days.is_loaded, COALESCE(activity.tool_actions_accepted, 0), NULL) AS tool_actions_accepted,
  SAFE_DIVIDE(activity.tool_actions_accepted, activity.tool_actions_offered) AS acceptance_rate,
  activity.input_tokens,
  activity.output_tokens,
  activity.cache_read_tokens,
  activity.cache_creation_tokens,
  activity.api_cost_usd,
  activity.subscription_value_usd,
  IF(days.is_loaded, COALESCE(activity.other_cost_entries, 0), NULL) AS other_cost_entries,
  IF(days.is_loaded, COALESCE(activity.sessions_with_model_detail, 0), NULL) AS sessions_with_model_detail,
  SAFE_DIVIDE(activity.sessions_with_model_detail, activity.sessions) AS share_of_sessions_with_model_detail
FROM `claude_code.days` AS days
LEFT JOIN activity
  ON activity.organization_id = days.organization_id AND activity.date = days.date AND days.is_loaded
