-- Where and how people use Claude Code: one row per week or month (breakdown_grain), organisation, dimension and value.
-- People are all actors but the API keys that the mapping marks as machines. Only active ones count. Values of fewer
-- than min_group_size people are combined into "(small groups)". A person may have several values, so the rows of a
-- dimension may add up to more people than there are.
--
-- key: period_start, organization_id, dimension, value
-- period_start: First day of the week (Monday) or month, in UTC. A period that is not over is included only with a
--   min_group_size of 1.
-- organization_id: The organisation.
-- days_in_period: Days of the week or month.
-- days_loaded: How many of them have a complete load.
-- dimension: terminal_type, location or customer_type.
-- value: For terminal_type the terminal; for location remote, local or unknown (the API does not always say); for
--   customer_type api, subscription, or a type that the API added later.
-- people: Active people with the value.
-- share_of_people: people divided by all active people.
-- sessions: Their sessions with the value; null for terminals.
-- share_of_sessions: sessions divided by all sessions of people; null for terminals, and when there are no sessions.
WITH person_sessions AS (
  SELECT
    days.period_start,
    days.days_in_period,
    days.days_loaded,
    records.organization_id,
    records.person,
    records.terminal_type,
    CASE WHEN records.is_remote THEN 'remote' WHEN NOT records.is_remote THEN 'local' ELSE 'unknown' END AS location,
    records.customer_type,
    SUM(records.num_sessions) AS sessions
  FROM `claude_code.records` AS records
  JOIN `claude_code.breakdown_days` AS days
    ON days.organization_id = records.organization_id AND days.date = records.date
  WHERE records.is_active AND records.person IS NOT NULL AND records.date >= DATE '0001-01-01' /* buckets_from */
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
),
person_values AS (
  SELECT
    dimension,
    period_start AS period,
    organization_id,
    CASE dimension WHEN 'terminal_type' THEN terminal_type WHEN 'location' THEN location ELSE customer_type END AS name,
    person,
    IF(dimension = 'location', customer_type, NULL) AS link,
    IF(dimension = 'terminal_type', NULL, sessions) AS sessions
  FROM person_sessions
  CROSS JOIN UNNEST(['terminal_type', 'location', 'customer_type']) AS dimension
),
group_members AS (
  SELECT dimension, period, organization_id, name, person, link FROM person_values
),
folded AS (
  SELECT
    person_values.dimension,
    person_values.period,
    person_values.organization_id,
    COALESCE(folding.folded_name, person_values.name) AS value,
    person_values.person,
    SUM(person_values.sessions) AS sessions
  FROM person_values
  JOIN `claude_code.small_groups`(group_members => TABLE group_members) AS folding
    ON folding.dimension = person_values.dimension AND folding.period = person_values.period
    AND folding.organization_id = person_values.organization_id AND folding.name = person_values.name
  WHERE NOT folding.is_hidden
  GROUP BY 1, 2, 3, 4, 5
),
totals AS (
  SELECT period_start, organization_id, days_in_period, days_loaded, COUNT(*) AS people, SUM(sessions) AS sessions
  FROM (
    SELECT period_start, organization_id, days_in_period, days_loaded, person, SUM(sessions) AS sessions
    FROM person_sessions
    GROUP BY 1, 2, 3, 4, 5
  )
  GROUP BY 1, 2, 3, 4
)
SELECT
  totals.period_start,
  totals.organization_id,
  totals.days_in_period,
  totals.days_loaded,
  folded.dimension,
  folded.value,
  COUNT(*) AS people,
  COUNT(*) / totals.people AS share_of_people,
  SUM(folded.sessions) AS sessions,
  SAFE_DIVIDE(SUM(folded.sessions), totals.sessions) AS share_of_sessions
FROM folded
JOIN totals ON totals.period_start = folded.period AND totals.organization_id = folded.organization_id
GROUP BY
  totals.period_start, totals.organization_id, totals.days_in_period, totals.days_loaded, totals.people, totals.sessions,
  folded.dimension, folded.value
