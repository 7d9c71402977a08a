-- What each organisation did in each period, with everybody counted once: one row for each row of `periods`. It compares
-- two periods, and no person leaves the database. Sums are 0 also when no day is loaded.
--
-- period_start: First day of the period (UTC).
-- organization_id: The organisation.
-- days_in_period: Days of the period.
-- days_loaded: How many of them have a complete load.
-- active_people: People (user_actor) with any session, commit, pull request, line, tool action or token.
-- active_keys: API keys (api_actor) with any of these.
-- counted_people: Active people and API keys but those of machines, as the mapping says. If they are fewer than
--   min_group_size, what was done is null.
-- sessions: Sessions.
-- lines_added: Lines of code added.
-- lines_removed: Lines of code removed.
-- commits: Commits made by Claude Code.
-- pull_requests: Pull requests made by Claude Code.
-- tool_actions_offered: Tool actions that were accepted or rejected; null also when they were offered to few people.
-- tool_actions_accepted: Those that were accepted.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; 0 when there is no record of this type, null when there are and none names a model, or few people's do.
-- api_cost_people: People and API keys whose api_cost_usd it is, but those of machines.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use; 0 and
--   null as api_cost_usd.
-- subscription_value_people: People and API keys whose subscription_value_usd it is, but those of machines.
-- other_cost_entries: Model entries with a cost that is in neither: another currency or another customer type; null when
--   a customer type is one of few people.
-- sessions_with_model_detail: Sessions of records whose models are loaded; the cost of the others is unknown.
WITH span_people AS (
  SELECT
    periods.period_start, periods.days_in_period, periods.days_loaded, periods.organization_id AS span_organization_id,
    days.*
  FROM `claude_code.periods` AS periods
  LEFT JOIN `claude_code.actor_days` AS days
    ON days.organization_id = periods.organization_id AND days.date BETWEEN periods.period_start AND periods.period_end
)
SELECT * FROM `claude_code.span_totals`(span_people => TABLE span_people)
