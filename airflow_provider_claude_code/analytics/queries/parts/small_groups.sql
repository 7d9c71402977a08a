-- Which of the groups in `group_members` are folded together, so that no number that is shown, and no sum or difference
-- of such numbers, is about fewer than min_group_size people. It is read like a table function: `group_members` is a
-- step of the model that reads it, with one row per dimension, period, organization_id, name (of the group), person and
-- link. `person` is null for somebody who does not contribute to what is shown.
--
-- If the same amounts are also shown by something else, such as the team, `link` has its value for the row; otherwise
-- it is null. A person then counts for a group only if the largest group has the same person with the same link.
-- Otherwise a group whose people are nearly all in one team could be subtracted from the team.
--
-- is_small: whether the group has fewer people that count; or whether it is the smallest of the others, and the smaller
--   ones together still have fewer people.
-- is_hidden: whether all groups of the dimension together have fewer people, so that none is shown.
-- folded_name: the name of all small groups together; null for others.
WITH people AS (
  SELECT
    dimension, period, organization_id, name, person, link,
    person IS NOT NULL
      AND ROW_NUMBER() OVER (PARTITION BY dimension, period, organization_id, name, person ORDER BY link) = 1
      AS is_first_in_group,
    person IS NOT NULL
      AND ROW_NUMBER() OVER (PARTITION BY dimension, period, organization_id, person ORDER BY name, link) = 1
      AS is_first_of_all
  FROM (SELECT DISTINCT dimension, period, organization_id, name, person, link FROM `claude_code.group_members`)
),
sized AS (
  SELECT
    *,
    COUNTIF(is_first_in_group) OVER (PARTITION BY dimension, period, organization_id, name) AS people,
    COUNTIF(is_first_of_all) OVER (PARTITION BY dimension, period, organization_id) AS people_of_all
  FROM people
),
compared AS (
  SELECT
    *,
    FIRST_VALUE(name) OVER (PARTITION BY dimension, period, organization_id ORDER BY people DESC, name) AS largest
  FROM sized
),
linked AS (
  SELECT
    *,
    person IS NOT NULL AND (
      link IS NULL
      OR COUNTIF(name = largest) OVER (PARTITION BY dimension, period, organization_id, person, link) > 0
    ) AS counts
  FROM compared
),
counted AS (
  SELECT
    *,
    COUNTIF(is_first_that_counts) OVER (PARTITION BY dimension, period, organization_id, name) AS counted_people
  FROM (
    SELECT
      *,
      counts
        AND ROW_NUMBER() OVER (PARTITION BY dimension, period, organization_id, name, person, counts ORDER BY link) = 1
        AS is_first_that_counts
    FROM linked
  )
),
judged AS (
  -- 1 folds nothing, not even a group of people of whom none counts.
  SELECT *, counted_people < 5 /* min_group_size */ AND 5 /* min_group_size */ > 1 AS has_few
  FROM counted
),
grouped AS (
  SELECT
    dimension, period, organization_id, name, people, people_of_all, counted_people, has_few,
    COUNTIF(is_first_of_few) AS people_of_few_alone
  FROM (
    SELECT
      *,
      counts AND has_few
        AND ROW_NUMBER() OVER (
          PARTITION BY dimension, period, organization_id, person, counts AND has_few ORDER BY name, link
        ) = 1 AS is_first_of_few
    FROM judged
  )
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
),
marked AS (
  SELECT
    dimension,
    period,
    organization_id,
    name,
    people_of_all < 5 /* min_group_size */ AND 5 /* min_group_size */ > 1 AS is_hidden,
    has_few
      OR (
        COUNTIF(has_few) OVER (PARTITION BY dimension, period, organization_id) > 0
        AND SUM(people_of_few_alone) OVER (PARTITION BY dimension, period, organization_id) < 5 /* min_group_size */
        AND ROW_NUMBER() OVER (
          PARTITION BY dimension, period, organization_id, has_few ORDER BY counted_people, people, name
        ) = 1
      ) AS is_small
  FROM grouped
)
SELECT *, IF(is_small, '(small groups)' /* small_groups */, NULL) AS folded_name
FROM marked
