-- One row per organisation and UTC day, from the first loaded day to the last one that is there or should be by now.
--
-- date: the UTC day.
-- organization_id: the organisation.
-- is_loaded: whether `loads` has a load of the day into `usage`, and its rows are still there.
-- is_complete: whether the newest such load read the day after it was complete.
-- days_of_history: days since the first loaded one, 0 on that day.
-- days_loaded_7: days with a complete load among this one and the 6 before.
-- days_loaded_28: the same with the 27 before.
-- days_loaded_57: the same with the 56 before.
WITH newest AS (
  SELECT organization_id, date, complete AS is_complete
  FROM `claude_code.newest_loads`
  WHERE table_name = 'usage'
    -- A day whose rows have expired, or were deleted, is not there any more.
    AND (row_count = 0 OR date IN (SELECT date FROM `claude_code.usage` WHERE date >= DATE '2025-01-01' /* since */))
),
covered AS (
  SELECT organization_id, date, is_complete FROM newest
  UNION ALL
  -- A parent's key reads its children's records. Where an organisation has no loads, those that brought its records
  -- count: they began at the moment that the records bear.
  SELECT children.organization_id, newest.date, LOGICAL_AND(newest.is_complete) AS is_complete
  FROM newest
  JOIN (
    SELECT DISTINCT usage.organization_id, loads.organization_id AS parent_id
    FROM `claude_code.usage` AS usage
    JOIN `claude_code.loads` AS loads ON loads.date = usage.date AND loads.loaded_at = usage.loaded_at
    WHERE usage.date >= DATE '2025-01-01' /* since */ AND loads.date >= DATE '2025-01-01' /* since */
      AND usage.organization_id NOT IN (SELECT organization_id FROM newest)
  ) AS children
    ON children.parent_id = newest.organization_id
  GROUP BY children.organization_id, newest.date
),
spans AS (
  SELECT
    organization_id,
    MIN(date) AS first_date,
    -- A day is complete an hour after it ends. In BigQuery a project may have another time zone by default.
    GREATEST(
      MAX(date),
      DATE(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1500 /* minutes_until_complete */ MINUTE), 'UTC')
    ) AS last_date
  FROM covered
  GROUP BY organization_id
),
spine AS (
  SELECT organization_id, first_date, date
  FROM spans
  CROSS JOIN UNNEST(GENERATE_DATE_ARRAY(first_date, last_date)) AS date
)
SELECT
  spine.date,
  spine.organization_id,
  covered.is_complete IS NOT NULL AS is_loaded,
  COALESCE(covered.is_complete, FALSE) AS is_complete,
  DATE_DIFF(spine.date, spine.first_date, DAY) AS days_of_history,
  COUNTIF(COALESCE(covered.is_complete, FALSE)) OVER (
    PARTITION BY spine.organization_id ORDER BY spine.date ROWS BETWEEN 6 PRECEDING AND CURRENT ROW
  ) AS days_loaded_7,
  COUNTIF(COALESCE(covered.is_complete, FALSE)) OVER (
    PARTITION BY spine.organization_id ORDER BY spine.date ROWS BETWEEN 27 PRECEDING AND CURRENT ROW
  ) AS days_loaded_28,
  COUNTIF(COALESCE(covered.is_complete, FALSE)) OVER (
    PARTITION BY spine.organization_id ORDER BY spine.date ROWS BETWEEN 56 PRECEDING AND CURRENT ROW
  ) AS days_loaded_57
FROM spine
LEFT JOIN covered ON covered.organization_id = spine.organization_id AND covered.date = spine.date
