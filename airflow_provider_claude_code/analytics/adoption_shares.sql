-- Where and how people use Claude Code: one row per UTC day, organisation, dimension and value, for active people
-- (user_actor). Values that fewer than min_group_size people share on a day are folded into "(small groups)". A person
-- may have several values on a day, so the people of a dimension add up to more than the active people. A day that is
-- not loaded, or that nobody was active on, is one row without a dimension.
--
-- date: The UTC day.
-- organization_id: The organisation.
-- is_loaded: Whether the day was ever loaded.
-- is_complete: Whether its newest load read it after it was complete.
-- dimension: terminal_type, location or customer_type.
-- value: The terminal; remote, local or unknown (the API does not always say); api or subscription.
-- people: People who were active with the value.
-- share_of_people: These of all active people of the day, 0 to 1.
-- sessions: Their sessions with the value.
-- share_of_sessions: These of all sessions of people on the day, 0 to 1; null without sessions.
WITH usage AS (
  SELECT
    date,
    organization_id,
    COALESCE(actor_id /* address */, '') AS person,
    terminal_type,
    CASE WHEN is_remote THEN 'remote' WHEN NOT is_remote THEN 'local' ELSE 'unknown' END AS location,
    customer_type,
    num_sessions
  FROM `claude_code.usage`
  WHERE date >= DATE '2025-01-01' /* since */
    AND actor_type = 'user_actor'
    AND GREATEST(
      num_sessions, lines_of_code_added, lines_of_code_removed, commits_by_claude_code, pull_requests_by_claude_code,
      tool_actions_accepted, tool_actions_rejected, COALESCE(input_tokens, 0), COALESCE(output_tokens, 0),
      COALESCE(cache_read_tokens, 0), COALESCE(cache_creation_tokens, 0)
    ) > 0
),
members AS (
  SELECT
    'terminal_type' AS dimension, date AS period, organization_id, terminal_type AS name, person,
    SUM(num_sessions) AS num_sessions
  FROM usage
  GROUP BY 1, 2, 3, 4, 5
  UNION ALL
  SELECT 'location', date, organization_id, location, person, SUM(num_sessions) FROM usage GROUP BY 1, 2, 3, 4, 5
  UNION ALL
  SELECT 'customer_type', date, organization_id, customer_type, person, SUM(num_sessions) FROM usage
  GROUP BY 1, 2, 3, 4, 5
),
totals AS (
  SELECT date, organization_id, COUNT(DISTINCT person) AS people, SUM(num_sessions) AS sessions
  FROM usage
  GROUP BY date, organization_id
),
shares AS (
  SELECT
    members.period AS date,
    members.organization_id,
    members.dimension,
    IF(folding.is_small, '(small groups)', members.name) AS value,
    -- Only where values are folded together has a person several rows; to compare all of them takes much memory.
    COUNTIF(NOT folding.is_small) + COUNT(DISTINCT IF(folding.is_small, members.person, NULL)) AS people,
    SUM(members.num_sessions) AS sessions
  FROM members
  JOIN `claude_code.small_groups` AS folding
    ON folding.dimension = members.dimension AND folding.period = members.period
    AND folding.organization_id = members.organization_id AND folding.name = members.name
  GROUP BY 1, 2, 3, 4
)
SELECT
  days.date,
  days.organization_id,
  days.is_loaded,
  days.is_complete,
  shares.dimension,
  shares.value,
  shares.people,
  SAFE_DIVIDE(shares.people, totals.people) AS share_of_people,
  shares.sessions,
  SAFE_DIVIDE(shares.sessions, totals.sessions) AS share_of_sessions
FROM `claude_code.days` AS days
LEFT JOIN shares
  ON shares.organization_id = days.organization_id AND shares.date = days.date AND days.is_loaded
LEFT JOIN totals ON totals.organization_id = days.organization_id AND totals.date = days.date
