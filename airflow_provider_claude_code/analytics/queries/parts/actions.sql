-- The rows of `tool_usage` that are read: one row per record and tool.
--
-- actor: the actor's id as it is compared. Actors without an id count as one.
-- largest_count: the larger number of accepted and rejected actions.
-- is_used: whether it is above 0.
-- person: who counts as a person when groups are folded: the actor, with its type; null for the API key of a machine.
SELECT *, largest_count > 0 AS is_used
FROM (
  SELECT *, GREATEST(accepted, rejected) AS largest_count
  FROM `claude_code.tool_usage_rows`
)
