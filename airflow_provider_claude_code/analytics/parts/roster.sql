-- Stands for the user's table of people who may use Claude Code, where there is none.
--
-- actor_id: the person's address as in `usage`, in upper or lower case; with actor_identity=hmac the pseudonym.
-- valid_from: first day on which the person may; null means always.
-- valid_to: last day; null means for ever.
SELECT CAST(NULL AS STRING) AS actor_id, CAST(NULL AS DATE) AS valid_from, CAST(NULL AS DATE) AS valid_to
LIMIT 0
