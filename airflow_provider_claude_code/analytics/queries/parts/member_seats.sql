-- The members' runs of snapshots, read in the place of `seats` where there is no roster: one row per person, address and
-- unbroken run of the snapshots that there are, so days without a snapshot break none. Who leaves and comes back has two
-- rows, and so has who gets another address.
--
-- organization_id: the organisation.
-- actor: the person's address as it is compared.
-- valid_from: the day of the run's first snapshot; for members of the very first snapshot the day on which they joined.
-- valid_to: the day before the first snapshot without them; the last there is for members of the newest snapshot.
SELECT
  organization_id,
  actor,
  -- A person may join after the day has begun that a snapshot is filed under.
  IF(MIN(number) = 1, LEAST(MIN(added_on), MIN(date)), MIN(date)) AS valid_from,
  CAST(IF(LOGICAL_OR(next_date IS NULL), DATE '9999-12-31', DATE_SUB(MAX(next_date), INTERVAL 1 DAY)) AS DATE)
    AS valid_to
FROM (
  SELECT
    members.*,
    -- The same in each of the snapshots that follow each other.
    number - DENSE_RANK() OVER (PARTITION BY organization_id, user_id, actor ORDER BY number) AS run
  FROM `claude_code.member_days` AS members
)
WHERE actor <> ''
GROUP BY organization_id, user_id, actor, run
