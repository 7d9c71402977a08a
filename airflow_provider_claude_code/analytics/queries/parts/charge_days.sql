-- One row per organisation and UTC day whose charges were loaded, and whose rows are still there.
--
-- date: the UTC day.
-- organization_id: the organisation.
-- loaded_by: the organisation of the key that loaded the charges: the same one, or its parent.
-- periods_of: the organisation whose weeks, months and periods the day belongs to: the same one, or loaded_by if it has
--   no usage.
-- is_complete: whether the newest load read the charges after they were complete.
-- has_claude_code: whether this load requested the charges of Claude Code.
-- has_identities_of_usage: whether it stored actors as the newest load of the day's usage did: plain, or with the same
--   pseudonyms.
WITH cost_parents AS (
  SELECT cost.organization_id, loads.organization_id AS parent_id
  FROM `claude_code.cost` AS cost
  JOIN `claude_code.newest_loads` AS loads ON loads.date = cost.date AND loads.loaded_at = cost.loaded_at
  WHERE loads.table_name = 'cost' AND cost.date >= DATE '2025-01-01' /* since */
  UNION DISTINCT
  SELECT organization_id, parent_id FROM `claude_code.parents`
),
covered AS (
  SELECT *, LOGICAL_OR(is_own) OVER (PARTITION BY organization_id) AS has_own
  FROM (
    SELECT
      loads.date,
      IF(loads.is_own, loads.organization_id, parents.organization_id) AS organization_id,
      loads.organization_id AS loaded_by,
      loads.is_complete,
      loads.has_claude_code,
      loads.has_identities_of_usage,
      loads.is_own
    FROM (
      SELECT loads.*, is_own
      FROM `claude_code.charge_loads` AS loads
      CROSS JOIN UNNEST([TRUE, FALSE]) AS is_own
    ) AS loads
    LEFT JOIN cost_parents AS parents ON parents.parent_id = loads.organization_id AND NOT loads.is_own
    WHERE loads.is_own OR parents.organization_id IS NOT NULL
  )
)
SELECT
  covered.date,
  covered.organization_id,
  MIN(covered.loaded_by) AS loaded_by,
  COALESCE(organizations.organization_id, MIN(covered.loaded_by)) AS periods_of,
  LOGICAL_AND(covered.is_complete) AS is_complete,
  LOGICAL_AND(covered.has_claude_code) AS has_claude_code,
  LOGICAL_AND(covered.has_identities_of_usage) AS has_identities_of_usage
FROM covered
LEFT JOIN (SELECT DISTINCT organization_id FROM `claude_code.days`) AS organizations
  ON organizations.organization_id = covered.organization_id
-- Where an organisation has no loads of its own, those of its parents count.
WHERE covered.is_own = covered.has_own
GROUP BY covered.date, covered.organization_id, organizations.organization_id
