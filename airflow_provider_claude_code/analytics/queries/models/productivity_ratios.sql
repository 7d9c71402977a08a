-- What people's work with Claude Code cost per result: one row per week or month (breakdown_grain), organisation and
-- customer type. People are all actors but the API keys that the mapping marks as machines. A ratio divides sums of the
-- same people: API cost by the results of API usage, and subscription value by the results of subscription usage.
-- Customer types of fewer than min_group_size active people are combined into "(small groups)", whose amounts and
-- ratios are null.
--
-- Charges for people are shown next to the estimate, for the days on which `cost` is loaded. Charges have no customer
-- type: all of them are in the row api, if there is one. Charges for machines and charges that name nobody are left
-- out; see `cost_allocation`.
--
-- key: period_start, organization_id, customer_type
-- period_start: First day of the week (Monday) or month, in UTC. A period that is not over is included only with a
--   min_group_size of 1.
-- organization_id: The organisation.
-- customer_type: api, subscription, or a type that the API added later, which has no amounts.
-- days_in_period: Days of the week or month.
-- days_loaded: How many of them have a complete load.
-- people: People, and API keys that are not machines, with any session, commit, pull request, line, tool action or
--   token of this customer type.
-- sessions: Their sessions.
-- commits: Commits that Claude Code made for them.
-- pull_requests: Pull requests that Claude Code made for them.
-- lines_added: Lines of code that were added.
-- sessions_with_model_detail: Sessions of records whose models are loaded; the cost of the others is unknown.
-- share_of_sessions_with_model_detail: sessions_with_model_detail divided by sessions. The lower it is, the more the
--   ratios are too low.
-- api_cost_usd: Estimated cost in US dollars, which the organisation's cost report already includes; null for
--   subscriptions and "(small groups)", and if fewer than min_group_size people have records that name a model.
-- api_cost_usd_per_person: api_cost_usd divided by people; null when there are none.
-- api_cost_usd_per_session: api_cost_usd divided by sessions.
-- api_cost_usd_per_commit: api_cost_usd divided by commits.
-- api_cost_usd_per_pull_request: api_cost_usd divided by pull_requests.
-- api_cost_usd_per_1000_lines_added: api_cost_usd divided by lines_added, times 1,000.
-- subscription_value_usd: Estimated value in US dollars, which is not billed by use; null for the API and "(small
--   groups)", and if fewer than min_group_size people have records that name a model.
-- subscription_value_usd_per_person: subscription_value_usd divided by people; null when there are none.
-- subscription_value_usd_per_session: subscription_value_usd divided by sessions.
-- subscription_value_usd_per_commit: subscription_value_usd divided by commits.
-- subscription_value_usd_per_pull_request: subscription_value_usd divided by pull_requests.
-- subscription_value_usd_per_1000_lines_added: subscription_value_usd divided by lines_added, times 1,000.
-- charged_days: How many of the days have charges that were loaded after they were complete. The ratios divide by the
--   results of all days, so they are too low if there are fewer such days.
-- charged_usd: Charges for people in US dollars, after discounts and before credits and taxes; null for subscriptions
--   and "(small groups)", when no day has charges, if fewer than min_group_size people have any, and if some, but
--   fewer than min_group_size people have any for other products than Claude Code.
-- charged_usd_per_person: charged_usd divided by people; null when there are none.
-- charged_usd_per_session: charged_usd divided by sessions.
-- charged_usd_per_commit: charged_usd divided by commits.
-- charged_usd_per_pull_request: charged_usd divided by pull_requests.
-- charged_usd_per_1000_lines_added: charged_usd divided by lines_added, times 1,000.
WITH people AS (
  SELECT
    breakdowns.period_start,
    breakdowns.days_in_period,
    breakdowns.days_loaded,
    days.organization_id,
    days.person,
    days.customer_type,
    LOGICAL_OR(days.is_active) AS is_active,
    LOGICAL_OR(days.has_cost) AS has_cost,
    SUM(days.sessions) AS sessions,
    SUM(days.sessions_with_model_detail) AS sessions_with_model_detail,
    SUM(days.lines_added) AS lines_added,
    SUM(days.commits) AS commits,
    SUM(days.pull_requests) AS pull_requests,
    SUM(days.api_cost_cents) AS api_cost_cents,
    SUM(days.subscription_value_cents) AS subscription_value_cents
  FROM `claude_code.actor_days` AS days
  JOIN `claude_code.breakdown_days` AS breakdowns
    ON breakdowns.organization_id = days.organization_id AND breakdowns.date = days.date
  WHERE days.person IS NOT NULL
  GROUP BY 1, 2, 3, 4, 5, 6
),
group_members AS (
  SELECT
    'customer_type' AS dimension, period_start AS period, organization_id, customer_type AS name,
    IF(is_active, person, NULL) AS person, CAST(NULL AS STRING) AS link
  FROM people
),
sums AS (
  SELECT
    people.period_start,
    people.organization_id,
    COALESCE(folding.folded_name, people.customer_type) AS customer_type,
    ANY_VALUE(people.days_in_period) AS days_in_period,
    ANY_VALUE(people.days_loaded) AS days_loaded,
    COUNT(DISTINCT IF(people.is_active, people.person, NULL)) AS people,
    COUNT(DISTINCT IF(people.has_cost, people.person, NULL)) AS cost_people,
    SUM(people.sessions) AS sessions,
    SUM(people.commits) AS commits,
    SUM(people.pull_requests) AS pull_requests,
    SUM(people.lines_added) AS lines_added,
    SUM(people.sessions_with_model_detail) AS sessions_with_model_detail,
    SUM(people.api_cost_cents) * 0.01 /* dollars_per_cent */ AS api_cost_usd,
    SUM(people.subscription_value_cents) * 0.01 /* dollars_per_cent */ AS subscription_value_usd
  FROM people
  JOIN `claude_code.small_groups`(group_members => TABLE group_members) AS folding
    ON folding.period = people.period_start AND folding.organization_id = people.organization_id
    AND folding.name = people.customer_type
  WHERE NOT folding.is_hidden
  GROUP BY 1, 2, 3
),
people_charges AS (
  SELECT
    period_start,
    organization_id,
    COUNT(DISTINCT IF(charged_cents <> 0, person, NULL)) AS people,
    ROUND(SUM(charged_cents) * 0.01 /* dollars_per_cent */, 9) AS charged_usd
  FROM `claude_code.charges_of_periods`
  WHERE person IS NOT NULL
  GROUP BY 1, 2
),
-- In a combined row, one amount would be divided by the results of the other as well.
amounts AS (
  SELECT
    sums.period_start,
    sums.organization_id,
    sums.customer_type,
    sums.days_in_period,
    sums.days_loaded,
    sums.people,
    sums.sessions,
    sums.commits,
    sums.pull_requests,
    sums.lines_added,
    sums.sessions_with_model_detail,
    IF(sums.customer_type = 'api' AND sums.has_enough, sums.api_cost_usd, NULL) AS api_cost_usd,
    IF(sums.customer_type = 'subscription' AND sums.has_enough, sums.subscription_value_usd, NULL)
      AS subscription_value_usd,
    COALESCE(charged.charged_days, 0) AS charged_days,
    IF(
      sums.customer_type = 'api' AND charged.charged_days IS NOT NULL
        AND NOT COALESCE(people_charges.people BETWEEN 1 AND 5 /* min_group_size */ - 1, FALSE)
        AND NOT COALESCE(beyond.product_people BETWEEN 1 AND 5 /* min_group_size */ - 1, FALSE),
      COALESCE(people_charges.charged_usd, 0),
      NULL
    ) AS charged_usd
  FROM (SELECT *, NOT cost_people BETWEEN 1 AND 5 /* min_group_size */ - 1 AS has_enough FROM sums) AS sums
  LEFT JOIN `claude_code.charged_periods` AS charged
    ON charged.period_start = sums.period_start AND charged.organization_id = sums.organization_id
  LEFT JOIN people_charges
    ON people_charges.period_start = sums.period_start AND people_charges.organization_id = sums.organization_id
  LEFT JOIN `claude_code.charges_beyond_tokens` AS beyond
    ON beyond.period_start = sums.period_start AND beyond.organization_id = sums.organization_id
)
SELECT
  period_start,
  organization_id,
  customer_type,
  days_in_period,
  days_loaded,
  people,
  sessions,
  commits,
  pull_requests,
  lines_added,
  sessions_with_model_detail,
  SAFE_DIVIDE(sessions_with_model_detail, sessions) AS share_of_sessions_with_model_detail,
  api_cost_usd,
  -- A NUMERIC divided is a NUMERIC, which holds 9 places of what may be a small part of a cent.
  SAFE_DIVIDE(CAST(api_cost_usd AS FLOAT64), people) AS api_cost_usd_per_person,
  SAFE_DIVIDE(CAST(api_cost_usd AS FLOAT64), sessions) AS api_cost_usd_per_session,
  SAFE_DIVIDE(CAST(api_cost_usd AS FLOAT64), commits) AS api_cost_usd_per_commit,
  SAFE_DIVIDE(CAST(api_cost_usd AS FLOAT64), pull_requests) AS api_cost_usd_per_pull_request,
  SAFE_DIVIDE(CAST(api_cost_usd AS FLOAT64) * 1000, lines_added) AS api_cost_usd_per_1000_lines_added,
  subscription_value_usd,
  SAFE_DIVIDE(CAST(subscription_value_usd AS FLOAT64), people) AS subscription_value_usd_per_person,
  SAFE_DIVIDE(CAST(subscription_value_usd AS FLOAT64), sessions) AS subscription_value_usd_per_session,
  SAFE_DIVIDE(CAST(subscription_value_usd AS FLOAT64), commits) AS subscription_value_usd_per_commit,
  SAFE_DIVIDE(CAST(subscription_value_usd AS FLOAT64), pull_requests) AS subscription_value_usd_per_pull_request,
  SAFE_DIVIDE(CAST(subscription_value_usd AS FLOAT64) * 1000, lines_added) AS subscription_value_usd_per_1000_lines_added,
  charged_days,
  charged_usd,
  SAFE_DIVIDE(CAST(charged_usd AS FLOAT64), people) AS charged_usd_per_person,
  SAFE_DIVIDE(CAST(charged_usd AS FLOAT64), sessions) AS charged_usd_per_session,
  SAFE_DIVIDE(CAST(charged_usd AS FLOAT64), commits) AS charged_usd_per_commit,
  SAFE_DIVIDE(CAST(charged_usd AS FLOAT64), pull_requests) AS charged_usd_per_pull_request,
  SAFE_DIVIDE(CAST(charged_usd AS FLOAT64) * 1000, lines_added) AS charged_usd_per_1000_lines_added
FROM amounts
