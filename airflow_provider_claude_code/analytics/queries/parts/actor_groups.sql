-- The user's mapping, prepared for joins: one row per row of the mapping that names an actor.
--
-- actor_type: the actor's type; a machine is an api_actor.
-- actor: the actor's id as it is compared.
-- team: the group; null where the mapping has none.
-- cost_centre: who pays for it; null where the mapping has none.
-- group_name: one name for team and cost_centre. Different groups have different names.
-- valid_from: first day; 0001-01-01 if the mapping has none.
-- valid_to: last day; 9999-12-31 if the mapping has none.
-- is_conflict: whether the row shares a day with an earlier row of the actor, so that both would get the same cost.
--   Rows without a conflict share no day.
SELECT
  actor_type,
  actor,
  team,
  cost_centre,
  CONCAT(
    REPLACE(COALESCE(team, '(unmapped)' /* unmapped */), '/', '//'),
    COALESCE(CONCAT(' / ', REPLACE(cost_centre, '/', '//')), '')
  ) AS group_name,
  valid_from,
  valid_to,
  COALESCE(
    valid_from <= MAX(valid_to) OVER (
      PARTITION BY actor_type, actor ORDER BY valid_from, valid_to ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ),
    FALSE
  ) AS is_conflict
FROM (
  SELECT
    actor_type,
    actor_id /* comparable */ AS actor,
    team,
    cost_centre,
    COALESCE(valid_from, DATE '0001-01-01') AS valid_from,
    COALESCE(valid_to, DATE '9999-12-31') AS valid_to
  FROM (
    SELECT
      IF(actor_type = 'machine', 'api_actor', actor_type) AS actor_type,
      actor_id, team, cost_centre, valid_from, valid_to
    FROM `claude_code.mapping`
  )
)
-- Who has no id cannot be mapped.
WHERE actor <> ''
