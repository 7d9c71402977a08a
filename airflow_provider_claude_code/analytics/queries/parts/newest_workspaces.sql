-- The name of each workspace: one row per organisation and workspace, from the newest snapshot that has it.
--
-- organization_id: the organisation of the key that loaded the snapshot.
-- workspace_id: the workspace's id.
-- name: its name.
SELECT loads.organization_id, workspaces.workspace_id, workspaces.name
FROM `claude_code.workspaces` AS workspaces
JOIN `claude_code.newest_loads` AS loads ON loads.date = workspaces.date AND loads.loaded_at = workspaces.loaded_at
WHERE loads.table_name = 'workspaces' AND workspaces.date >= DATE '2025-01-01' /* since */
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY loads.organization_id, workspaces.workspace_id ORDER BY workspaces.date DESC
) = 1
