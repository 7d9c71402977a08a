-- How many people did something on the days of a report's period that its breakdowns leave out. A reader could subtract
-- the breakdowns from the sum of the period. One row per organisation, what was done, and kind of people that did it in
-- the period.
--
-- organization_id: the organisation.
-- what: active as CUSTOMER_TYPE, cost as CUSTOMER_TYPE, active, tools (people to whom a tool offered something), or
--   charged (people who are charged for Claude Code).
-- kind: all; or people or keys alone, with actors of kinds that the API added later. Keys of machines are left out.
-- people: how many did it in the period.
-- people_beside_last: how many did it on days outside the last week or month of the breakdowns.
-- people_beside_both: how many did it on days outside the last two.
WITH starts AS (
  SELECT organization_id, MAX(period_start) AS last_start, MAX(period_end) AS last_end, MIN(period_start) AS first_start
  FROM `claude_code.breakdown_buckets`
  GROUP BY organization_id
),
done AS (
  SELECT organization_id, date, actor_type, person, what
  FROM `claude_code.actor_days`
  CROSS JOIN UNNEST([
    IF(is_active, 'active', NULL),
    IF(is_active, CONCAT('active as ', customer_type), NULL),
    IF(has_cost, CONCAT('cost as ', customer_type), NULL),
    IF(tool_actions_offered > 0, 'tools', NULL)
  ]) AS what
  WHERE what IS NOT NULL
  UNION ALL
  SELECT organization_id, date, actor_type, person, 'charged'
  FROM `claude_code.charges`
  WHERE is_claude_code AND amount_cents <> 0
)
SELECT
  done.organization_id,
  done.what,
  kind,
  COUNT(DISTINCT done.person) AS people,
  COUNT(DISTINCT IF(done.date BETWEEN starts.last_start AND starts.last_end, NULL, done.person)) AS people_beside_last,
  COUNT(DISTINCT IF(done.date BETWEEN starts.first_start AND starts.last_end, NULL, done.person)) AS people_beside_both
FROM done
JOIN starts ON starts.organization_id = done.organization_id
CROSS JOIN UNNEST(['all', IF(done.actor_type = 'user_actor', 'people', 'keys')]) AS kind
WHERE done.person IS NOT NULL AND done.date BETWEEN DATE '2025-09-01' /* first_day */ AND DATE '2025-09-28' /* last_day */
GROUP BY 1, 2, 3
