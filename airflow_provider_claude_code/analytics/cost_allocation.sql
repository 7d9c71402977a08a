-- What each group's usage cost in each month: one row per month, organisation and group of the mapping. The rows of a
-- month add up to the organisation's whole usage, since actors without a mapping are a group, too. Groups of fewer
-- than min_group_size active people are folded into "(small groups)"; those of API keys alone stand for themselves.
--
-- Whoever queries a mapping in which two rows of one actor share a day gets an error instead of costs that are counted
-- twice.
--
-- month: First day of the month (UTC).
-- organization_id: The organisation.
-- team: The mapping's team; "(unmapped)" for actors whom the mapping gives none on the day of the usage.
-- cost_centre: The mapping's cost centre; null where it has none, and for "(small groups)".
-- days_in_month: Days of the month.
-- days_loaded: How many of them have a complete load.
-- people: People (user_actor) with any session, commit, pull request, line, tool action or token.
-- keys: API keys (api_actor) with any of these.
-- sessions: Sessions.
-- api_cost_usd: Estimated cost of customer_type api in US dollars, which the organisation's cost report already
--   includes; null when no such record names a model.
-- subscription_value_usd: Estimated value of customer_type subscription in US dollars, which is not billed by use;
--   null when no such record names a model.
-- other_cost_entries: Model entries with a cost that is in neither: another currency or another customer type.
-- sessions_with_model_detail: Sessions of records that name models; the cost of the others is unknown.
-- share_of_sessions_with_model_detail: These of all sessions, 0 to 1; null without sessions.
WITH mapping AS (
  SELECT * FROM `claude_code.actor_groups`
),
conflicts AS (
  SELECT COUNTIF(is_conflict) AS row_count FROM mapping
),
usage AS (
  SELECT
    months.month,
    months.days_in_month,
    months.days_loaded,
    days.organization_id,
    days.actor_type,
    days.actor,
    days.is_active,
    COALESCE(mapping.team, '(unmapped)') AS team,
    mapping.cost_centre,
    -- No two groups are written alike, whatever their names hold.
    CONCAT(
      REPLACE(COALESCE(mapping.team, '(unmapped)'), '/', '//'),
      COALESCE(CONCAT(' / ', REPLACE(mapping.cost_centre, '/', '//')), '')
    ) AS name,
    days.customer_type,
    days.sessions,
    days.sessions_with_model_detail,
    days.cost_cents,
    days.other_cost_entries
  FROM `claude_code.actor_days` AS days
  JOIN `claude_code.months` AS months
    ON months.organization_id = days.organization_id AND days.date BETWEEN months.month AND months.last_date
  CROSS JOIN conflicts
  LEFT JOIN mapping
    ON mapping.actor_type = days.actor_type AND mapping.actor = days.actor
    AND days.date BETWEEN mapping.valid_from AND mapping.valid_to
  WHERE IF(
    conflicts.row_count > 0,
    ERROR('Rows of the mapping overlap: the same actor has two rows for a day, so its cost would count twice.'),
    TRUE
  )
),
members AS (
  SELECT DISTINCT
    'group' AS dimension, month AS period, organization_id, name, IF(is_active, actor, NULL) AS person
  FROM usage
  WHERE actor_type = 'user_actor'
)
SELECT
  usage.month,
  usage.organization_id,
  IF(folding.is_small, '(small groups)', usage.team) AS team,
  IF(folding.is_small, NULL, usage.cost_centre) AS cost_centre,
  ANY_VALUE(usage.days_in_month) AS days_in_month,
  ANY_VALUE(usage.days_loaded) AS days_loaded,
  COUNT(DISTINCT IF(usage.is_active AND usage.actor_type = 'user_actor', usage.actor, NULL)) AS people,
  COUNT(DISTINCT IF(usage.is_active AND usage.actor_type = 'api_actor', usage.actor, NULL)) AS keys,
  SUM(usage.sessions) AS sessions,
  SUM(IF(usage.customer_type = 'api', usage.cost_cents, NULL)) * NUMERIC '0.01' AS api_cost_usd,
  SUM(IF(usage.customer_type = 'subscription', usage.cost_cents, NULL)) * NUMERIC '0.01' AS subscription_value_usd,
  SUM(usage.other_cost_entries) AS other_cost_entries,
  SUM(usage.sessions_with_model_detail) AS sessions_with_model_detail,
  SAFE_DIVIDE(SUM(usage.sessions_with_model_detail), SUM(usage.sessions)) AS share_of_sessions_with_model_detail
FROM usage
LEFT JOIN `claude_code.small_groups` AS folding
  ON folding.period = usage.month AND folding.organization_id = usage.organization_id AND folding.name = usage.name
GROUP BY 1, 2, 3, 4
