-- Stands for the user's table of groups, where there is none.
--
-- actor_type: user_actor for a person, api_actor for an API key.
-- actor_id: The address, in upper or lower case (A to Z), or exactly the key's name, as in `usage`; with
--   actor_identity=hmac the pseudonym.
-- team: The group.
-- cost_centre: Who pays for it; may be null.
-- valid_from: First day on which the actor is in the group; null means always.
-- valid_to: Last day; null means for ever. No two rows of an actor share a day.
SELECT
  CAST(NULL AS STRING) AS actor_type,
  CAST(NULL AS STRING) AS actor_id,
  CAST(NULL AS STRING) AS team,
  CAST(NULL AS STRING) AS cost_centre,
  CAST(NULL AS DATE) AS valid_from,
  CAST(NULL AS DATE) AS valid_to
LIMIT 0
