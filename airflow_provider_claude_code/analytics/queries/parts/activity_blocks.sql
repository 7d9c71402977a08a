-- Thirteen blocks of 7 days, back from the end of the last period of `periods`: one row per organisation and block.
--
-- organization_id: the organisation.
-- block: 0 for the last 7 days, 12 for the first.
-- first_day: first day of the block (UTC).
-- last_day: last day of the block (UTC).
-- days_loaded: how many of its days have a complete load.
-- people: people (user_actor) who were active.
-- api_people: people who were active with customer_type api.
-- api_cost_people: people with an estimated cost.
-- keys: active API keys, without those of machines, and active actors of kinds that the API added later, as in the other
--   columns about keys.
-- api_cost_keys: API keys with an estimated cost.
-- pull_requests: people's pull requests made by Claude Code.
-- key_pull_requests: pull requests of API keys.
-- api_sessions: people's sessions of customer_type api.
-- api_sessions_with_cost: those of them whose cost is known in US dollars.
-- key_api_sessions: sessions of API keys of customer_type api.
-- key_api_sessions_with_cost: those of them whose cost is known in US dollars.
-- api_cost_usd: people's estimated cost of customer_type api in US dollars; null when no such record names a model.
-- key_api_cost_usd: the same of API keys.
WITH blocks AS (
  SELECT
    lasts.organization_id,
    block,
    CAST(DATE_SUB(lasts.last_day, INTERVAL (block * 7 + 6) DAY) AS DATE) AS first_day,
    CAST(DATE_SUB(lasts.last_day, INTERVAL (block * 7) DAY) AS DATE) AS last_day
  FROM `claude_code.last_days` AS lasts
  CROSS JOIN UNNEST(GENERATE_ARRAY(0, 12)) AS block
),
loaded AS (
  SELECT blocks.organization_id, blocks.block, COUNT(IF(days.is_complete, 1, NULL)) AS days_loaded
  FROM blocks
  LEFT JOIN `claude_code.days` AS days
    ON days.organization_id = blocks.organization_id AND days.date BETWEEN blocks.first_day AND blocks.last_day
  GROUP BY blocks.organization_id, blocks.block
),
actors AS (
  SELECT
    blocks.organization_id,
    blocks.block,
    days.actor_type,
    days.actor,
    LOGICAL_OR(days.is_active) AS is_active,
    LOGICAL_OR(days.is_active AND days.customer_type = 'api') AS is_api,
    SUM(days.pull_requests) AS pull_requests,
    SUM(IF(days.customer_type = 'api', days.sessions, 0)) AS api_sessions,
    SUM(IF(days.customer_type = 'api', days.sessions_with_cost, 0)) AS api_sessions_with_cost,
    SUM(days.api_cost_cents) AS api_cost_cents
  FROM `claude_code.actor_days` AS days
  JOIN blocks
    ON blocks.organization_id = days.organization_id AND days.date BETWEEN blocks.first_day AND blocks.last_day
  WHERE days.person IS NOT NULL
  GROUP BY 1, 2, 3, 4
)
SELECT
  blocks.organization_id,
  blocks.block,
  blocks.first_day,
  blocks.last_day,
  ANY_VALUE(loaded.days_loaded) AS days_loaded,
  COUNT(IF(actors.actor_type = 'user_actor' AND actors.is_active, 1, NULL)) AS people,
  COUNT(IF(actors.actor_type = 'user_actor' AND actors.is_api, 1, NULL)) AS api_people,
  COUNT(IF(actors.actor_type = 'user_actor' AND actors.api_cost_cents <> 0, 1, NULL)) AS api_cost_people,
  COUNT(IF(actors.actor_type <> 'user_actor' AND actors.is_active, 1, NULL)) AS keys,
  COUNT(IF(actors.actor_type <> 'user_actor' AND actors.api_cost_cents <> 0, 1, NULL)) AS api_cost_keys,
  SUM(IF(actors.actor_type = 'user_actor', actors.pull_requests, 0)) AS pull_requests,
  SUM(IF(actors.actor_type <> 'user_actor', actors.pull_requests, 0)) AS key_pull_requests,
  SUM(IF(actors.actor_type = 'user_actor', actors.api_sessions, 0)) AS api_sessions,
  SUM(IF(actors.actor_type = 'user_actor', actors.api_sessions_with_cost, 0)) AS api_sessions_with_cost,
  SUM(IF(actors.actor_type <> 'user_actor', actors.api_sessions, 0)) AS key_api_sessions,
  SUM(IF(actors.actor_type <> 'user_actor', actors.api_sessions_with_cost, 0)) AS key_api_sessions_with_cost,
  SUM(IF(actors.actor_type = 'user_actor', actors.api_cost_cents, NULL)) * 0.01 /* dollars_per_cent */
    AS api_cost_usd,
  SUM(IF(actors.actor_type <> 'user_actor', actors.api_cost_cents, NULL)) * 0.01 /* dollars_per_cent */
    AS key_api_cost_usd
FROM blocks
JOIN loaded ON loaded.organization_id = blocks.organization_id AND loaded.block = blocks.block
LEFT JOIN actors ON actors.organization_id = blocks.organization_id AND actors.block = blocks.block
GROUP BY 1, 2, 3, 4
