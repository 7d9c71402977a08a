-- The API keys that the user's mapping says machines work with (actor_type machine): one row per key. Other keys count as
-- people, since somebody may work with them.
--
-- actor: the key's name.
SELECT DISTINCT actor_id AS actor
FROM `claude_code.mapping`
WHERE actor_type = 'machine' AND actor_id <> ''
