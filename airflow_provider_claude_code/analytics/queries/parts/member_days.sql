-- The members of each snapshot: one row per snapshot and member, with the columns of `snapshots`.
--
-- user_id: the person's id, which stays when the address changes.
-- actor: the person's address as it is compared; the same as in `actor_days`.
-- role: the role in the organisation.
-- added_on: the UTC day on which the person joined the organisation.
SELECT
  organization_id, date, loaded_at, number, next_date, user_id, role, added_on,
  actor_id /* comparable */ AS actor
FROM (
  SELECT
    snapshots.*,
    members.user_id,
    members.role,
    DATE(members.added_at, 'UTC') AS added_on,
    'user_actor' AS actor_type,
    members.email AS actor_id
  FROM `claude_code.members` AS members
  JOIN `claude_code.snapshots` AS snapshots
    ON snapshots.date = members.date AND snapshots.loaded_at = members.loaded_at
  WHERE members.date >= DATE '2025-01-01' /* since */
)
