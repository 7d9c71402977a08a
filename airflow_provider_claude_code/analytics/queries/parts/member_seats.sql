-- The memberships, read instead of `seats` if there is no roster: one row per person, address and unbroken run of
-- snapshots. Days without a snapshot do not break a run. Somebody who leaves and comes back, or who gets another
-- address, has two rows.
--
-- organization_id: the organisation.
-- actor: the person's address as it is compared.
-- valid_from: the day of the run's first snapshot; for members of the very first snapshot, the day on which they
--   joined.
-- valid_to: the day before the first snapshot without the person; 9999-12-31 for members of the newest snapshot.
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
