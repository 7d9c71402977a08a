-- What is wrong with the loaded days: one row per finding, none when all is well.
--
-- check_name: sums (the tables of a day contradict each other or `loads`), missing_days (a day was never loaded, or only
--   before it was complete), volume_drop (of the median rows of the same weekdays in the 28 days before, of which at
--   least two must be loaded, the share max_drop is lacking or more), freshness (the newest complete day ended too long
--   ago, or there is none), repeated_keys (the newest load of a day has records with the same key, as overlapping pages
--   would make them), lost_records (it has fewer records than an earlier load of the day), mapping (rows of the mapping
--   of actors to groups overlap, are never valid, have an actor_type that there is not, or all match nobody), roster (its
--   rows are never valid, or all match nobody), out_of_range (a table's
--   numbers of a day add up to more than a load accepts; as their sums may fit no column, its tables are not compared).
-- date: The UTC day; the newest complete one for freshness, null for mapping and roster.
-- organization_id: The organisation; null for mapping and roster, and where rows of a day are counted for all together.
-- table_name: The table.
-- finding: What is wrong, in a sentence with the numbers.
WITH remembered AS (
  SELECT date, table_name, SUM(row_count) AS row_count
  FROM `claude_code.newest_loads`
  GROUP BY date, table_name
),
held AS (
  SELECT date, 'usage' AS table_name, COUNT(*) AS row_count
  FROM `claude_code.usage` WHERE date >= DATE '2025-01-01' /* since */ GROUP BY date
  UNION ALL
  SELECT date, 'model_usage', COUNT(*)
  FROM `claude_code.model_usage` WHERE date >= DATE '2025-01-01' /* since */ GROUP BY date
  UNION ALL
  SELECT date, 'tool_usage', COUNT(*)
  FROM `claude_code.tool_usage` WHERE date >= DATE '2025-01-01' /* since */ GROUP BY date
),
-- What each row counts, as numbers whose sums fit whatever the rows hold.
numbers AS (
  SELECT
    date, organization_id, 'usage' AS table_name,
    GREATEST(
      num_sessions, lines_of_code_added, lines_of_code_removed, commits_by_claude_code, pull_requests_by_claude_code,
      tool_actions_accepted, tool_actions_rejected, COALESCE(input_tokens, 0), COALESCE(output_tokens, 0),
      COALESCE(cache_read_tokens, 0), COALESCE(cache_creation_tokens, 0)
    ) AS largest,
    CAST(num_sessions AS BIGNUMERIC) + lines_of_code_added + lines_of_code_removed + commits_by_claude_code
      + pull_requests_by_claude_code + tool_actions_accepted + tool_actions_rejected + COALESCE(input_tokens, 0)
      + COALESCE(output_tokens, 0) + COALESCE(cache_read_tokens, 0) + COALESCE(cache_creation_tokens, 0) AS counted,
    ABS(COALESCE(estimated_cost_cents, 0)) AS cost_cents
  FROM `claude_code.usage`
  WHERE date >= DATE '2025-01-01' /* since */
  UNION ALL
  SELECT
    date, organization_id, 'model_usage', GREATEST(input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens),
    CAST(input_tokens AS BIGNUMERIC) + output_tokens + cache_read_tokens + cache_creation_tokens,
    ABS(estimated_cost_cents)
  FROM `claude_code.model_usage`
  WHERE date >= DATE '2025-01-01' /* since */
  UNION ALL
  SELECT
    date, organization_id, 'tool_usage', GREATEST(accepted, rejected), CAST(accepted AS BIGNUMERIC) + rejected, NULL
  FROM `claude_code.tool_usage`
  WHERE date >= DATE '2025-01-01' /* since */
),
out_of_range AS (
  SELECT date, organization_id, table_name, MAX(largest) AS largest, MAX(cost_cents) AS largest_cost
  FROM numbers
  GROUP BY date, organization_id, table_name
  HAVING SUM(counted) > 1000000000000000 /* largest_sum_of_a_day */
    OR SUM(LEAST(cost_cents, 1 + 1000000000000000 /* largest_sum_of_a_day */)) > 1000000000000000 /* largest_sum_of_a_day */
),
parent_sums AS (
  SELECT
    date, organization_id,
    SUM(model_count) AS model_count,
    SUM(input_tokens) + SUM(output_tokens) + SUM(cache_read_tokens) + SUM(cache_creation_tokens) AS tokens,
    SUM(estimated_cost_cents) AS cost_cents,
    LOGICAL_OR(model_count > 0 AND currency IS NULL) AS has_mixed_currencies,
    SUM(tool_actions_accepted) AS accepted,
    SUM(tool_actions_rejected) AS rejected
  FROM `claude_code.usage`
  WHERE date >= DATE '2025-01-01' /* since */ AND date NOT IN (SELECT date FROM out_of_range)
  GROUP BY date, organization_id
),
model_sums AS (
  SELECT
    date, organization_id,
    COUNT(*) AS model_count,
    SUM(input_tokens) + SUM(output_tokens) + SUM(cache_read_tokens) + SUM(cache_creation_tokens) AS tokens,
    SUM(estimated_cost_cents) AS cost_cents
  FROM `claude_code.model_usage`
  WHERE date >= DATE '2025-01-01' /* since */ AND date NOT IN (SELECT date FROM out_of_range)
  GROUP BY date, organization_id
),
tool_sums AS (
  SELECT date, organization_id, SUM(accepted) AS accepted, SUM(rejected) AS rejected
  FROM `claude_code.tool_usage`
  WHERE date >= DATE '2025-01-01' /* since */ AND date NOT IN (SELECT date FROM out_of_range)
  GROUP BY date, organization_id
),
health AS (
  SELECT * FROM `claude_code.load_health`
),
usage_loads AS (
  SELECT
    newest.date, newest.organization_id, newest.row_count, newest.repeated_keys, ever.most_records
  FROM `claude_code.newest_loads` AS newest
  JOIN `claude_code.days` AS days ON days.date = newest.date AND days.organization_id = newest.organization_id
  JOIN (
    SELECT date, organization_id, MAX(row_count - repeated_keys) AS most_records
    FROM `claude_code.loads`
    WHERE date >= DATE '2025-01-01' /* since */ AND table_name = 'usage'
    GROUP BY date, organization_id
  ) AS ever
    ON ever.date = newest.date AND ever.organization_id = newest.organization_id
  WHERE newest.table_name = 'usage' AND days.is_loaded
),
-- Actors that a mapping or a roster could name.
actors AS (
  SELECT DISTINCT
    actor_type, IF(actor_type = 'user_actor', actor_id /* address */, actor_id) AS actor, date
  FROM `claude_code.usage`
  JOIN `claude_code.days` AS days USING (organization_id, date)
  WHERE date >= DATE '2025-01-01' /* since */ AND days.is_loaded AND actor_id <> ''
),
rows_of_users AS (
  SELECT
    'mapping' AS table_name,
    COUNT(*) AS row_count,
    COUNTIF(valid_from > valid_to) AS never_valid,
    -- A row without a type joins with none.
    COUNTIF(kinds.actor_type IS NULL) AS of_no_type,
    EXISTS(
      SELECT 1
      FROM `claude_code.actor_groups` AS mapped
      JOIN actors
        ON actors.actor_type = mapped.actor_type AND actors.actor = mapped.actor
        AND actors.date BETWEEN mapped.valid_from AND mapped.valid_to
    ) AS has_match
  FROM `claude_code.mapping` AS mapping
  LEFT JOIN (
    SELECT actor_type FROM actors
    UNION DISTINCT
    SELECT * FROM UNNEST(['user_actor', 'api_actor']) AS actor_type
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
      FROM `claude_code.roster`
      JOIN actors ON actors.actor_type = 'user_actor' AND actors.actor = actor_id /* address */
    )
  FROM `claude_code.roster`
),
newest_complete AS (
  SELECT organization_id, MAX(IF(is_complete, date, NULL)) AS date
  FROM `claude_code.days`
  GROUP BY organization_id
)
SELECT
  'sums' AS check_name,
  COALESCE(remembered.date, held.date) AS date,
  CAST(NULL AS STRING) AS organization_id,
  COALESCE(remembered.table_name, held.table_name) AS table_name,
  CONCAT(
    'loads remembers ', CAST(COALESCE(remembered.row_count, 0) AS STRING), ' rows, and the table holds ',
    CAST(COALESCE(held.row_count, 0) AS STRING), '.'
  ) AS finding
