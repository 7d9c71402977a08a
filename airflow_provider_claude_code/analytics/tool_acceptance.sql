-- How often what each tool offers is accepted: one row per UTC day, organisation and tool, whether the API's reference
-- knows the tool or not. Tools that fewer than min_group_size people used on a day are folded into "(small groups)";
-- those that only API keys used stand for themselves. A day that is not loaded, or without tools, is one row without
-- a tool.
--
-- date: The UTC day.
-- organization_id: The organisation.
-- is_loaded: Whether the day was ever loaded.
-- is_complete: Whether its newest load read it after it was complete.
-- tool_name: The tool, as the API names it.
-- people: People (user_actor) to whom the tool offered something.
-- keys: API keys (api_actor) to which it did.
-- offered: Actions that were accepted or rejected.
-- accepted: Accepted actions.
-- rejected: Rejected actions.
-- acceptance_rate: Accepted of offered, 0 to 1; null when nothing was offered.
WITH actions AS (
  SELECT
    date, organization_id, actor_type, tool_name,
    COALESCE(IF(actor_type = 'user_actor', actor_id /* address */, actor_id), '') AS actor,
    SUM(accepted) AS accepted,
    SUM(rejected) AS rejected
  FROM `claude_code.tool_usage`
  WHERE date >= DATE '2025-01-01' /* since */
  GROUP BY 1, 2, 3, 4, 5
),
members AS (
  SELECT
    'tool' AS dimension, date AS period, organization_id, tool_name AS name,
    IF(accepted + rejected > 0, actor, NULL) AS person
  FROM actions
  WHERE actor_type = 'user_actor'
),
tools AS (
  SELECT
    actions.date,
    actions.organization_id,
    IF(folding.is_small, '(small groups)', actions.tool_name) AS tool_name,
    -- Only where tools are folded together has an actor several rows; to compare all of them takes much memory.
    COUNTIF(actor_type = 'user_actor' AND accepted + rejected > 0 AND NOT COALESCE(is_small, FALSE))
      + COUNT(DISTINCT IF(actor_type = 'user_actor' AND accepted + rejected > 0 AND is_small, actor, NULL)) AS people,
    COUNTIF(actor_type = 'api_actor' AND accepted + rejected > 0 AND NOT COALESCE(is_small, FALSE))
      + COUNT(DISTINCT IF(actor_type = 'api_actor' AND accepted + rejected > 0 AND is_small, actor, NULL)) AS keys,
    SUM(actions.accepted) + SUM(actions.rejected) AS offered,
    SUM(actions.accepted) AS accepted,
    SUM(actions.rejected) AS rejected
  FROM actions
  LEFT JOIN `claude_code.small_groups` AS folding
    ON folding.period = actions.date AND folding.organization_id = actions.organization_id
    AND folding.name = actions.tool_name
  GROUP BY 1, 2, 3
)
SELECT
  days.date,
  days.organization_id,
  days.is_loaded,
  days.is_complete,
  tools.tool_name,
  tools.people,
  tools.keys,
  tools.offered,
  tools.accepted,
  tools.rejected,
  SAFE_DIVIDE(tools.accepted, tools.offered) AS acceptance_rate
FROM `claude_code.days` AS days
LEFT JOIN tools
  ON tools.organization_id = days.organization_id AND tools.date = days.date AND days.is_loaded
