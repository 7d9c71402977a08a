-- How often people accept what each tool offers: one row per week or month (breakdown_grain), organisation and tool,
-- including undocumented tools. Tools that fewer than min_group_size people used are combined into "(small groups)".
-- Tools that only machines used are always shown.
--
-- key: period_start, organization_id, tool_name
-- period_start: First day of the week (Monday) or month, in UTC. A period that is not over is included only with a
--   min_group_size of 1.
-- organization_id: The organisation.
-- days_in_period: Days of the week or month.
-- days_loaded: How many of them have a complete load.
-- tool_name: The tool, as the API names it.
-- people: People to whom the tool offered something: all actors but the API keys that are marked as machines.
-- machines: API keys of machines, as in the mapping, to which the tool offered something.
-- offered: Actions that were accepted or rejected.
-- accepted: Accepted actions.
-- rejected: Rejected actions.
-- acceptance_rate: accepted divided by offered; null if nothing was offered.
WITH actor_actions AS (
  SELECT
    days.period_start,
    days.days_in_period,
    days.days_loaded,
    actions.organization_id,
    actions.tool_name,
    actions.actor,
    actions.person,
    LOGICAL_OR(actions.is_used) AS is_used,
    SUM(actions.accepted) AS accepted,
    SUM(actions.rejected) AS rejected
  FROM `claude_code.actions` AS actions
  JOIN `claude_code.breakdown_days` AS days
    ON days.organization_id = actions.organization_id AND days.date = actions.date
  WHERE actions.date >= DATE '0001-01-01' /* buckets_from */
  GROUP BY 1, 2, 3, 4, 5, 6, 7
),
group_members AS (
  SELECT
    'tool' AS dimension, period_start AS period, organization_id, tool_name AS name, IF(is_used, person, NULL) AS person,
    CAST(NULL AS STRING) AS link
  FROM actor_actions
  WHERE person IS NOT NULL
),
folded AS (
  SELECT
    actor_actions.period_start,
    actor_actions.organization_id,
    actor_actions.days_in_period,
    actor_actions.days_loaded,
    COALESCE(folding.folded_name, actor_actions.tool_name) AS tool_name,
    actor_actions.actor,
    actor_actions.person,
    LOGICAL_OR(actor_actions.is_used) AS is_used,
    SUM(actor_actions.accepted) AS accepted,
    SUM(actor_actions.rejected) AS rejected
  FROM actor_actions
  LEFT JOIN `claude_code.small_groups`(group_members => TABLE group_members) AS folding
    ON folding.period = actor_actions.period_start AND folding.organization_id = actor_actions.organization_id
    AND folding.name = actor_actions.tool_name
  WHERE NOT COALESCE(folding.is_hidden, FALSE)
  GROUP BY 1, 2, 3, 4, 5, 6, 7
)
SELECT
  period_start,
  organization_id,
  days_in_period,
  days_loaded,
  tool_name,
  COUNTIF(is_used AND person IS NOT NULL) AS people,
  COUNTIF(is_used AND person IS NULL) AS machines,
  SUM(accepted) + SUM(rejected) AS offered,
  SUM(accepted) AS accepted,
  SUM(rejected) AS rejected,
  SAFE_DIVIDE(SUM(accepted), SUM(accepted) + SUM(rejected)) AS acceptance_rate
FROM folded
GROUP BY 1, 2, 3, 4, 5
