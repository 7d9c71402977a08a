-- What an organisation did with Claude Code in each week or month: one row per week or month (breakdown_grain) and
-- organisation, with everybody counted once. A week or month of which no day is loaded has no row. Sums to which 1 to
-- min_group_size - 1 people contribute are null.
--
-- key: period_start, organization_id
-- period_start: First day of the week (Monday) or month, in UTC. A period that is not over is included only with a
--   min_group_size of 1.
-- organization_id: The organisation.
-- days_in_period: Days of the week or month.
-- days_loaded: How many of them have a complete load.
-- active_people: People (user_actor) with any session, commit, pull request, line, tool action or token.
-- active_keys: API keys (api_actor) with any of these.
-- counted_people: All active actors, except machines (as in the mapping). If there are fewer than min_group_size, the
--   sums are null.
-- sessions: Sessions.
-- lines_added: Lines of code added.
-- lines_removed: Lines of code removed.
-- commits: Commits made by Claude Code.
-- pull_requests: Pull requests made by Claude Code.
-- tool_actions_offered: Tool actions that were accepted or rejected; null also if fewer than min_group_size people were
--   offered any.
-- tool_actions_accepted: Tool actions that were accepted.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; 0 when there is no record of this type; null when no such record has a cost in US dollars, or only those
--   of fewer than min_group_size people.
-- api_cost_people: Actors that contribute to api_cost_usd, except machines.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use; 0 or
--   null in the same cases as api_cost_usd.
-- subscription_value_people: Actors that contribute to subscription_value_usd, except machines.
-- other_cost_entries: Model entries whose cost is in neither column, since it has another currency or another customer
--   type; null if fewer than min_group_size people have a customer type.
-- sessions_with_model_detail: Sessions of records whose models are loaded; the cost of the others is unknown.
WITH span_people AS (
  SELECT
    buckets.period_start, buckets.days_in_period, buckets.days_loaded, buckets.organization_id AS span_organization_id,
    days.*
  FROM `claude_code.buckets` AS buckets
  LEFT JOIN `claude_code.actor_days` AS days
    ON days.organization_id = buckets.organization_id AND days.date /* bucket_start */ = buckets.period_start
  WHERE buckets.is_loaded
)
SELECT * FROM `claude_code.span_totals`(span_people => TABLE span_people)
