-- What people's work with Claude Code cost per result: one row per month, organisation and customer type, for people
-- (user_actor) alone, since API keys work without anybody. A ratio divides sums of the same people: what is paid by
-- use by their results on the API, the value of subscriptions by the results of those who have one. Customer types of
-- fewer than min_group_size active people are folded into "(small groups)", whose ratios are null.
--
-- month: First day of the month (UTC).
-- organization_id: The organisation.
-- customer_type: api or subscription.
-- days_in_month: Days of the month.
-- days_loaded: How many of them have a complete load.
-- active_people: People with any session, commit, pull request, line, tool action or token in the month.
-- sessions: Their sessions.
-- commits: Commits that Claude Code made for them.
-- pull_requests: Pull requests that Claude Code made for them.
-- lines_added: Lines of code that were added.
-- sessions_with_model_detail: Sessions of records that name models; the cost of the others is unknown.
-- share_of_sessions_with_model_detail: These of all sessions, 0 to 1. The lower it is, the more the ratios understate.
-- other_cost_entries: Model entries with a cost that is in neither amount: another currency or customer type.
-- api_cost_usd: Estimated cost in US dollars, which the organisation's cost report already includes; null for
--   subscriptions and "(small groups)", and when no such record names a model.
-- api_cost_usd_per_active_person: api_cost_usd divided by active_people; null when there are none.
-- api_cost_usd_per_session: api_cost_usd divided by sessions.
-- api_cost_usd_per_commit: api_cost_usd divided by commits.
-- api_cost_usd_per_pull_request: api_cost_usd divided by pull_requests.
-- api_cost_usd_per_1000_lines_added: api_cost_usd divided by lines_added, times 1,000.
-- subscription_value_usd: Estimated value in US dollars, which is not billed by use; null for the API and
--   "(small groups)", and when no such record names a model.
-- subscription_value_usd_per_active_person: subscription_value_usd divided by active_people; null when there are none.
-- subscription_value_usd_per_session: subscription_value_usd divided by sessions.
-- subscription_value_usd_per_commit: subscription_value_usd divided by commits.
-- subscription_value_usd_per_pull_request: subscription_value_usd divided by pull_requests.
-- subscription_value_usd_per_1000_lines_added: subscription_value_usd divided by lines_added, times 1,000.
WITH people AS (
  SELECT months.month, months.days_in_month, months.days_loaded, days.*
  FROM `claude_code.actor_days` AS days
  JOIN `claude_code.months` AS months
    ON months.organization_id = days.organization_id AND days.date BETWEEN months.month AND months.last_date
  WHERE days.actor_type = 'user_actor'
),
members AS (
  SELECT DISTINCT
    'customer_type' AS dimension, month AS period, organization_id, customer_type AS name,
    IF(is_active, actor, NULL) AS person
  FROM people
),
sums AS (
  SELECT
    people.month,
    people.organization_id,
    IF(folding.is_small, '(small groups)', people.customer_type) AS customer_type,
    ANY_VALUE(people.days_in_month) AS days_in_month,
    ANY_VALUE(people.days_loaded) AS days_loaded,
    COUNT(DISTINCT IF(people.is_active, people.actor, NULL)) AS active_people,
    SUM(people.sessions) AS sessions,
    SUM(people.commits) AS commits,
    SUM(people.pull_requests) AS pull_requests,
    SUM(people.lines_added) AS lines_added,
    SUM(people.sessions_with_model_detail) AS sessions_with_model_detail,
    SUM(people.other_cost_entries) AS other_cost_entries,
    SUM(IF(people.customer_type = 'api', people.cost_cents, NULL)) * NUMERIC '0.01' AS api_cost_usd,
    SUM(IF(people.customer_type = 'subscription', people.cost_cents, NULL)) * NUMERIC '0.01' AS subscription_value_usd
  FROM people
  LEFT JOIN `claude_code.small_groups` AS folding
    ON folding.period = people.month AND folding.organization_id = people.organization_id
    AND folding.name = people.customer_type
  GROUP BY 1, 2, 3
),
-- Of a folded row one amount would be divided by what belongs to the other as well.
amounts AS (
  SELECT
    sums.*,
    -- A NUMERIC divided is a NUMERIC, which holds 9 places of what may be a small part of a cent.
    CAST(IF(customer_type = 'api', api_cost_usd, NULL) AS FLOAT64) AS api_cost,
    CAST(IF(customer_type = 'subscription', subscription_value_usd, NULL) AS FLOAT64) AS subscription_value
  FROM sums
)
SELECT
  month,
  organization_id,
  customer_type,
  days_in_month,
  days_loaded,
  active_people,
  sessions,
  commits,
  pull_requests,
  lines_added,
  sessions_with_model_detail,
  SAFE_DIVIDE(sessions_with_model_detail, sessions) AS share_of_sessions_with_model_detail,
  other_cost_entries,
  IF(customer_type = 'api', api_cost_usd, NULL) AS api_cost_usd,
  SAFE_DIVIDE(api_cost, active_people) AS api_cost_usd_per_active_person,
  SAFE_DIVIDE(api_cost, sessions) AS api_cost_usd_per_session,
  SAFE_DIVIDE(api_cost, commits) AS api_cost_usd_per_commit,
  SAFE_DIVIDE(api_cost, pull_requests) AS api_cost_usd_per_pull_request,
  SAFE_DIVIDE(api_cost * 1000, lines_added) AS api_cost_usd_per_1000_lines_added,
  IF(customer_type = 'subscription', subscription_value_usd, NULL) AS subscription_value_usd,
  SAFE_DIVIDE(subscription_value, active_people) AS subscription_value_usd_per_active_person,
  SAFE_DIVIDE(subscription_value, sessions) AS subscription_value_usd_per_session,
  SAFE_DIVIDE(subscription_value, commits) AS subscription_value_usd_per_commit,
  SAFE_DIVIDE(subscription_value, pull_requests) AS subscription_value_usd_per_pull_request,
  SAFE_DIVIDE(subscription_value * 1000, lines_added) AS subscription_value_usd_per_1000_lines_added
FROM amounts
