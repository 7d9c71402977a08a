-- Rows of the roster and of the mapping that are wrong.
--
-- finding: what is wrong, as in `data_quality`.
WITH rows_of_users AS (
  SELECT
    'mapping' AS table_name,
    COUNT(*) AS row_count,
    COUNTIF(valid_from > valid_to) AS never_valid,
    -- A row without a type joins with none.
    COUNTIF(kinds.actor_type IS NULL) AS of_no_type,
    EXISTS(
      SELECT 1
      FROM `claude_code.actor_groups` AS mapped
      JOIN `claude_code.known_actors` AS actors
        ON actors.actor_type = mapped.actor_type AND actors.actor = mapped.actor
        AND actors.date BETWEEN mapped.valid_from AND mapped.valid_to
    ) AS has_match
  FROM `claude_code.mapping` AS mapping
  LEFT JOIN (
    SELECT actor_type FROM `claude_code.known_actors`
    UNION DISTINCT
    SELECT * FROM UNNEST(['user_actor', 'api_actor', 'machine']) AS actor_type
  ) AS kinds
    ON kinds.actor_type = mapping.actor_type
  UNION ALL
  SELECT
    'roster',
    COUNT(*),
    COUNTIF(valid_from > valid_to),
    0,
    EXISTS(
      SELECT 1
      FROM `claude_code.roster_seats` AS seats
      JOIN `claude_code.known_actors` AS actors ON actors.actor_type = 'user_actor' AND actors.actor = seats.actor
    )
  FROM `claude_code.roster`
)
SELECT
  table_name AS check_name, CAST(NULL AS DATE) AS date, CAST(NULL AS STRING) AS organization_id, table_name,
  CONCAT(
    'None of its rows (', CAST(row_count AS STRING), ') matches an actor of the loaded usage. Correct its actor_id. With ',
    'actor_identity=hmac it must contain pseudonyms.'
  ) AS finding
FROM rows_of_users
WHERE row_count > 0 AND NOT has_match AND EXISTS(SELECT 1 FROM `claude_code.known_actors`)
UNION ALL
SELECT
  table_name, CAST(NULL AS DATE), CAST(NULL AS STRING), table_name, 'It has no rows. Check what writes it.'
FROM rows_of_users
WHERE row_count = 0 AND table_name IN (SELECT table_name FROM `claude_code.given_tables`)
UNION ALL
SELECT
  table_name, CAST(NULL AS DATE), CAST(NULL AS STRING), table_name,
  CONCAT(
    'Rows whose valid_from is after their valid_to, so that they are never valid: ', CAST(never_valid AS STRING),
    '. Correct them.'
  )
FROM rows_of_users
WHERE never_valid > 0
UNION ALL
SELECT
  table_name, CAST(NULL AS DATE), CAST(NULL AS STRING), table_name,
  CONCAT(
    'Rows with an actor_type that no actor has: ', CAST(of_no_type AS STRING),
    '. Change it to user_actor, api_actor or machine.'
  )
FROM rows_of_users
WHERE of_no_type > 0
UNION ALL
SELECT
  'mapping', CAST(NULL AS DATE), CAST(NULL AS STRING), 'mapping',
  CONCAT(
    'Rows overlap. Actors with such rows: ', CAST(COUNT(DISTINCT CONCAT(actor_type, ' ', actor)) AS STRING),
    '. Let each row end before the next begins.'
  )
FROM `claude_code.actor_groups`
WHERE is_conflict
HAVING COUNT(*) > 0
