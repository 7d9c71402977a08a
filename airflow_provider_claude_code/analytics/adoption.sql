-- How many people use Claude Code, and how regularly: one row per UTC day and organisation. People are user_actor;
-- active means any session, commit, pull request, line, tool action or token. A day that is not loaded counts as a day
-- without activity in the windows that reach over it: see how many days each window has loaded before reading a fall.
--
-- date: The UTC day.
-- organization_id: The organisation.
-- is_loaded: Whether the day was ever loaded.
-- is_complete: Whether its newest load read it after it was complete.
-- daily_active_people: People active on the day; null when it is not loaded.
-- weekly_active_people: People active on any of the 7 days that end with this one.
-- days_loaded_7: How many of these 7 days have a complete load.
-- monthly_active_people: People active on any of the 28 days that end with this one.
-- days_loaded_28: How many of these 28 days have a complete load.
-- mean_daily_active_people: Mean of daily_active_people over the loaded days of the 28.
-- stickiness: mean_daily_active_people of monthly_active_people, 0 to 1; null when nobody was active.
-- new_people: People whose first active day in the loaded history is this one; null on the first 28 days of it, and on
--   a day that is not loaded.
-- returning_people: People active today who were last active more than 28 days ago; null on the same days.
-- gone_quiet_people: People active 29 to 56 days ago and not since; null on the first 56 days.
-- days_loaded_57: How many of the 57 days that these look at have a complete load.
-- eligible_people: People on the roster on that day; null when it names nobody, as without a roster.
-- eligible_active_people: Those of them who were active on any of the 28 days.
-- adoption_rate: eligible_active_people of eligible_people, 0 to 1.
-- idle_seats: Eligible people who were not active on any of the 28 days.
WITH active AS (
  SELECT DISTINCT date, organization_id, actor
  FROM `claude_code.actor_days`
  WHERE is_active AND actor_type = 'user_actor'
),
steps AS (
  SELECT
    date,
    organization_id,
    actor,
    LAG(date) OVER (PARTITION BY organization_id, actor ORDER BY date) AS previous_date,
    LEAD(date) OVER (PARTITION BY organization_id, actor ORDER BY date) AS next_date
  FROM active
),
-- Each person on each day that has a day of activity at most 56 days back: how long ago the latest one was.
recency AS (
  SELECT
    day AS date,
    steps.organization_id,
    steps.actor,
    DATE_DIFF(day, steps.date, DAY) AS days_since,
    DATE_DIFF(steps.date, steps.previous_date, DAY) AS days_between
  FROM steps
  CROSS JOIN UNNEST(GENERATE_DATE_ARRAY(
    steps.date,
    LEAST(DATE_ADD(steps.date, INTERVAL 56 DAY), DATE_SUB(COALESCE(steps.next_date, DATE '9999-12-31'), INTERVAL 1 DAY))
  )) AS day
),
counts AS (
  SELECT
    date,
    organization_id,
    COUNTIF(days_since = 0) AS daily,
    COUNTIF(days_since <= 6) AS weekly,
    COUNTIF(days_since <= 27) AS monthly,
    COUNTIF(days_since = 0 AND days_between IS NULL) AS new_people,
    COUNTIF(days_since = 0 AND days_between > 28) AS returning_people,
    COUNTIF(days_since BETWEEN 29 AND 56) AS gone_quiet
  FROM recency
  GROUP BY date, organization_id
),
roster AS (
  SELECT
    actor_id /* address */ AS actor,
    COALESCE(valid_from, DATE '0001-01-01') AS valid_from,
    COALESCE(valid_to, DATE '9999-12-31') AS valid_to
  FROM `claude_code.roster`
),
eligible AS (
  SELECT
    days.date,
    days.organization_id,
    COUNT(DISTINCT roster.actor) AS people,
    COUNT(DISTINCT IF(recency.days_since <= 27, roster.actor, NULL)) AS active_people
  FROM `claude_code.days` AS days
  -- A row without an address is nobody's.
  JOIN roster ON days.date BETWEEN roster.valid_from AND roster.valid_to AND roster.actor <> ''
  LEFT JOIN recency
    ON recency.organization_id = days.organization_id AND recency.date = days.date AND recency.actor = roster.actor
  GROUP BY days.date, days.organization_id
),
filled AS (
  SELECT
    days.*,
    IF(days.is_loaded, COALESCE(counts.daily, 0), NULL) AS daily,
    COALESCE(counts.weekly, 0) AS weekly,
    COALESCE(counts.monthly, 0) AS monthly,
    COALESCE(counts.new_people, 0) AS new_people,
    COALESCE(counts.returning_people, 0) AS returning_people,
    COALESCE(counts.gone_quiet, 0) AS gone_quiet,
    eligible.people AS eligible_people,
    eligible.active_people AS eligible_active_people
  FROM `claude_code.days` AS days
  LEFT JOIN counts ON counts.organization_id = days.organization_id AND counts.date = days.date
  LEFT JOIN eligible ON eligible.organization_id = days.organization_id AND eligible.date = days.date
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
  daily AS daily_active_people,
  weekly AS weekly_active_people,
  days_loaded_7,
  monthly AS monthly_active_people,
  days_loaded_28,
  mean_daily AS mean_daily_active_people,
  SAFE_DIVIDE(mean_daily, monthly) AS stickiness,
  IF(is_loaded AND days_of_history >= 28, new_people, NULL) AS new_people,
  IF(is_loaded AND days_of_history >= 28, returning_people, NULL) AS returning_people,
  IF(days_of_history >= 56, gone_quiet, NULL) AS gone_quiet_people,
  days_loaded_57,
  eligible_people,
  eligible_active_people,
  SAFE_DIVIDE(eligible_active_people, eligible_people) AS adoption_rate,
  eligible_people - eligible_active_people AS idle_seats
FROM means