FROM remembered
FULL JOIN held ON held.date = remembered.date AND held.table_name = remembered.table_name
WHERE COALESCE(remembered.row_count, 0) <> COALESCE(held.row_count, 0)
  -- Days before the first that is still there have expired.
  AND NOT (held.date IS NULL AND remembered.date < (SELECT MIN(date) FROM `claude_code.days`))
UNION ALL
SELECT
  'sums', parent_sums.date, parent_sums.organization_id, 'model_usage',
  CONCAT(
    'usage says ', CAST(parent_sums.model_count AS STRING), ' model entries, ',
    CAST(COALESCE(parent_sums.tokens, 0) AS STRING), ' tokens and ',
    CAST(COALESCE(parent_sums.cost_cents, 0) AS STRING), ' cents; model_usage says ',
    CAST(COALESCE(model_sums.model_count, 0) AS STRING), ', ', CAST(COALESCE(model_sums.tokens, 0) AS STRING), ' and ',
    CAST(COALESCE(model_sums.cost_cents, 0) AS STRING), '.'
  )
FROM parent_sums
JOIN remembered ON remembered.date = parent_sums.date AND remembered.table_name = 'model_usage'
LEFT JOIN model_sums
  ON model_sums.date = parent_sums.date AND model_sums.organization_id = parent_sums.organization_id
WHERE parent_sums.model_count <> COALESCE(model_sums.model_count, 0)
  OR COALESCE(parent_sums.tokens, 0) <> COALESCE(model_sums.tokens, 0)
  -- A record whose entries have different currencies has no cost.
  OR (
    NOT parent_sums.has_mixed_currencies
    AND COALESCE(parent_sums.cost_cents, 0) <> COALESCE(model_sums.cost_cents, 0)
  )
