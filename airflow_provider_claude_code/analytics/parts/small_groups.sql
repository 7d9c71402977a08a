-- Of the groups in `members`, whether each is to be folded together with others, so that no row shows what fewer
-- than min_group_size people do. `members` is a query of the model that reads this: one row per dimension, period,
-- organization_id, name (of the group) and person. `person` is null for somebody who adds nothing to what is shown.
--
-- is_small: the group has fewer people; or it is the smallest of the others, and the smaller ones are together still
--   fewer people.
WITH sizes AS (
  SELECT dimension, period, organization_id, name, COUNT(person) AS people
  FROM members
  GROUP BY dimension, period, organization_id, name
),
folded AS (
  SELECT members.dimension, members.period, members.organization_id, COUNT(DISTINCT members.person) AS people
  FROM members
  JOIN sizes
    ON sizes.dimension = members.dimension AND sizes.period = members.period
    AND sizes.organization_id = members.organization_id AND sizes.name = members.name
  WHERE GREATEST(sizes.people, 1) < 5 /* min_group_size */
  GROUP BY members.dimension, members.period, members.organization_id
)
SELECT
  sizes.dimension,
  sizes.period,
  sizes.organization_id,
  sizes.name,
  -- 1 folds nothing, not even a group of people of whom none counts.
  GREATEST(sizes.people, 1) < 5 /* min_group_size */
    OR (
      COALESCE(folded.people < 5 /* min_group_size */, FALSE)
      AND ROW_NUMBER() OVER (
        PARTITION BY sizes.dimension, sizes.period, sizes.organization_id,
          GREATEST(sizes.people, 1) < 5 /* min_group_size */
        ORDER BY sizes.people, sizes.name
      ) = 1
    ) AS is_small
FROM sizes
LEFT JOIN folded
  ON folded.dimension = sizes.dimension AND folded.period = sizes.period
  AND folded.organization_id = sizes.organization_id
