-- The user's mapping as it is matched: one row per row of it that names an actor.
--
-- actor_type: the actor's type; a machine is an api_actor.
-- actor: the actor's id as it is compared.
-- team: the group; null where the mapping has none.
-- cost_centre: who pays for it; null where the mapping has none.
-- group_name: one name for both. No two groups are written alike, whatever their names hold.
-- valid_from: first day; the first there is where the mapping says always.
-- valid_to: last day; the last there is where the mapping says for ever.
-- is_conflict: the actor has another row that begins no later and has not ended. Each would get the same cost. The
--   other rows of an actor share no day.
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
