-- Which address or name belonged to which id on which days, from `members`, `api_keys` and `cost`: one row per id and
-- span of days. A day without a snapshot has the values of the snapshot before it, or of the first snapshot if there is
-- none before. Rows of one kind and id share no day. `cost` has the address of a person at the time of the load.
--
-- kind: what the row says: the address of a person's id, the user_id of an address, or the key_name of a key's id.
-- id: the id or address. Addresses are in the form in which they are compared.
-- found: the address, user_id or key_name.
-- valid_from: first day.
-- valid_to: last day.
WITH shown AS (
  SELECT date, user_id, actor_id /* comparable */ AS address, is_snapshot
  FROM (
    SELECT date, user_id, 'user_actor' AS actor_type, email AS actor_id, TRUE AS is_snapshot
    FROM `claude_code.members`
    WHERE date >= DATE '2025-01-01' /* since */
    UNION ALL
    SELECT DATE(loaded_at, 'UTC'), user_id, actor_type, actor_id, FALSE
    FROM `claude_code.cost`
    WHERE date >= DATE '2025-01-01' /* since */ AND actor_type = 'user_actor'
  )
),
found_on_days AS (
  -- Of several that are seen on a day it is always the same one.
  SELECT kind, id, date, COALESCE(MIN(IF(is_snapshot, found, NULL)), MIN(found)) AS found
  FROM (
    SELECT
      kind,
      IF(kind = 'address', user_id, address) AS id,
      date,
      IF(kind = 'address', address, user_id) AS found,
      is_snapshot
    FROM shown
    CROSS JOIN UNNEST(['address', 'user_id']) AS kind
    UNION ALL
    SELECT 'key_name', api_key_id, date, name, TRUE
    FROM `claude_code.api_keys`
    WHERE date >= DATE '2025-01-01' /* since */
  )
  WHERE id <> '' AND found <> ''
  GROUP BY kind, id, date
),
changes AS (
  SELECT kind, id, date, found, found_before
  FROM (SELECT *, LAG(found) OVER (PARTITION BY kind, id ORDER BY date) AS found_before FROM found_on_days)
  WHERE found_before IS NULL OR found_before <> found
)
SELECT
  kind,
  id,
  found,
  IF(found_before IS NULL, DATE '0001-01-01', date) AS valid_from,
  COALESCE(
    CAST(DATE_SUB(LEAD(date) OVER (PARTITION BY kind, id ORDER BY date), INTERVAL 1 DAY) AS DATE), DATE '9999-12-31'
  ) AS valid_to
FROM changes
