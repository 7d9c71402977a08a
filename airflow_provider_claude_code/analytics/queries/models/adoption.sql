-- How many people use Claude Code, and how regularly: one row per UTC day and organisation. People are user_actor; API
-- keys are not counted. Active means any session, commit, pull request, line, tool action or token. A day that is not
-- loaded counts as a day without activity in the windows that include it. Before you conclude that a number fell, check
-- how many days of its window are loaded. A count is null if fewer than min_group_size people were active on the day,
-- or in the 7 or 28 days.
--
-- key: date, organization_id
-- date: The UTC day.
-- organization_id: The organisation.
-- is_loaded: Whether the day was loaded and its rows still exist.
-- is_complete: Whether the newest load read the day after it was complete.
-- is_withheld: Whether the counts of the day are withheld, as in `daily_activity`: daily_active_people, new_people and
--   returning_people are null then.
-- daily_active_people: People active on the day; null when it is not loaded or withheld.
-- weekly_active_people: People active on any of the 7 days that end with this one; null for 1 to min_group_size - 1
--   people.
-- days_loaded_7: How many of these 7 days have a complete load.
-- monthly_active_people: People active on any of the 28 days that end with this one; null for 1 to min_group_size - 1
--   people.
-- days_loaded_28: How many of these 28 days have a complete load.
-- mean_daily_active_people: Mean number of active people on the loaded days of these 28; null when
--   monthly_active_people is null.
-- stickiness: mean_daily_active_people divided by monthly_active_people; null if nobody was active.
-- new_people: People whose first active day in the loaded history is this one; null on the first 28 days of this
--   history, and on a day that is not loaded or withheld.
-- returning_people: People active on the day who were last active more than 28 days before; null on the same days as
--   new_people.
-- gone_quiet_people: People active 29 to 56 days before the day and not since; null on the first 56 days of the
--   history.
-- days_loaded_57: How many of the last 57 days have a complete load. new_people, returning_people and gone_quiet_people
--   depend on these days.
-- eligible_people: People on the roster on that day; without a roster, the members of the organisation; null if there
--   are none. A Console member does not necessarily have a paid seat, and people with a claude.ai seat may look idle.
-- eligible_active_people: Eligible people who were active on any of the 28 days.
-- adoption_rate: eligible_active_people divided by eligible_people.
-- idle_seats: Eligible people who were not active on any of the 28 days.
WITH active AS (
  SELECT DISTINCT date, organization_id, actor
  FROM `claude_code.actor_days`
  WHERE is_active AND actor_type = 'user_actor'
  UNION ALL
  SELECT last_date, organization_id, actor FROM `claude_code.earlier_people`
),
-- A person on a day of activity: how long ago the one before was, and how many days it is the latest one, up to 57.
steps AS (
  SELECT
    date,
    organization_id,
    actor,
    DATE_DIFF(date, LAG(date) OVER (PARTITION BY organization_id, actor ORDER BY date), DAY) AS days_between,
    LEAST(
      COALESCE(DATE_DIFF(LEAD(date) OVER (PARTITION BY organization_id, actor ORDER BY date), date, DAY), 57), 57
    ) AS days_as_latest
  FROM active
),
-- Counted before they are spread over days, since a row per person and day would be many.
counted_steps AS (
  SELECT
    date,
    organization_id,
    days_as_latest,
    COUNT(*) AS people,
    COUNTIF(days_between IS NULL) AS new_people,
    COUNTIF(COALESCE(days_between > 28, FALSE)) AS returning_people
  FROM steps
  GROUP BY date, organization_id, days_as_latest
),
-- Each day that has a day of activity at most 56 days back: how many people had their latest one how long ago.
recency AS (
  SELECT
    day AS date,
    steps.organization_id,
    DATE_DIFF(day, steps.date, DAY) AS days_since,
    steps.people,
    steps.new_people,
    steps.returning_people
  FROM counted_steps AS steps
  JOIN (SELECT organization_id, MAX(date) AS last_date FROM `claude_code.days` GROUP BY organization_id) AS spans
    ON spans.organization_id = steps.organization_id
  CROSS JOIN UNNEST(GENERATE_DATE_ARRAY(
    GREATEST(steps.date, DATE '0001-01-01' /* buckets_from */),
    LEAST(CAST(DATE_ADD(steps.date, INTERVAL (days_as_latest - 1) DAY) AS DATE), spans.last_date)
  )) AS day
),
counts AS (
  SELECT
    date,
    organization_id,
    SUM(IF(days_since = 0, people, 0)) AS daily,
    SUM(IF(days_since <= 6, people, 0)) AS weekly,
    SUM(IF(days_since <= 27, people, 0)) AS monthly,
    SUM(IF(days_since = 0, new_people, 0)) AS new_people,
    SUM(IF(days_since = 0, returning_people, 0)) AS returning_people,
    SUM(IF(days_since BETWEEN 29 AND 56, people, 0)) AS gone_quiet
  FROM recency
  GROUP BY date, organization_id
),
-- The seats of each person, of which no two share a day.
seat_spans AS (
  SELECT organization_id, actor, MIN(valid_from) AS valid_from, MAX(valid_to) AS valid_to
  FROM (
    SELECT
      *,
      COUNTIF(begins) OVER (
        PARTITION BY organization_id, actor ORDER BY valid_from, valid_to ROWS UNBOUNDED PRECEDING
      ) AS span
    FROM (
      SELECT
        *,
        COALESCE(
          valid_from > MAX(valid_to) OVER (
            PARTITION BY organization_id, actor ORDER BY valid_from, valid_to
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
          ),
          TRUE
        ) AS begins
      FROM `claude_code.seats`
      WHERE valid_from <= valid_to
    )
  )
  GROUP BY organization_id, actor, span
),
eligible AS (
  SELECT days.date, days.organization_id, SUM(spans.people) AS people, SUM(spans.active_people) AS active_people
  FROM `claude_code.days` AS days
  JOIN (
    SELECT organization_id, valid_from AS first_date, valid_to AS last_date, COUNT(*) AS people, 0 AS active_people
    FROM seat_spans
    GROUP BY organization_id, valid_from, valid_to
    UNION ALL
    SELECT organization_id, first_date, last_date, 0, COUNT(*)
    FROM (
      SELECT
        steps.organization_id,
        GREATEST(steps.date, seats.valid_from) AS first_date,
        LEAST(CAST(DATE_ADD(steps.date, INTERVAL (LEAST(days_as_latest, 28) - 1) DAY) AS DATE), seats.valid_to)
          AS last_date
      FROM steps
      JOIN seat_spans AS seats ON seats.organization_id = steps.organization_id AND seats.actor = steps.actor
    )
    GROUP BY organization_id, first_date, last_date
  ) AS spans
    ON spans.organization_id = days.organization_id AND days.date BETWEEN spans.first_date AND spans.last_date
  WHERE days.date >= DATE '0001-01-01' /* buckets_from */
  GROUP BY days.date, days.organization_id
),
filled AS (
  SELECT
    days.*,
    COALESCE(NOT shown.is_shown, FALSE) AS is_withheld,
    IF(days.is_loaded, COALESCE(counts.daily, 0), NULL) AS daily,
    COALESCE(counts.weekly, 0) AS weekly,
    COALESCE(counts.monthly, 0) AS monthly,
    COALESCE(counts.new_people, 0) AS new_people,
    COALESCE(counts.returning_people, 0) AS returning_people,
    COALESCE(counts.gone_quiet, 0) AS gone_quiet,
    eligible.people AS eligible_people,
    eligible.active_people AS eligible_active_people
  FROM `claude_code.bucket_days` AS days
  LEFT JOIN `claude_code.shown_measures` AS shown
    ON shown.organization_id = days.organization_id AND shown.bucket_start = days.bucket_start
    AND shown.measure = 'sessions'
  LEFT JOIN counts ON counts.organization_id = days.organization_id AND counts.date = days.date
  LEFT JOIN eligible ON eligible.organization_id = days.organization_id AND eligible.date = days.date
  WHERE days.date >= DATE '0001-01-01' /* buckets_from */
),
means AS (
  SELECT
    filled.*,
    AVG(daily) OVER (
      PARTITION BY organization_id ORDER BY date ROWS BETWEEN 27 PRECEDING AND CURRENT ROW
    ) AS mean_daily
  FROM filled
)
SELECT
  date,
  organization_id,
  is_loaded,
  is_complete,
  is_withheld,
  IF(is_withheld, NULL, daily) AS daily_active_people,
  IF(weekly BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, weekly) AS weekly_active_people,
  days_loaded_7,
  IF(monthly BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, monthly) AS monthly_active_people,
  days_loaded_28,
  IF(monthly BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, mean_daily) AS mean_daily_active_people,
  IF(monthly BETWEEN 1 AND 5 /* min_group_size */ - 1, NULL, SAFE_DIVIDE(mean_daily, monthly)) AS stickiness,
  IF(is_loaded AND days_of_history >= 28 AND NOT is_withheld, new_people, NULL) AS new_people,
  IF(is_loaded AND days_of_history >= 28 AND NOT is_withheld, returning_people, NULL) AS returning_people,
  IF(days_of_history >= 56, gone_quiet, NULL) AS gone_quiet_people,
  days_loaded_57,
  eligible_people,
  eligible_active_people,
  SAFE_DIVIDE(eligible_active_people, eligible_people) AS adoption_rate,
  eligible_people - eligible_active_people AS idle_seats
FROM means
