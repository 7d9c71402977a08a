-- The newest loads of charges whose rows are still there: one row per organisation of a key and UTC day.
--
-- organization_id: the organisation of the key.
-- date: the UTC day.
-- is_complete: whether the load read the charges after they were complete.
-- has_claude_code: whether the load requested the charges of Claude Code.
-- has_identities_of_usage: whether it stored actors as the newest load of the day's usage did: plain, or with the same
--   pseudonyms.
SELECT
  loads.organization_id,
  loads.date,
  loads.complete AS is_complete,
  -- A list of products that is empty means all.
  COALESCE(REGEXP_CONTAINS(loads.request, r'"claude.code"|\[\]'), TRUE) AS has_claude_code,
  COALESCE(loads.identity = loads.identity_of_usage, TRUE) AS has_identities_of_usage
FROM (
  SELECT
    *,
    MAX(IF(table_name = 'usage', identity, NULL)) OVER (PARTITION BY organization_id, date) AS identity_of_usage
  FROM (
    SELECT *, CONCAT(actor_identity, COALESCE(pseudonym_key_id, '')) AS identity
    FROM `claude_code.newest_loads`
  )
) AS loads
LEFT JOIN (
  SELECT DISTINCT date, loaded_at FROM `claude_code.cost` WHERE date >= DATE '2025-01-01' /* since */
) AS held
  ON held.date = loads.date AND held.loaded_at = loads.loaded_at
WHERE loads.table_name = 'cost' AND (loads.row_count = 0 OR held.date IS NOT NULL)
