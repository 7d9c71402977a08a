-- Which members of the organisation use Claude Code: one row per organisation, role and week or month
-- (breakdown_grain), from the last snapshot of members in this week or month (with a min_group_size of 1, from each
-- snapshot). A Console member does not necessarily have a paid seat, so an idle member is not an idle seat. People who
-- work with claude.ai seats are not in the Claude Code Analytics API, so they look idle. People are identified by id:
-- usage counts under every address that a snapshot has for the person. Roles of fewer than min_group_size members are
-- combined into "(small groups)".
--
-- key: date, organization_id, role
-- date: The UTC day of the snapshot.
-- organization_id: The organisation.
-- role: The role in the organisation.
-- members: Members with the role.
-- signed_in_members: Members with the role who have signed in to Claude Code with a Console account, which makes them
--   members of the workspace Claude Code; null when the snapshot has no such workspace.
-- active_members: Members with any session, commit, pull request, line, tool action or token on any of the 28 days that
--   end with this one; null when no usage of these days is loaded.
-- idle_members: Members without such activity; null in the same case.
-- days_loaded_28: How many of the 28 days have a complete load of usage. The day of the snapshot is not over when the
--   snapshot is taken.
WITH addresses AS (
  SELECT DISTINCT organization_id, user_id, actor
  FROM `claude_code.member_days`
  WHERE actor <> ''
),
activity AS (
  SELECT
    organization_id, user_id, date,
    LEAD(date) OVER (PARTITION BY organization_id, user_id ORDER BY date) AS next_date
  FROM (
    SELECT DISTINCT addresses.organization_id, addresses.user_id, days.date
    FROM `claude_code.actor_days` AS days
    JOIN addresses ON addresses.organization_id = days.organization_id AND addresses.actor = days.actor
    WHERE days.actor_type = 'user_actor' AND days.is_active
  )
),
-- One row per person and snapshot at most: each has one latest day of activity.
active AS (
  SELECT snapshots.organization_id, snapshots.date, activity.user_id
  FROM activity
  JOIN `claude_code.snapshots` AS snapshots
    ON snapshots.organization_id = activity.organization_id
    AND snapshots.date BETWEEN activity.date AND LEAST(
      DATE_ADD(activity.date, INTERVAL 27 DAY),
      DATE_SUB(COALESCE(activity.next_date, DATE '9999-12-31'), INTERVAL 1 DAY)
    )
),
workspaces_of_claude_code AS (
  SELECT DISTINCT snapshots.organization_id, snapshots.date, snapshots.loaded_at, workspaces.workspace_id
  FROM `claude_code.snapshots` AS snapshots
  JOIN `claude_code.workspaces` AS workspaces
    ON workspaces.date = snapshots.date AND workspaces.loaded_at = snapshots.loaded_at
  WHERE workspaces.date >= DATE '2025-01-01' /* since */ AND workspaces.is_claude_code
    AND workspaces.archived_at IS NULL
),
signed_in AS (
  SELECT DISTINCT workspaces.organization_id, workspaces.date, signed.user_id
  FROM workspaces_of_claude_code AS workspaces
  JOIN `claude_code.workspace_members` AS signed
    ON signed.date = workspaces.date AND signed.loaded_at = workspaces.loaded_at
    AND signed.workspace_id = workspaces.workspace_id
  WHERE signed.date >= DATE '2025-01-01' /* since */
),
known AS (
  SELECT
    snapshots.organization_id,
    snapshots.date,
    COUNTIF(days.is_complete) AS days_loaded_28,
    LOGICAL_OR(days.is_loaded) AS has_usage
  FROM `claude_code.snapshots` AS snapshots
  LEFT JOIN `claude_code.days` AS days
    ON days.organization_id = snapshots.organization_id
    AND days.date BETWEEN DATE_SUB(snapshots.date, INTERVAL 27 DAY) AND snapshots.date
  GROUP BY snapshots.organization_id, snapshots.date
),
last_snapshots AS (
  SELECT organization_id, MAX(date) AS date
  FROM (SELECT organization_id, date, date /* bucket_start */ AS bucket_start FROM `claude_code.snapshots`)
  -- With a min_group_size of 1 each of them.
  GROUP BY organization_id, bucket_start, IF(1 = 5 /* min_group_size */, date, NULL)
),
people AS (
  SELECT
    members.date,
    members.organization_id,
    members.role,
    members.user_id,
    signed_in.user_id IS NOT NULL AS is_signed_in,
    active.user_id IS NOT NULL AS is_active
  FROM `claude_code.member_days` AS members
  JOIN last_snapshots ON last_snapshots.organization_id = members.organization_id AND last_snapshots.date = members.date
  LEFT JOIN signed_in
    ON signed_in.organization_id = members.organization_id AND signed_in.date = members.date
    AND signed_in.user_id = members.user_id
  LEFT JOIN active
    ON active.organization_id = members.organization_id AND active.date = members.date
    AND active.user_id = members.user_id
),
roles AS (
  SELECT 'role' AS dimension, date AS period, organization_id, role AS name, user_id AS person,
    CAST(NULL AS STRING) AS link
  FROM people
),
sums AS (
  SELECT
    people.date,
    people.organization_id,
    COALESCE(folding.folded_name, people.role) AS role,
    COUNT(*) AS members,
    COUNTIF(people.is_signed_in) AS signed_in_members,
    COUNTIF(people.is_active) AS active_members
  FROM people
  JOIN `claude_code.small_groups`(group_members => TABLE roles) AS folding
    ON folding.period = people.date AND folding.organization_id = people.organization_id
    AND folding.name = people.role
  WHERE NOT folding.is_hidden
  GROUP BY 1, 2, 3
)
SELECT
  sums.date,
  sums.organization_id,
  sums.role,
  sums.members,
  IF(workspaces.date IS NULL, NULL, sums.signed_in_members) AS signed_in_members,
  IF(known.has_usage, sums.active_members, NULL) AS active_members,
  IF(known.has_usage, sums.members - sums.active_members, NULL) AS idle_members,
  COALESCE(known.days_loaded_28, 0) AS days_loaded_28
FROM sums
JOIN known ON known.organization_id = sums.organization_id AND known.date = sums.date
LEFT JOIN (SELECT DISTINCT organization_id, date FROM workspaces_of_claude_code) AS workspaces
  ON workspaces.organization_id = sums.organization_id AND workspaces.date = sums.date
