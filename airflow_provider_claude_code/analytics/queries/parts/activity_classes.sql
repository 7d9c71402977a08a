-- How regularly people work with Claude Code: one row per organisation, for the 28 days that end with the last period
-- of `periods`. Each person (user_actor) who was active in them is counted once.
--
-- organization_id: the organisation.
-- last_day: the last of the 28 days (UTC).
-- days_loaded: how many of them have a complete load.
-- new_people: people whose first active day in the loaded history is one of these days; null if the history begins less
--   than 28 days before them. All people are then in the other classes.
-- people_12_days: the others with 12 or more active days.
-- people_4_days: the others with 4 to 11 active days.
-- people_1_day: the others with 1 to 3 active days.
-- eligible_people: people who are eligible on the last day; null if there are none.
-- eligible_active_people: eligible people who were active on any of the 28 days; null in the same case.
WITH known AS (
  SELECT lasts.organization_id, lasts.last_day, days.days_loaded_28, days.days_of_history >= 55 AS knows_new
  FROM `claude_code.last_days` AS lasts
  JOIN `claude_code.days` AS days ON days.organization_id = lasts.organization_id AND days.date = lasts.last_day
),
people AS (
  SELECT
    days.organization_id,
    days.actor,
    COUNT(DISTINCT IF(days.date > DATE_SUB(known.last_day, INTERVAL 28 DAY), days.date, NULL)) AS active_days,
    LOGICAL_AND(known.knows_new AND days.date > DATE_SUB(known.last_day, INTERVAL 28 DAY)) AS is_new
  FROM (
    SELECT organization_id, actor, date
    FROM `claude_code.actor_days`
    WHERE is_active AND actor_type = 'user_actor'
    UNION ALL
    SELECT organization_id, actor, last_date FROM `claude_code.earlier_people`
  ) AS days
  JOIN known ON known.organization_id = days.organization_id
  WHERE days.date <= known.last_day
  GROUP BY days.organization_id, days.actor
),
classes AS (
  SELECT
    organization_id,
    COUNT(IF(is_new, 1, NULL)) AS new_people,
    COUNT(IF(NOT is_new AND active_days >= 12, 1, NULL)) AS people_12_days,
    COUNT(IF(NOT is_new AND active_days BETWEEN 4 AND 11, 1, NULL)) AS people_4_days,
    COUNT(IF(NOT is_new AND active_days BETWEEN 1 AND 3, 1, NULL)) AS people_1_day
  FROM people
  GROUP BY organization_id
),
eligible AS (
  SELECT seated.organization_id, COUNT(*) AS people, COUNT(IF(people.active_days > 0, 1, NULL)) AS active_people
  FROM (
    SELECT DISTINCT seats.organization_id, seats.actor
    FROM `claude_code.seats` AS seats
    JOIN known
      ON known.organization_id = seats.organization_id AND known.last_day BETWEEN seats.valid_from AND seats.valid_to
  ) AS seated
  LEFT JOIN people ON people.organization_id = seated.organization_id AND people.actor = seated.actor
  GROUP BY seated.organization_id
)
SELECT
  known.organization_id,
  known.last_day,
  known.days_loaded_28 AS days_loaded,
  IF(known.knows_new, COALESCE(classes.new_people, 0), NULL) AS new_people,
  COALESCE(classes.people_12_days, 0) AS people_12_days,
  COALESCE(classes.people_4_days, 0) AS people_4_days,
  COALESCE(classes.people_1_day, 0) AS people_1_day,
  eligible.people AS eligible_people,
  eligible.active_people AS eligible_active_people
FROM known
LEFT JOIN classes ON classes.organization_id = known.organization_id
LEFT JOIN eligible ON eligible.organization_id = known.organization_id
