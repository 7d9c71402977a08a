-- Whether the days of each week or month are shown. They are hidden if a reader could see what few people did on one of
-- them, or compute it from days and breakdowns. It is read like a table function: `bucket_members` is a step of the
-- query that reads it, with the columns measure, organization_id, bucket_start, person and days, and a row for each
-- value of a breakdown that the person contributes to, such as each tool. `days` has a bit for each day of the week or
-- month on which the person did so; the bit of the first day is 1.
--
-- A person counts on a day if the person did the same on the day of the week or month that has the most people. Days
-- are shown if each has no people at all, or at least min_group_size that count. As long as the week or month is not
-- over, those of the one before must be shown as well, since a later day may have few people.
--
-- measure: what is counted: sessions, tools, api or subscription.
-- organization_id: the organisation.
-- bucket_start: first day of the week or month.
-- is_shown: whether its days are shown.
WITH masks AS (
  SELECT measure, organization_id, bucket_start, days, COUNT(*) AS people
  FROM (
    SELECT measure, organization_id, bucket_start, person, BIT_OR(days) AS days
    FROM `claude_code.bucket_members`
    GROUP BY measure, organization_id, bucket_start, person
  )
  GROUP BY measure, organization_id, bucket_start, days
),
sizes AS (
  SELECT measure, organization_id, bucket_start, day, SUM(people) AS people
  FROM (
    SELECT masks.*, CAST(1 AS INT64) << day_number AS day
    FROM masks
    CROSS JOIN UNNEST(GENERATE_ARRAY(0, 30)) AS day_number
  )
  WHERE days & day <> 0
  GROUP BY measure, organization_id, bucket_start, day
),
compared AS (
  SELECT measure, organization_id, bucket_start, largest_day, BIT_OR(day) AS days_with_people
  FROM (
    SELECT
      *,
      FIRST_VALUE(day) OVER (
        PARTITION BY measure, organization_id, bucket_start ORDER BY people DESC, day
      ) AS largest_day
    FROM sizes
  )
  GROUP BY measure, organization_id, bucket_start, largest_day
),
counted_masks AS (
  SELECT measure, organization_id, bucket_start, days_with_people, days, COUNT(*) AS people
  FROM (
    SELECT
      members.measure, members.organization_id, members.bucket_start, members.person, compared.days_with_people,
      BIT_OR(members.days) AS days
    FROM `claude_code.bucket_members` AS members
    JOIN compared
      ON compared.measure = members.measure AND compared.organization_id = members.organization_id
      AND compared.bucket_start = members.bucket_start
    WHERE members.days & compared.largest_day <> 0
    GROUP BY 1, 2, 3, 4, 5
  )
  GROUP BY measure, organization_id, bucket_start, days_with_people, days
),
counted AS (
  SELECT measure, organization_id, bucket_start, day, SUM(IF(days & day <> 0, people, 0)) AS people
  FROM (
    SELECT counted_masks.*, CAST(1 AS INT64) << day_number AS day
    FROM counted_masks
    CROSS JOIN UNNEST(GENERATE_ARRAY(0, 30)) AS day_number
  )
  WHERE days_with_people & day <> 0
  GROUP BY measure, organization_id, bucket_start, day
),
judged AS (
  SELECT
    ends.measure,
    ends.organization_id,
    ends.bucket_start,
    ends.is_over,
    COALESCE(few.least_people, 5 /* min_group_size */) >= 5 /* min_group_size */ OR 5 /* min_group_size */ = 1 AS is_safe,
    COUNT(few.least_people) OVER (PARTITION BY ends.measure, ends.organization_id) > 0 AS has_people
  FROM (
    SELECT measure, organization_id, bucket_start, LOGICAL_OR(date = bucket_end AND is_complete) AS is_over
    FROM `claude_code.bucket_days`
    CROSS JOIN UNNEST(['sessions', 'tools', 'api', 'subscription']) AS measure
    WHERE date >= DATE '0001-01-01' /* buckets_from */
    GROUP BY measure, organization_id, bucket_start
  ) AS ends
  LEFT JOIN (
    SELECT measure, organization_id, bucket_start, MIN(people) AS least_people
    FROM counted
    GROUP BY measure, organization_id, bucket_start
  ) AS few
    ON few.measure = ends.measure AND few.organization_id = ends.organization_id
    AND few.bucket_start = ends.bucket_start
)
SELECT
  measure,
  organization_id,
  bucket_start,
  is_safe AND (
    is_over OR COALESCE(
      LAG(is_safe) OVER (PARTITION BY measure, organization_id ORDER BY bucket_start), 5 /* min_group_size */ = 1
    )
  ) AS is_shown
FROM judged
WHERE has_people
