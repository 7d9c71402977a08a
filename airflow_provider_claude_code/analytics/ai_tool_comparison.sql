-- PERSONAL DATA: each person's days with Claude Code in a shape that fits other AI tools as well, so that their tables
-- can be united with this one; one row per UTC day, organisation and person. It is never created unless it is asked
-- for by name. With actor_identity=hmac its people are pseudonyms.
--
-- tool: claude_code.
-- date: The UTC day.
-- organization_id: The organisation.
-- person: The person's address in lower case (A to Z); empty for people without one, who share a row.
-- is_active: Whether there was any session, commit, pull request, line, tool action or token.
-- suggestions_offered: Changes that the tool offered: tool actions that were accepted or rejected.
-- suggestions_accepted: Those that the person accepted.
-- lines_added: Lines of code that were added.
-- api_cost_usd: Estimated cost in US dollars of what is billed by use; null when unknown.
-- subscription_value_usd: Estimated value in US dollars of what a subscription includes; null when unknown.
-- other_cost_entries: Model entries with a cost that is in neither: another currency or another customer type.
-- share_of_sessions_with_model_detail: Sessions of records that name models of all sessions, 0 to 1; the cost of the
--   others is unknown. Null without sessions.
SELECT
  'claude_code' AS tool,
  date,
  organization_id,
  actor AS person,
  LOGICAL_OR(is_active) AS is_active,
  SUM(tool_actions_offered) AS suggestions_offered,
  SUM(tool_actions_accepted) AS suggestions_accepted,
  SUM(lines_added) AS lines_added,
  SUM(IF(customer_type = 'api', cost_cents, NULL)) * NUMERIC '0.01' AS api_cost_usd,
  SUM(IF(customer_type = 'subscription', cost_cents, NULL)) * NUMERIC '0.01' AS subscription_value_usd,
  SUM(other_cost_entries) AS other_cost_entries,
  SAFE_DIVIDE(SUM(sessions_with_model_detail), SUM(sessions)) AS share_of_sessions_with_model_detail
FROM `claude_code.actor_days`
WHERE actor_type = 'user_actor'
GROUP BY date, organization_id, actor
