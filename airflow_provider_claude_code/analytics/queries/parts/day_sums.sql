-- What the numbers of usage add up to: one row per UTC day, organisation and table. Sums of counts are FLOAT64, which fit
-- whatever the rows hold, and are exact up to what a load accepts.
--
-- row_count: rows.
-- loaded_at: when the newest load began that brought them.
-- largest_count: the largest number that is no cost.
-- largest_cost: the largest cost in cents, without its sign; null where the table has none.
-- counted: all numbers that are no cost.
-- cost: all costs in cents, without their signs.
-- cost_cents: all costs in cents that a load would accept.
-- model_count: model entries.
-- tokens: tokens of all kinds.
-- has_mixed_currencies: whether a record has entries of several currencies, and therefore no cost.
-- accepted: accepted tool actions.
-- rejected: rejected tool actions.
SELECT
  date,
  organization_id,
  'usage' AS table_name,
  COUNT(*) AS row_count,
  MAX(loaded_at) AS loaded_at,
  GREATEST(
    MAX(num_sessions), MAX(lines_of_code_added), MAX(lines_of_code_removed), MAX(commits_by_claude_code),
    MAX(pull_requests_by_claude_code), MAX(tool_actions_accepted), MAX(tool_actions_rejected),
    COALESCE(MAX(input_tokens), 0), COALESCE(MAX(output_tokens), 0), COALESCE(MAX(cache_read_tokens), 0),
    COALESCE(MAX(cache_creation_tokens), 0)
  ) AS largest_count,
  COALESCE(MAX(ABS(estimated_cost_cents)), 0) AS largest_cost,
  SUM(
    CAST(num_sessions AS FLOAT64) + lines_of_code_added + lines_of_code_removed + commits_by_claude_code
    + pull_requests_by_claude_code + tool_actions_accepted + tool_actions_rejected + COALESCE(input_tokens, 0)
    + COALESCE(output_tokens, 0) + COALESCE(cache_read_tokens, 0) + COALESCE(cache_creation_tokens, 0)
  ) AS counted,
  SUM(CAST(ABS(estimated_cost_cents) AS FLOAT64)) AS cost,
  SUM(IF(ABS(estimated_cost_cents) <= 1000000000000000 /* largest_sum_of_a_day */, estimated_cost_cents, NULL))
    AS cost_cents,
  SUM(CAST(model_count AS FLOAT64)) AS model_count,
  SUM(CAST(input_tokens AS FLOAT64) + output_tokens + cache_read_tokens + cache_creation_tokens) AS tokens,
  LOGICAL_OR(model_count > 0 AND currency IS NULL) AS has_mixed_currencies,
  SUM(CAST(tool_actions_accepted AS FLOAT64)) AS accepted,
  SUM(CAST(tool_actions_rejected AS FLOAT64)) AS rejected
FROM `claude_code.usage`
WHERE date >= DATE '2025-01-01' /* since */ AND date >= DATE '0001-01-01' /* buckets_from */
GROUP BY date, organization_id
UNION ALL
SELECT
  date, organization_id, 'model_usage', COUNT(*), MAX(loaded_at),
  GREATEST(MAX(input_tokens), MAX(output_tokens), MAX(cache_read_tokens), MAX(cache_creation_tokens)),
  MAX(ABS(estimated_cost_cents)),
  SUM(CAST(input_tokens AS FLOAT64) + output_tokens + cache_read_tokens + cache_creation_tokens),
  SUM(CAST(ABS(estimated_cost_cents) AS FLOAT64)),
  SUM(IF(ABS(estimated_cost_cents) <= 1000000000000000 /* largest_sum_of_a_day */, estimated_cost_cents, NULL)),
  CAST(COUNT(*) AS FLOAT64),
  SUM(CAST(input_tokens AS FLOAT64) + output_tokens + cache_read_tokens + cache_creation_tokens),
  FALSE, NULL, NULL
FROM `claude_code.model_usage`
WHERE date >= DATE '2025-01-01' /* since */ AND date >= DATE '0001-01-01' /* buckets_from */
GROUP BY date, organization_id
UNION ALL
SELECT
  date, organization_id, 'tool_usage', COUNT(*), MAX(loaded_at), GREATEST(MAX(accepted), MAX(rejected)), NULL,
  SUM(CAST(accepted AS FLOAT64) + rejected), NULL, NULL, NULL, NULL, FALSE, SUM(CAST(accepted AS FLOAT64)),
  SUM(CAST(rejected AS FLOAT64))
FROM `claude_code.tool_usage`
WHERE date >= DATE '2025-01-01' /* since */ AND date >= DATE '0001-01-01' /* buckets_from */
GROUP BY date, organization_id
