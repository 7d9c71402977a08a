-- The user's roster, prepared for joins: one row per row of the roster that names a person.
--
-- actor: the person's id as it is compared.
-- valid_from: first day; 0001-01-01 if the roster has none.
-- valid_to: last day; 9999-12-31 if the roster has none.
SELECT actor, valid_from, valid_to
FROM (
  SELECT
    actor_id /* comparable */ AS actor,
    COALESCE(valid_from, DATE '0001-01-01') AS valid_from,
    COALESCE(valid_to, DATE '9999-12-31') AS valid_to
  FROM (SELECT 'user_actor' AS actor_type, * FROM `claude_code.roster`)
)
WHERE actor <> ''
