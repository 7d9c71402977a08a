-- Days of people with other AI tools, from the exports that users give: one row per tool, UTC day and person.
--
-- tool: the tool's name; github_copilot or cursor for their exports.
-- date: the UTC day.
-- person: the person's address as it is compared; of a GitHub login without an address, the login.
-- is_known: whether the person has an address, and can be compared with people of other tools.
-- is_active: whether the person was active with the tool.
SELECT tool, date, person, LOGICAL_OR(is_known) AS is_known, LOGICAL_OR(is_active) AS is_active
FROM (
  SELECT tool, date, actor_id /* comparable */ AS person, TRUE AS is_known, COALESCE(is_active, FALSE) AS is_active
  FROM (SELECT 'user_actor' AS actor_type, * FROM `claude_code.other_tool_days`)
  UNION ALL
  SELECT 'github_copilot', date, person, is_known, is_active FROM `claude_code.copilot_days`
  UNION ALL
  SELECT 'cursor', date, person, TRUE, is_active FROM `claude_code.cursor_days`
)
WHERE date IS NOT NULL AND person <> '' AND tool <> 'claude_code'
GROUP BY tool, date, person
