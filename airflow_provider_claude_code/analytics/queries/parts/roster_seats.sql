-- The user's roster as it is matched: one row per row of it that names a person.
--
-- actor: the person's id as it is compared.
-- valid_from: first day; the first there is where the roster says always.
-- valid_to: last day; the last there is where the roster says for ever.
SELECT actor, valid_from, valid_to
FROM (
  SELECT
    actor_id /* comparable */ AS actor,
    COALESCE(valid_from, DATE '0001-01-01') AS valid_from,
    COALESCE(valid_to, DATE '9999-12-31') AS valid_to
  FROM (SELECT 'user_actor' AS actor_type, * FROM `claude_code.roster`)
)
WHERE actor <> ''
