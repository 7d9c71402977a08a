-- Which of the groups in `group_members` are folded together, so that nothing that is shown, nor any sum or difference
-- of it, is of fewer than min_group_size people. It is read like a function of a table: `group_members` is a step of the
-- model that reads it, with one row per dimension, period, organization_id, name (of the group), person and link.
-- `person` is null for somebody who adds nothing to what is shown.
--
-- Where the same amounts are shown by something else as well, `link` says what that is for the row, such as the team;
-- otherwise it is null. Then a person counts for a group only if the largest group has the same person with the same
-- link: a group that nearly only one team has could be subtracted from the team.
--
-- is_small: the group has fewer people that count; or it is the smallest of the others, and the smaller ones are
--   together still fewer people.
-- is_hidden: all groups of the dimension are together of fewer people, so that none is shown.
-- folded_name: the name of all small groups together, null for others.
WITH distinct_members AS (
  SELECT DISTINCT dimension, period, organization_id, name, person, link FROM `claude_code.group_members`
),
largest AS (
  SELECT dimension, period, organization_id, name
  FROM (
    SELECT dimension, period, organization_id, name, COUNT(person) AS people
    FROM (SELECT DISTINCT dimension, period, organization_id, name, person FROM distinct_members)
    GROUP BY dimension, period, organization_id, name
  )
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY dimension, period, organization_id ORDER BY people DESC, name) = 1
),
links_of_largest AS (
  SELECT members.dimension, members.period, members.organization_id, members.person, members.link
  FROM distinct_members AS members
  JOIN largest
    ON largest.dimension = members.dimension AND largest.period = members.period
    AND largest.organization_id = members.organization_id AND largest.name = members.name
  WHERE members.link IS NOT NULL
),
people AS (
  SELECT
    members.dimension,
    members.period,
    members.organization_id,
    members.name,
    members.person,
    LOGICAL_OR(members.person IS NOT NULL AND (members.link IS NULL OR linked.link IS NOT NULL)) AS counts
  FROM distinct_members AS members
  LEFT JOIN links_of_largest AS linked
    ON linked.dimension = members.dimension AND linked.period = members.period
    AND linked.organization_id = members.organization_id AND linked.person = members.person
    AND linked.link = members.link
  GROUP BY 1, 2, 3, 4, 5
),
sized AS (
  SELECT
    *,
    -- 1 folds nothing, not even a group of people of whom none counts.
    counted_people < 5 /* min_group_size */ AND 5 /* min_group_size */ > 1 AS has_few
  FROM (
    SELECT
      dimension, period, organization_id, name, COUNT(person) AS people, COUNTIF(counts) AS counted_people
    FROM people
    GROUP BY dimension, period, organization_id, name
  )
),
wholes AS (
  SELECT
    dimension, period, organization_id, COUNT(person) AS people_of_all, COUNTIF(counts_in_few) AS people_of_few
  FROM (
    SELECT
      people.dimension, people.period, people.organization_id, people.person,
      LOGICAL_OR(people.counts AND sized.has_few) AS counts_in_few
    FROM people
    JOIN sized
      ON sized.dimension = people.dimension AND sized.period = people.period
      AND sized.organization_id = people.organization_id AND sized.name = people.name
    GROUP BY 1, 2, 3, 4
  )
  GROUP BY dimension, period, organization_id
),
marked AS (
  SELECT
    sized.dimension,
    sized.period,
    sized.organization_id,
    sized.name,
    wholes.people_of_all < 5 /* min_group_size */ AND 5 /* min_group_size */ > 1 AS is_hidden,
    sized.has_few
      OR (
        COUNTIF(sized.has_few) OVER (PARTITION BY sized.dimension, sized.period, sized.organization_id) > 0
        AND wholes.people_of_few < 5 /* min_group_size */
        AND ROW_NUMBER() OVER (
          PARTITION BY sized.dimension, sized.period, sized.organization_id, sized.has_few
          ORDER BY sized.counted_people, sized.people, sized.name
        ) = 1
      ) AS is_small
  FROM sized
  JOIN wholes
    ON wholes.dimension = sized.dimension AND wholes.period = sized.period
    AND wholes.organization_id = sized.organization_id
)
SELECT *, IF(is_small, '(small groups)' /* small_groups */, NULL) AS folded_name
FROM marked
