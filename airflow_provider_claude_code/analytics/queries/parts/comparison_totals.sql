-- What an organisation did on the days that a report compares, with everybody counted once. The period before has the
-- same number of days and begins whole weeks earlier, so that each day is paired with one of the same weekday. One row
-- per organisation and span that has a day; sums are null if a span has no usage.
--
-- span: period (the loaded days of the report's period); now (those of them that are complete and paired with a
--   complete day); before (the days that these are paired with); left out (the loaded days of the period without such a
--   pair); left out before (the same in the period before); the last four with " in weeks", for which only pairs in
--   whole weeks from the period's first day on count; or week 1 to week 12 (the seven days that end 0 to 11 weeks
--   before the period begins, if all of them are complete).
-- organization_id: the organisation.
-- days: how many days the span has.
-- active_people: people (user_actor) with any session, commit, pull request, line, tool action or token.
-- active_keys: API keys (api_actor) with any of these.
-- counted_people: people and API keys, except those of machines, with any of these.
-- tool_people: counted people to whom a tool offered something.
-- api_actors: counted people who have a cost of customer_type api.
-- subscription_actors: counted people who have a value of customer_type subscription.
-- api_cost_people: people who have a cost of customer_type api.
-- api_people: people who were active with customer_type api.
-- api_person_days: sum over api_people of the days of such activity.
-- sessions: sessions.
-- lines_added: lines of code added.
-- lines_removed: lines of code removed.
-- commits: commits made by Claude Code.
-- pull_requests: pull requests made by Claude Code.
-- people_pull_requests: those of people.
-- tool_actions_offered: tool actions that were accepted or rejected.
-- tool_actions_accepted: those that were accepted.
-- api_cost_usd: estimated cost of customer_type api in US dollars; 0 when there is no record of this type, null when there
--   are some but none names a model.
-- people_api_cost_usd: that of people.
-- subscription_value_usd: estimated value of customer_type subscription in US dollars; 0 or null in the same cases.
-- api_sessions: sessions of customer_type api.
-- api_sessions_with_cost: those of them whose cost is known in US dollars.
-- people_api_sessions: people's sessions of customer_type api.
-- people_api_sessions_with_cost: those of them whose cost is known in US dollars.
WITH paired AS (
  SELECT
    now.organization_id,
    now.date,
    earlier.date AS date_before,
    COUNT(*) OVER (
      PARTITION BY now.organization_id, DIV(DATE_DIFF(now.date, DATE '2025-09-01' /* first_day */, DAY), 7)
    ) = 7 AS is_in_whole_week
  FROM `claude_code.days` AS now
  JOIN `claude_code.days` AS earlier
    ON earlier.organization_id = now.organization_id
    AND earlier.date = DATE_SUB(now.date, INTERVAL 28 /* days_between_periods */ DAY)
  WHERE now.is_complete AND earlier.is_complete
    AND now.date BETWEEN DATE '2025-09-01' /* first_day */ AND DATE '2025-09-28' /* last_day */
),
periods_of_report AS (
  SELECT organization_id, date, 'now' AS paired_span, 'left out' AS other_span
  FROM `claude_code.days`
  WHERE is_loaded AND date BETWEEN DATE '2025-09-01' /* first_day */ AND DATE '2025-09-28' /* last_day */
  UNION ALL
  SELECT organization_id, date, 'before', 'left out before'
  FROM `claude_code.days`
  WHERE is_loaded
    AND DATE_ADD(date, INTERVAL 28 /* days_between_periods */ DAY)
      BETWEEN DATE '2025-09-01' /* first_day */ AND DATE '2025-09-28' /* last_day */
),
weeks AS (
  SELECT days.organization_id, days.date, number
  FROM `claude_code.days` AS days
  CROSS JOIN UNNEST(GENERATE_ARRAY(1, 12)) AS number
  WHERE days.is_complete
    AND DATE_DIFF(DATE '2025-09-01' /* first_day */, days.date, DAY) BETWEEN 7 * number - 6 AND 7 * number
),
span_days AS (
  SELECT 'period' AS kind, 'period' AS span, organization_id, date
  FROM periods_of_report
  WHERE paired_span = 'now'
  UNION ALL
  SELECT
    CONCAT('pairs', pairing),
    CONCAT(IF(paired.date IS NULL, report.other_span, report.paired_span), pairing),
    report.organization_id,
    report.date
  FROM periods_of_report AS report
  CROSS JOIN UNNEST(['', ' in weeks']) AS pairing
  LEFT JOIN paired
    ON paired.organization_id = report.organization_id
    AND report.date = IF(report.paired_span = 'now', paired.date, paired.date_before)
    AND (pairing = '' OR paired.is_in_whole_week)
  UNION ALL
  SELECT 'week', CONCAT('week ', CAST(number AS STRING)), organization_id, date
  FROM weeks
  WHERE TRUE
  QUALIFY COUNT(*) OVER (PARTITION BY organization_id, number) = 7
),
spans AS (
  SELECT span, organization_id, COUNT(*) AS days
  FROM span_days
  GROUP BY span, organization_id
),
-- A day is in one span of a kind at most.
spans_of_days AS (
  SELECT
    organization_id,
    date,
    MAX(IF(kind = 'period', span, NULL)) AS whole,
    MAX(IF(kind = 'pairs', span, NULL)) AS paired,
    MAX(IF(kind = 'pairs in weeks', span, NULL)) AS paired_in_weeks,
    MAX(IF(kind = 'week', span, NULL)) AS week
  FROM span_days
  GROUP BY organization_id, date
),
-- Days that are in the same spans are added up once, and each actor's before people are counted.
actors_of_days AS (
  SELECT
    spans_of_days.whole,
    spans_of_days.paired,
    spans_of_days.paired_in_weeks,
    spans_of_days.week,
    days.organization_id,
    days.actor_type,
    days.actor,
    LOGICAL_OR(days.person IS NOT NULL) AS counts,
    LOGICAL_OR(days.is_active) AS is_active,
    LOGICAL_OR(days.tool_actions_offered > 0) AS has_tools,
    COUNT(IF(days.is_active AND days.customer_type = 'api', 1, NULL)) AS api_days,
    LOGICAL_OR(days.customer_type = 'api' AND days.has_cost) AS has_api,
    LOGICAL_OR(days.customer_type = 'subscription' AND days.has_cost) AS has_subscription,
    LOGICAL_OR(days.customer_type = 'api') AS has_api_records,
    LOGICAL_OR(days.customer_type = 'subscription') AS has_subscription_records,
    SUM(days.sessions) AS sessions,
    SUM(days.lines_added) AS lines_added,
    SUM(days.lines_removed) AS lines_removed,
    SUM(days.commits) AS commits,
    SUM(days.pull_requests) AS pull_requests,
    SUM(days.tool_actions_offered) AS tool_actions_offered,
    SUM(days.tool_actions_accepted) AS tool_actions_accepted,
    SUM(days.api_cost_cents) AS api_cost_cents,
    SUM(days.subscription_value_cents) AS subscription_value_cents,
    SUM(IF(days.customer_type = 'api', days.sessions, 0)) AS api_sessions,
    SUM(IF(days.customer_type = 'api', days.sessions_with_cost, 0)) AS api_sessions_with_cost
  FROM `claude_code.actor_days` AS days
  JOIN spans_of_days
    ON spans_of_days.organization_id = days.organization_id AND spans_of_days.date = days.date
  GROUP BY 1, 2, 3, 4, 5, 6, 7
),
actors AS (
  SELECT
    span,
    organization_id,
    actor_type,
    actor,
    actor_type = 'user_actor' AS is_person,
    LOGICAL_OR(counts) AS counts,
    LOGICAL_OR(is_active) AS is_active,
    LOGICAL_OR(has_tools) AS has_tools,
    SUM(api_days) AS api_days,
    LOGICAL_OR(has_api) AS has_api,
    LOGICAL_OR(has_subscription) AS has_subscription,
    LOGICAL_OR(has_api_records) AS has_api_records,
    LOGICAL_OR(has_subscription_records) AS has_subscription_records,
    SUM(sessions) AS sessions,
    SUM(lines_added) AS lines_added,
    SUM(lines_removed) AS lines_removed,
    SUM(commits) AS commits,
    SUM(pull_requests) AS pull_requests,
    SUM(tool_actions_offered) AS tool_actions_offered,
    SUM(tool_actions_accepted) AS tool_actions_accepted,
    SUM(api_cost_cents) AS api_cost_cents,
    SUM(subscription_value_cents) AS subscription_value_cents,
    SUM(api_sessions) AS api_sessions,
    SUM(api_sessions_with_cost) AS api_sessions_with_cost
  FROM actors_of_days
  CROSS JOIN UNNEST([whole, paired, paired_in_weeks, week]) AS span
  WHERE span IS NOT NULL
  GROUP BY 1, 2, 3, 4, 5
),
totals AS (
  SELECT
    span,
    organization_id,
    COUNT(IF(is_person AND is_active, 1, NULL)) AS active_people,
    COUNT(IF(actor_type = 'api_actor' AND is_active, 1, NULL)) AS active_keys,
    COUNT(IF(counts AND is_active, 1, NULL)) AS counted_people,
    COUNT(IF(counts AND has_tools, 1, NULL)) AS tool_people,
    COUNT(IF(counts AND has_api, 1, NULL)) AS api_actors,
    COUNT(IF(counts AND has_subscription, 1, NULL)) AS subscription_actors,
    COUNT(IF(is_person AND has_api, 1, NULL)) AS api_cost_people,
    COUNT(IF(is_person AND api_days > 0, 1, NULL)) AS api_people,
    SUM(IF(is_person, api_days, 0)) AS api_person_days,
    SUM(sessions) AS sessions,
    SUM(lines_added) AS lines_added,
    SUM(lines_removed) AS lines_removed,
    SUM(commits) AS commits,
    SUM(pull_requests) AS pull_requests,
    SUM(IF(is_person, pull_requests, 0)) AS people_pull_requests,
    SUM(tool_actions_offered) AS tool_actions_offered,
    SUM(tool_actions_accepted) AS tool_actions_accepted,
    IF(LOGICAL_OR(has_api_records), SUM(api_cost_cents), 0) * 0.01 /* dollars_per_cent */ AS api_cost_usd,
    IF(LOGICAL_OR(is_person AND has_api_records), SUM(IF(is_person, api_cost_cents, NULL)), 0)
      * 0.01 /* dollars_per_cent */ AS people_api_cost_usd,
    IF(LOGICAL_OR(has_subscription_records), SUM(subscription_value_cents), 0) * 0.01 /* dollars_per_cent */
      AS subscription_value_usd,
    SUM(api_sessions) AS api_sessions,
    SUM(api_sessions_with_cost) AS api_sessions_with_cost,
    SUM(IF(is_person, api_sessions, 0)) AS people_api_sessions,
    SUM(IF(is_person, api_sessions_with_cost, 0)) AS people_api_sessions_with_cost
  FROM actors
  GROUP BY span, organization_id
)
SELECT spans.span, spans.organization_id, spans.days, totals.* EXCEPT (span, organization_id)
FROM spans
LEFT JOIN totals ON totals.span = spans.span AND totals.organization_id = spans.organization_id
