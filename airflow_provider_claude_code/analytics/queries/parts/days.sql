-- One row per organisation and UTC day, from the first loaded day to the last one that is loaded or should be.
--
-- date: the UTC day.
-- organization_id: the organisation.
-- is_loaded: whether `loads` has a load of the day into `usage`, and its rows still exist.
-- is_complete: whether the newest such load read the day after it was complete.
-- has_models: whether `loads` has a load of the day into `model_usage`. Without one no cost is known.
-- days_of_history: days since the first loaded one, 0 on that day.
-- days_loaded_7: days with a complete load among this one and the 6 before.
-- days_loaded_28: the same with the 27 before.
-- days_loaded_57: the same with the 56 before.
WITH newest AS (
  SELECT
    organization_id,
    date,
    LOGICAL_OR(table_name = 'usage' AND complete) AS is_complete,
    LOGICAL_OR(table_name = 'usage' AND row_count > 0) AS has_rows,
    LOGICAL_OR(table_name = 'model_usage') AS has_models
  FROM `claude_code.newest_loads`
  WHERE table_name IN ('usage', 'model_usage')
  GROUP BY organization_id, date
  HAVING LOGICAL_OR(table_name = 'usage')
),
placed AS (
  SELECT
    IF(loads.is_own, loads.organization_id, parents.organization_id) AS organization_id,
    loads.organization_id AS loaded_by,
    loads.date,
    loads.is_complete,
    loads.has_rows,
    loads.has_models,
    loads.is_own
  FROM (SELECT newest.*, is_own FROM newest CROSS JOIN UNNEST([TRUE, FALSE]) AS is_own) AS loads
  LEFT JOIN `claude_code.parents` AS parents
    ON parents.parent_id = loads.organization_id AND NOT loads.is_own
  WHERE loads.is_own OR parents.organization_id IS NOT NULL
),
covered AS (
  SELECT organization_id, date, LOGICAL_AND(is_complete) AS is_complete, LOGICAL_AND(has_models) AS has_models
  FROM (
    SELECT *, LOGICAL_OR(is_own) OVER (PARTITION BY organization_id) AS has_own
    FROM (
      SELECT
        *,
        MAX(IF(has_rows AND NOT is_held AND date < COALESCE(first_held_date, DATE '9999-12-31'), date, NULL)) OVER (
          PARTITION BY loaded_by
        ) AS last_expired_date
      FROM (
        SELECT
          placed.*,
          LOGICAL_OR(held.date IS NOT NULL) OVER (PARTITION BY placed.loaded_by, placed.date) AS is_held,
          MIN(held.date) OVER (PARTITION BY placed.loaded_by) AS first_held_date
        FROM placed
        LEFT JOIN (SELECT DISTINCT organization_id, date FROM `claude_code.held_days`) AS held
          ON held.organization_id = placed.organization_id AND held.date = placed.date
      )
    )
    -- A day whose rows have expired, or were deleted, is not there any more. Nor are the empty days before those that
    -- have expired: history does not begin with them.
    WHERE (is_held OR NOT has_rows) AND date > COALESCE(last_expired_date, DATE '0001-01-01')
  )
  -- Where an organisation has no loads of its own, those of its parents count.
  WHERE is_own = has_own
  GROUP BY organization_id, date
),
spaced AS (
  SELECT
    organization_id,
    date,
    is_complete,
    has_models,
    MIN(date) OVER (PARTITION BY organization_id) AS first_date,
    LEAD(date) OVER (PARTITION BY organization_id ORDER BY date) AS next_date
  FROM covered
),
spine AS (
  SELECT
    spaced.organization_id,
    spaced.first_date,
    day AS date,
    day = spaced.date AS is_loaded,
    day = spaced.date AND spaced.is_complete AS is_complete,
    day = spaced.date AND spaced.has_models AS has_models
  FROM spaced
  CROSS JOIN UNNEST(
    GENERATE_DATE_ARRAY(
      spaced.date,
      COALESCE(
        DATE_SUB(spaced.next_date, INTERVAL 1 DAY),
        -- A day is complete an hour after it ends. In BigQuery a project may have another time zone by default.
        GREATEST(
          spaced.date, DATE(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1500 /* minutes_until_complete */ MINUTE), 'UTC')
        )
      )
    )
  ) AS day
)
SELECT
  date,
  organization_id,
  is_loaded,
  is_complete,
  has_models,
  DATE_DIFF(date, first_date, DAY) AS days_of_history,
  COUNTIF(is_complete) OVER (
    PARTITION BY organization_id ORDER BY date ROWS BETWEEN 6 PRECEDING AND CURRENT ROW
  ) AS days_loaded_7,
  COUNTIF(is_complete) OVER (
    PARTITION BY organization_id ORDER BY date ROWS BETWEEN 27 PRECEDING AND CURRENT ROW
  ) AS days_loaded_28,
  COUNTIF(is_complete) OVER (
    PARTITION BY organization_id ORDER BY date ROWS BETWEEN 56 PRECEDING AND CURRENT ROW
  ) AS days_loaded_57
FROM spine
