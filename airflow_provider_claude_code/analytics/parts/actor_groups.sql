-- The user's mapping as it is matched: one row per row of it that names an actor.
--
-- actor: the actor's id; addresses trimmed and in lower case.
-- valid_from: first day; the first there is where the mapping says always.
-- valid_to: last day; the last there is where the mapping says for ever.
-- is_conflict: the actor has another row that begins no later and has not ended. Each would get the same cost.
SELECT
  actor_type,
  actor,
  team,
  cost_centre,
  valid_from,
  valid_to,
  COALESCE(
    valid_from <= LAG(valid_to) OVER (PARTITION BY actor_type, actor ORDER BY valid_from, valid_to), FALSE
  ) AS is_conflict
FROM (
  SELECT
    actor_type,
    IF(actor_type = 'user_actor', actor_id /* address */, actor_id) AS actor,
    team,
    cost_centre,
    COALESCE(valid_from, DATE '0001-01-01') AS valid_from,
    COALESCE(valid_to, DATE '9999-12-31') AS valid_to
  FROM `claude_code.mapping`
)
-- Who has no id cannot be mapped.
WHERE actor <> ''
