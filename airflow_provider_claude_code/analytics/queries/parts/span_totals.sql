-- What each organisation did in each span of days, with everybody counted once: one row per organisation and span in
-- `span_people`, which is a step of the query that reads this like a function of a table, with period_start,
-- span_organization_id, days_in_period and days_loaded, and beside them what somebody did in the span, as in
-- `actor_days`, or nulls. No person leaves the database. Sums that are those of 1 to min_group_size - 1 people are null.
-- `period_totals` and the model `period_activity` describe the columns.
WITH actor_types AS (
  SELECT
    period_start,
    span_organization_id AS organization_id,
    actor_type,
    actor,
    person,
    customer_type,
    LOGICAL_OR(is_active) AS is_active,
    LOGICAL_OR(has_cost) AS has_cost,
    LOGICAL_OR(tool_actions_offered > 0) AS has_tools
  FROM `claude_code.span_people`
  GROUP BY 1, 2, 3, 4, 5, 6
),
-- By customer type first, since a sum of few people must not be a difference of others.
types AS (
  SELECT period_start, organization_id, customer_type, COUNT(IF(is_active, person, NULL)) AS people
  FROM actor_types
  GROUP BY 1, 2, 3
),
fewest AS (
  SELECT period_start, organization_id, MIN(IF(people = 0, NULL, people)) AS people
  FROM types
  GROUP BY 1, 2
),
actors AS (
  SELECT
    period_start,
    organization_id,
    actor_type,
    person,
    LOGICAL_OR(is_active) AS is_active,
    LOGICAL_OR(has_tools) AS has_tools,
    LOGICAL_OR(has_cost AND customer_type = 'api') AS has_api_cost,
    LOGICAL_OR(has_cost AND customer_type = 'subscription') AS has_subscription_value
  FROM actor_types
  GROUP BY period_start, organization_id, actor_type, actor, person
),
people AS (
  SELECT
    period_start,
    organization_id,
    COUNT(IF(actor_type = 'user_actor' AND is_active, 1, NULL)) AS active_people,
    COUNT(IF(actor_type = 'api_actor' AND is_active, 1, NULL)) AS active_keys,
    COUNT(IF(is_active, person, NULL)) AS counted_people,
    COUNT(IF(has_tools, person, NULL)) AS tool_people,
    COUNT(IF(has_api_cost, person, NULL)) AS api_cost_people,
    COUNT(IF(has_subscription_value, person, NULL)) AS subscription_value_people
  FROM actors
  GROUP BY 1, 2
),
sums AS (
  SELECT
    period_start,
    span_organization_id AS organization_id,
    days_in_period,
    days_loaded,
    COALESCE(SUM(sessions), 0) AS sessions,
    COALESCE(SUM(lines_added), 0) AS lines_added,
    COALESCE(SUM(lines_removed), 0) AS lines_removed,
    COALESCE(SUM(commits), 0) AS commits,
    COALESCE(SUM(pull_requests), 0) AS pull_requests,
    COALESCE(SUM(tool_actions_offered), 0) AS tool_actions_offered,
    COALESCE(SUM(tool_actions_accepted), 0) AS tool_actions_accepted,
    IF(COUNT(IF(customer_type = 'api', 1, NULL)) = 0, 0, SUM(api_cost_cents)) * 0.01 /* dollars_per_cent */
      AS api_cost_usd,
    IF(COUNT(IF(customer_type = 'subscription', 1, NULL)) = 0, 0, SUM(subscription_value_cents))
      * 0.01 /* dollars_per_cent */ AS subscription_value_usd,
    COALESCE(SUM(other_cost_entries), 0) AS other_cost_entries,
    COALESCE(SUM(sessions_with_model_detail), 0) AS sessions_with_model_detail
  FROM `claude_code.span_people`
  GROUP BY 1, 2, 3, 4
)
SELECT
  sums.period_start,
  sums.organization_id,
  sums.days_in_period,
  sums.days_loaded,
  people.active_people,
  people.active_keys,
  people.counted_people,
  IF(counted_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.sessions) AS sessions,
  IF(counted_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.lines_added) AS lines_added,
  IF(counted_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.lines_removed) AS lines_removed,
  IF(counted_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.commits) AS commits,
  IF(counted_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.pull_requests) AS pull_requests,
  IF(tool_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.tool_actions_offered) AS tool_actions_offered,
  IF(tool_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.tool_actions_accepted) AS tool_actions_accepted,
  IF(api_cost_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.api_cost_usd) AS api_cost_usd,
  people.api_cost_people,
  IF(subscription_value_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.subscription_value_usd)
    AS subscription_value_usd,
  people.subscription_value_people,
  IF(fewest.people < 5 /* min_group_size */, NULL, sums.other_cost_entries) AS other_cost_entries,
  IF(counted_people BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, sums.sessions_with_model_detail)
    AS sessions_with_model_detail
FROM sums
JOIN fewest ON fewest.period_start = sums.period_start AND fewest.organization_id = sums.organization_id
JOIN people ON people.period_start = sums.period_start AND people.organization_id = sums.organization_id
