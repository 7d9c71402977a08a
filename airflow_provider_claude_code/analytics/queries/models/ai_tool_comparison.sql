-- PERSONAL DATA: the days of each person with Claude Code, in columns that other AI tools can fill as well, so that
-- their tables can be united with this one; one row per UTC day, organisation and person. It is created only if it is
-- named. With actor_identity=hmac its people are pseudonyms.
--
-- key: tool, date, organization_id, person
-- tool: claude_code.
-- date: The UTC day.
-- organization_id: The organisation.
-- person: The person's address in lower case (A to Z); empty for people without one, who share a row.
-- is_active: Whether there was any session, commit, pull request, line, tool action or token.
-- suggestions_offered: Changes that the tool offered: tool actions that were accepted or rejected.
-- suggestions_accepted: Suggestions that the person accepted.
-- lines_added: Lines of code that were added.
-- api_cost_usd: Estimated cost of API usage in US dollars; 0 when there is none, null when its cost is unknown.
-- subscription_value_usd: Estimated value of subscription usage in US dollars, which is not billed by use; 0 or null in
--   the same cases as api_cost_usd.
-- other_cost_entries: Model entries whose cost is in neither column, since it has another currency or another customer
--   type.
-- share_of_sessions_with_model_detail: Sessions of records whose models are loaded, divided by all sessions; the cost of the
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
  IF(COUNTIF(customer_type = 'api') = 0, 0, SUM(api_cost_cents)) * 0.01 /* dollars_per_cent */ AS api_cost_usd,
  IF(COUNTIF(customer_type = 'subscription') = 0, 0, SUM(subscription_value_cents)) * 0.01 /* dollars_per_cent */
    AS subscription_value_usd,
  SUM(other_cost_entries) AS other_cost_entries,
  SAFE_DIVIDE(SUM(sessions_with_model_detail), SUM(sessions)) AS share_of_sessions_with_model_detail
FROM `claude_code.actor_days`
WHERE actor_type = 'user_actor'
GROUP BY date, organization_id, actor
