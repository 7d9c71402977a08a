-- The rows of `usage` that are read: one row per record.
--
-- actor: the actor's id as it is compared. Actors without an id count as one.
-- person: who counts as a person when groups are folded: the actor, with its type; null for the API key of a machine.
-- largest_tokens: the largest number of tokens of a kind; 0 without any.
-- largest_count: the largest number among sessions, commits, pull requests, lines, tool actions and tokens.
-- is_active: whether it is above 0.
SELECT *, largest_count > 0 AS is_active
FROM (
  SELECT
    *,
    GREATEST(
      num_sessions, lines_of_code_added, lines_of_code_removed, commits_by_claude_code, pull_requests_by_claude_code,
      tool_actions_accepted, tool_actions_rejected, largest_tokens
    ) AS largest_count
  FROM (
    SELECT
      *,
      GREATEST(
        COALESCE(input_tokens, 0), COALESCE(output_tokens, 0), COALESCE(cache_read_tokens, 0),
        COALESCE(cache_creation_tokens, 0)
      ) AS largest_tokens
    FROM `claude_code.usage_rows`
  )
)
