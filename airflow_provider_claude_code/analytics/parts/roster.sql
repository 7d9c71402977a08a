-- Stands for the user's table of people who may use Claude Code, where there is none.
--
-- actor_id: The person's address as in `usage`, in upper or lower case (A to Z); with actor_identity=hmac the pseudonym.
-- valid_from: First day on which the person may; null means always.
-- valid_to: Last day; null means for ever.
SELECT CAST(NULL AS STRING) AS actor_id, CAST(NULL AS DATE) AS valid_from, CAST(NULL AS DATE) AS valid_to
LIMIT 0
