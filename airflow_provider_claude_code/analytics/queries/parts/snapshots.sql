-- The existing snapshots of members: one row per organisation and UTC day.
--
-- organization_id: the organisation of the key that loaded it.
-- date: the UTC day of the snapshot.
-- loaded_at: when its load began.
-- number: counts from 1, also if days are missing between snapshots.
-- next_date: the day of the next snapshot, null for the newest.
SELECT
  organization_id,
  date,
  loaded_at,
  ROW_NUMBER() OVER (PARTITION BY organization_id ORDER BY date) AS number,
  LEAD(date) OVER (PARTITION BY organization_id ORDER BY date) AS next_date
FROM (
  -- Of one whose rows have expired, or are those of another load, nothing is known.
  SELECT DISTINCT loads.organization_id, loads.date, loads.loaded_at
  FROM `claude_code.newest_loads` AS loads
  JOIN `claude_code.members` AS members ON members.date = loads.date AND members.loaded_at = loads.loaded_at
  WHERE loads.table_name = 'members' AND members.date >= DATE '2025-01-01' /* since */
)
