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
-- A row per person and customer type, and not per day, before the texts below multiply the rows.
done AS (
  SELECT
    days.organization_id,
    days.actor_type,
    days.person,
    days.customer_type,
    days.date NOT BETWEEN starts.last_start AND starts.last_end AS is_beside_last,
    days.date NOT BETWEEN starts.first_start AND starts.last_end AS is_beside_both,
    LOGICAL_OR(days.is_active) AS is_active,
    LOGICAL_OR(days.has_cost) AS has_cost,
    LOGICAL_OR(days.tool_actions_offered > 0) AS has_tools,
    LOGICAL_OR(days.is_charged) AS is_charged
  FROM (
    SELECT
      organization_id, date, actor_type, person, customer_type, is_active, has_cost, tool_actions_offered,
      FALSE AS is_charged
    FROM `claude_code.actor_days`
    UNION ALL
    SELECT organization_id, date, actor_type, person, NULL, FALSE, FALSE, 0, is_claude_code AND amount_cents <> 0
    FROM `claude_code.charges`
  ) AS days
  JOIN starts ON starts.organization_id = days.organization_id
  WHERE days.person IS NOT NULL
    AND days.date BETWEEN DATE '2025-09-01' /* first_day */ AND DATE '2025-09-28' /* last_day */
  GROUP BY 1, 2, 3, 4, 5, 6
),
people AS (
  SELECT
    organization_id,
    actor_type,
    person,
    what,
    LOGICAL_OR(is_beside_last) AS is_beside_last,
    LOGICAL_OR(is_beside_both) AS is_beside_both
  FROM done
  CROSS JOIN UNNEST([
    IF(is_active, 'active', NULL),
    IF(is_active, CONCAT('active as ', customer_type), NULL),
    IF(has_cost, CONCAT('cost as ', customer_type), NULL),
    IF(has_tools, 'tools', NULL),
    IF(is_charged, 'charged', NULL)
  ]) AS what
  WHERE what IS NOT NULL
  GROUP BY organization_id, actor_type, person, what
)
SELECT
  organization_id,
  what,
  kind,
  COUNT(*) AS people,
  COUNTIF(is_beside_last) AS people_beside_last,
  COUNTIF(is_beside_both) AS people_beside_both
FROM people
CROSS JOIN UNNEST(['all', IF(actor_type = 'user_actor', 'people', 'keys')]) AS kind
GROUP BY organization_id, what, kind