UNION ALL
SELECT
  'sums', parent_sums.date, parent_sums.organization_id, 'tool_usage',
  CONCAT(
    'usage says ', CAST(parent_sums.accepted AS STRING), ' accepted and ', CAST(parent_sums.rejected AS STRING),
    ' rejected actions; tool_usage says ', CAST(COALESCE(tool_sums.accepted, 0) AS STRING), ' and ',
    CAST(COALESCE(tool_sums.rejected, 0) AS STRING), '.'
  )
FROM parent_sums
JOIN remembered ON remembered.date = parent_sums.date AND remembered.table_name = 'tool_usage'
LEFT JOIN tool_sums
  ON tool_sums.date = parent_sums.date AND tool_sums.organization_id = parent_sums.organization_id
WHERE parent_sums.accepted <> COALESCE(tool_sums.accepted, 0)
  OR parent_sums.rejected <> COALESCE(tool_sums.rejected, 0)
UNION ALL
SELECT
  'out_of_range', date, organization_id, table_name,
  CONCAT(
    'The numbers of the day add up to more than a load accepts',
    ', which no day has: the largest count is ', CAST(largest AS STRING), ', and the largest cost ',
    CAST(COALESCE(largest_cost, 0) AS STRING), ' cents. Load the day again.'
  )
FROM out_of_range
UNION ALL
SELECT
  'missing_days', date, organization_id, table_name,
  IF(state = 'missing', 'The day was never loaded.', 'The day was loaded before it was complete, and not since.')
FROM health
WHERE state IN ('missing', 'incomplete')
  AND TIMESTAMP(date, 'UTC') <= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1500 /* minutes_until_complete */ MINUTE)
UNION ALL
SELECT
  'volume_drop', date, organization_id, table_name,
  CONCAT(
    CAST(row_count AS STRING), ' rows, where the median of the ', CAST(weekdays_compared AS STRING),
    ' same weekdays before is ', CAST(median_row_count AS STRING), '.'
  )
FROM health
WHERE state IN ('loaded', 'empty') AND weekdays_compared >= 2
  AND median_row_count > 0 AND median_row_count - row_count >= median_row_count * 0.5 /* max_drop */
UNION ALL
SELECT
  'freshness', date, organization_id, 'usage',
  COALESCE(
    CONCAT(
      'The newest complete day ended ',
      CAST(TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), TIMESTAMP(DATE_ADD(date, INTERVAL 1 DAY), 'UTC'), HOUR) AS STRING),
      ' hours ago.'
    ),
    'No day was loaded after it was complete.'
  )
FROM newest_complete
WHERE date IS NULL OR TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), TIMESTAMP(DATE_ADD(date, INTERVAL 1 DAY), 'UTC'), SECOND)
  > 3600 * 48 /* max_age_hours */
UNION ALL
SELECT
  'repeated_keys', date, organization_id, 'usage',
  CONCAT(
    CAST(repeated_keys AS STRING), ' of ', CAST(row_count AS STRING), ' records repeat the key of another. If the API ',
    'repeated them, they are counted twice: load the day again.'
  )
FROM usage_loads
WHERE repeated_keys > 0
UNION ALL
SELECT
  'lost_records', date, organization_id, 'usage',
  CONCAT(
    CAST(row_count - repeated_keys AS STRING), ' records (without repeated keys), where an earlier load had ',
    CAST(most_records AS STRING), '.'
  )
FROM usage_loads
WHERE row_count - repeated_keys < most_records
UNION ALL
SELECT
  table_name, CAST(NULL AS DATE), CAST(NULL AS STRING), table_name,
  CONCAT(
    'None of its rows (', CAST(row_count AS STRING), ') matches an actor of the loaded usage. With actor_identity=hmac ',
    'it has to hold pseudonyms.'
  )
FROM rows_of_users
WHERE row_count > 0 AND NOT has_match AND EXISTS(SELECT 1 FROM actors)
UNION ALL
SELECT
  table_name, CAST(NULL AS DATE), CAST(NULL AS STRING), table_name,
  CONCAT('Rows whose valid_from is after their valid_to, so that they are never valid: ', CAST(never_valid AS STRING), '.')
FROM rows_of_users
WHERE never_valid > 0
UNION ALL
SELECT
  table_name, CAST(NULL AS DATE), CAST(NULL AS STRING), table_name,
  CONCAT(
    'Rows with an actor_type that no actor has: ', CAST(of_no_type AS STRING), '. It is user_actor or api_actor.'
  )
FROM rows_of_users
WHERE of_no_type > 0
UNION ALL
SELECT
  'mapping', CAST(NULL AS DATE), CAST(NULL AS STRING), 'mapping',
  CONCAT('Rows overlap. Actors with such rows: ', CAST(COUNT(DISTINCT CONCAT(actor_type, ' ', actor)) AS STRING), '.')
FROM `claude_code.actor_groups`
WHERE is_conflict
HAVING COUNT(*) > 0
