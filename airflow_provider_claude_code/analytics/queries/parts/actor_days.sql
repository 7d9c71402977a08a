-- One row per loaded UTC day, organisation, actor and customer type: what was counted, and what it costs.
--
-- actor: the actor's id as it is compared. Actors without an id count as one.
-- person: who counts as a person, see `records`.
-- is_active: whether any record counts anything.
-- is_active_remotely: whether any such record is of remote sessions.
-- is_active_locally: whether any such record is of local sessions.
-- is_active_elsewhere: whether the API does not say for any such record where its sessions ran.
-- has_cost: whether any model entry contributes to a cost in US dollars.
-- sessions_with_cost: sessions whose cost is known in US dollars: those with model detail, or none if an entry of the
--   row has another cost.
-- api_cost_cents: sum over the model entries of customer_type api in US cents; null when there are none.
-- subscription_value_cents: the same of customer_type subscription.
-- other_cost_entries: model entries whose cost is in neither column.
WITH usage_days AS (
  SELECT
    days.organization_id,
    days.date,
    days.has_models,
    COALESCE(held.has_other_costs, FALSE) AS has_other_costs,
    days.has_models AND NOT COALESCE(held.has_other_costs, FALSE) AS has_costs
  FROM `claude_code.days` AS days
  LEFT JOIN (
    SELECT organization_id, date, LOGICAL_OR(has_other_costs) AS has_other_costs
    FROM `claude_code.held_days`
    GROUP BY organization_id, date
  ) AS held
    ON held.organization_id = days.organization_id AND held.date = days.date
  -- What a killed first load has left is no whole day.
  WHERE days.is_loaded
),
counted AS (
  SELECT
    records.date, records.organization_id, records.actor_type, records.actor, records.person, records.customer_type,
    records.is_active, records.is_remote,
    days.has_costs AND COALESCE(records.currency, '') = 'USD'
      AND (records.largest_tokens > 0 OR records.estimated_cost_cents <> 0) AS has_cost,
    records.num_sessions, records.lines_of_code_added, records.lines_of_code_removed, records.commits_by_claude_code,
    records.pull_requests_by_claude_code, records.tool_actions_accepted, records.tool_actions_rejected,
    IF(records.model_count > 0 AND days.has_models, records.num_sessions, 0) AS sessions_with_model_detail,
    IF(days.has_costs AND records.customer_type = 'api', records.estimated_cost_cents, NULL) AS api_cost_cents,
    IF(days.has_costs AND records.customer_type = 'subscription', records.estimated_cost_cents, NULL)
      AS subscription_value_cents,
    FALSE AS is_other_cost
  FROM `claude_code.records` AS records
  JOIN usage_days AS days ON days.organization_id = records.organization_id AND days.date = records.date
  UNION ALL
  -- What a record says of its cost is not enough.
  SELECT
    entries.date, entries.organization_id, entries.actor_type, entries.actor, entries.person, entries.customer_type,
    FALSE, NULL, entries.has_cost, 0, 0, 0, 0, 0, 0, 0, 0,
    entries.api_cost_cents, entries.subscription_value_cents, entries.is_other_cost
  FROM `claude_code.entries` AS entries
  JOIN usage_days AS days ON days.organization_id = entries.organization_id AND days.date = entries.date
  WHERE days.has_other_costs
)
SELECT
  date,
  organization_id,
  actor_type,
  actor,
  person,
  customer_type,
  LOGICAL_OR(is_active) AS is_active,
  LOGICAL_OR(is_active AND COALESCE(is_remote, FALSE)) AS is_active_remotely,
  LOGICAL_OR(is_active AND NOT COALESCE(is_remote, TRUE)) AS is_active_locally,
  LOGICAL_OR(is_active AND is_remote IS NULL) AS is_active_elsewhere,
  LOGICAL_OR(has_cost) AS has_cost,
  SUM(num_sessions) AS sessions,
  SUM(sessions_with_model_detail) AS sessions_with_model_detail,
  IF(COUNTIF(is_other_cost) = 0, SUM(sessions_with_model_detail), 0) AS sessions_with_cost,
  SUM(lines_of_code_added) AS lines_added,
  SUM(lines_of_code_removed) AS lines_removed,
  SUM(commits_by_claude_code) AS commits,
  SUM(pull_requests_by_claude_code) AS pull_requests,
  SUM(tool_actions_accepted) AS tool_actions_accepted,
  SUM(tool_actions_accepted) + SUM(tool_actions_rejected) AS tool_actions_offered,
  SUM(api_cost_cents) AS api_cost_cents,
  SUM(subscription_value_cents) AS subscription_value_cents,
  COUNTIF(is_other_cost) AS other_cost_entries
FROM counted
GROUP BY 1, 2, 3, 4, 5, 6
