-- What an organisation did with Claude Code on each day: one row per UTC day and organisation, from the first loaded
-- day to the last one that is loaded or should be. All counts are null on a day that is not loaded, and 0 on one that
-- is loaded and empty.
--
-- All days of a week or month (breakdown_grain) are withheld if fewer than min_group_size people worked on one of them,
-- or if a reader could subtract days from breakdowns and see what fewer people did. `period_activity` has the totals of
-- the week or month. The days of a week or month that is not over are withheld if those of the one before are.
--
-- key: date, organization_id
-- date: The UTC day.
-- organization_id: The organisation that owns the usage.
-- is_loaded: Whether the day was loaded and its rows still exist.
-- is_complete: Whether the newest load read the day after it was complete.
-- is_withheld: Whether the counts are withheld. Tool actions and costs may be withheld when other counts are not, since
--   fewer people contribute to them.
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
-- tool_actions_accepted: Tool actions that were accepted.
-- acceptance_rate: tool_actions_accepted divided by tool_actions_offered; null if nothing was offered.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; 0 when there is no record of this type, null when there are some but none has a cost in US dollars.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use; 0 or
--   null in the same cases as api_cost_usd.
-- sessions_with_model_detail: Sessions of records whose models are loaded; the cost of the others is unknown.
-- share_of_sessions_with_model_detail: sessions_with_model_detail divided by sessions; null without sessions.
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
    IF(COUNTIF(customer_type = 'api') = 0, 0, SUM(api_cost_cents)) * 0.01 /* dollars_per_cent */ AS api_cost_usd,
    IF(COUNTIF(customer_type = 'subscription') = 0, 0, SUM(subscription_value_cents)) * 0.01 /* dollars_per_cent */
      AS subscription_value_usd,
    SUM(sessions_with_model_detail) AS sessions_with_model_detail
  FROM `claude_code.actor_days`
  GROUP BY date, organization_id
),
shown AS (
  SELECT
    organization_id,
    bucket_start,
    LOGICAL_OR(measure = 'sessions' AND NOT is_shown) AS hides_sessions,
    LOGICAL_OR(measure = 'tools' AND NOT is_shown) AS hides_tools,
    LOGICAL_OR(measure = 'api' AND NOT is_shown) AS hides_api_cost,
    LOGICAL_OR(measure = 'subscription' AND NOT is_shown) AS hides_subscription_value
  FROM `claude_code.shown_measures`
  GROUP BY organization_id, bucket_start
),
known AS (
  SELECT
    days.*,
    days.is_early OR COALESCE(shown.hides_sessions, FALSE) AS is_withheld,
    days.is_read AND NOT COALESCE(shown.hides_sessions, FALSE) AS shows_sessions,
    days.is_read AND NOT COALESCE(shown.hides_tools, FALSE) AS shows_tools,
    days.is_read AND NOT COALESCE(shown.hides_api_cost, FALSE) AS shows_api_cost,
    days.is_read AND NOT COALESCE(shown.hides_subscription_value, FALSE) AS shows_subscription_value
  FROM (
    -- A report does not read all rows of earlier days.
    SELECT
      *,
      date < DATE '0001-01-01' /* buckets_from */ AS is_early,
      is_loaded AND date >= DATE '0001-01-01' /* buckets_from */ AS is_read
    FROM `claude_code.bucket_days`
  ) AS days
  LEFT JOIN shown ON shown.organization_id = days.organization_id AND shown.bucket_start = days.bucket_start
)
SELECT
  known.date,
  known.organization_id,
  known.is_loaded,
  known.is_complete,
  known.is_withheld,
  IF(shows_sessions, COALESCE(activity.active_people, 0), NULL) AS active_people,
  IF(shows_sessions, COALESCE(activity.active_keys, 0), NULL) AS active_keys,
  IF(shows_sessions, COALESCE(activity.active_others, 0), NULL) AS active_others,
  IF(shows_sessions, COALESCE(activity.sessions, 0), NULL) AS sessions,
  IF(shows_sessions, COALESCE(activity.lines_added, 0), NULL) AS lines_added,
  IF(shows_sessions, COALESCE(activity.lines_removed, 0), NULL) AS lines_removed,
  IF(shows_sessions, COALESCE(activity.lines_added - activity.lines_removed, 0), NULL) AS lines_net,
  IF(shows_sessions, COALESCE(activity.commits, 0), NULL) AS commits,
  IF(shows_sessions, COALESCE(activity.pull_requests, 0), NULL) AS pull_requests,
  IF(shows_tools, COALESCE(activity.tool_actions_offered, 0), NULL) AS tool_actions_offered,
  IF(shows_tools, COALESCE(activity.tool_actions_accepted, 0), NULL) AS tool_actions_accepted,
  IF(shows_tools, SAFE_DIVIDE(activity.tool_actions_accepted, activity.tool_actions_offered), NULL) AS acceptance_rate,
  IF(shows_api_cost, IF(activity.date IS NULL, 0, activity.api_cost_usd), NULL) AS api_cost_usd,
  IF(shows_subscription_value, IF(activity.date IS NULL, 0, activity.subscription_value_usd), NULL)
    AS subscription_value_usd,
  IF(shows_sessions, COALESCE(activity.sessions_with_model_detail, 0), NULL) AS sessions_with_model_detail,
  IF(shows_sessions, SAFE_DIVIDE(activity.sessions_with_model_detail, activity.sessions), NULL)
    AS share_of_sessions_with_model_detail
FROM known
LEFT JOIN activity ON activity.organization_id = known.organization_id AND activity.date = known.date
