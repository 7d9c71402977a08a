-- One row per loaded UTC day, organisation, actor and customer type: all that was counted, from every table once.
--
-- actor: the actor's id; addresses trimmed and in lower case, as pseudonyms take them. Actors without an id are taken
--   for one.
-- is_active: any of sessions, commits, pull requests, lines, tool actions and tokens is above 0.
-- cost_cents: sum over the model entries in US cents, null when there are none.
-- other_cost_entries: model entries whose cost is no part of an API cost or a subscription value in US dollars.
SELECT
  date,
  organization_id,
  actor_type,
  COALESCE(IF(actor_type = 'user_actor', actor_id /* address */, actor_id), '') AS actor,
  customer_type,
  MAX(activity) > 0 AS is_active,
  SUM(num_sessions) AS sessions,
  SUM(IF(model_count > 0, num_sessions, 0)) AS sessions_with_model_detail,
  SUM(lines_of_code_added) AS lines_added,
  SUM(lines_of_code_removed) AS lines_removed,
  SUM(commits_by_claude_code) AS commits,
  SUM(pull_requests_by_claude_code) AS pull_requests,
  SUM(tool_actions_accepted) AS tool_actions_accepted,
  SUM(tool_actions_accepted) + SUM(tool_actions_rejected) AS tool_actions_offered,
  SUM(input_tokens) AS input_tokens,
  SUM(output_tokens) AS output_tokens,
  SUM(cache_read_tokens) AS cache_read_tokens,
  SUM(cache_creation_tokens) AS cache_creation_tokens,
  SUM(IF(currency = 'USD', estimated_cost_cents, NULL)) AS cost_cents,
  COUNTIF(
    COALESCE(estimated_cost_cents, 0) <> 0 AND (currency <> 'USD' OR customer_type NOT IN ('api', 'subscription'))
  ) AS other_cost_entries
FROM (
  SELECT
    date, organization_id, actor_type, actor_id, customer_type,
    num_sessions, lines_of_code_added, lines_of_code_removed, commits_by_claude_code, pull_requests_by_claude_code,
    tool_actions_accepted, tool_actions_rejected, model_count,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens,
    GREATEST(
      num_sessions, lines_of_code_added, lines_of_code_removed, commits_by_claude_code, pull_requests_by_claude_code,
      tool_actions_accepted, tool_actions_rejected, COALESCE(input_tokens, 0), COALESCE(output_tokens, 0),
      COALESCE(cache_read_tokens, 0), COALESCE(cache_creation_tokens, 0)
    ) AS activity,
    NULL AS estimated_cost_cents, NULL AS currency
  FROM `claude_code.usage`
  WHERE date >= DATE '2025-01-01' /* since */
  UNION ALL
  -- Of a record with two currencies only the entries have a cost.
  SELECT
    date, organization_id, actor_type, actor_id, customer_type,
    0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, estimated_cost_cents, currency
  FROM `claude_code.model_usage`
  WHERE date >= DATE '2025-01-01' /* since */
)
JOIN `claude_code.days` AS days USING (organization_id, date)
-- What a killed first load has left is no whole day.
WHERE days.is_loaded
GROUP BY 1, 2, 3, 4, 5
