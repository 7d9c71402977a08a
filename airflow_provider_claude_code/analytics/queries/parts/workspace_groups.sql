-- The workspaces of API keys as groups, read instead of `actor_groups` if there is no mapping: one row per name of a
-- key. Names of keys in several workspaces have no group, nor have keys of the organisation or of the default
-- workspace. People have no group. Owners of keys count as people: a workspace whose keys were created by fewer than
-- min_group_size people is no group, unless service accounts created all of them.
--
-- actor_type: api_actor.
-- actor: the key's name.
-- team: the name of its workspace.
-- cost_centre: null.
-- group_name: the name of the workspace, written as in `actor_groups`.
-- valid_from: 0001-01-01.
-- valid_to: 9999-12-31.
-- is_conflict: false.
WITH named_keys AS (
  SELECT
    *,
    MIN(COALESCE(workspace_id, '')) OVER (PARTITION BY name) = MAX(COALESCE(workspace_id, '')) OVER (PARTITION BY name)
      AND MIN(organization_id) OVER (PARTITION BY name) = MAX(organization_id) OVER (PARTITION BY name) AS has_one_place,
    COUNTIF(is_first_of_owner) OVER (PARTITION BY organization_id, workspace_id) AS owners
  FROM (
    SELECT
      organization_id, workspace_id, name,
      created_by_user_id IS NOT NULL
        AND ROW_NUMBER() OVER (PARTITION BY organization_id, workspace_id, created_by_user_id ORDER BY name) = 1
        AS is_first_of_owner
    FROM `claude_code.key_days`
  )
)
SELECT DISTINCT
  'api_actor' AS actor_type,
  named_keys.name AS actor,
  workspaces.name AS team,
  CAST(NULL AS STRING) AS cost_centre,
  REPLACE(COALESCE(workspaces.name, '(unmapped)' /* unmapped */), '/', '//') AS group_name,
  DATE '0001-01-01' AS valid_from,
  DATE '9999-12-31' AS valid_to,
  FALSE AS is_conflict
FROM named_keys
JOIN `claude_code.newest_workspaces` AS workspaces
  ON workspaces.organization_id = named_keys.organization_id AND workspaces.workspace_id = named_keys.workspace_id
WHERE named_keys.name <> '' AND named_keys.has_one_place AND (named_keys.owners = 0 OR named_keys.owners >= 5 /* min_group_size */)
