-- When people were last active before the days that a report reads whole: one row per organisation and person.
--
-- organization_id: the organisation.
-- actor: the person's id as it is compared.
-- last_date: the last such UTC day.
SELECT organization_id, actor, MAX(date) AS last_date
FROM (
  SELECT organization_id, date, actor_id /* comparable */ AS actor
  FROM (
    -- What is compared is computed once for each address.
    SELECT days.organization_id, usage.actor_type, usage.actor_id, MAX(usage.date) AS date
    FROM `claude_code.usage` AS usage
    JOIN `claude_code.days` AS days ON days.organization_id = usage.organization_id AND days.date = usage.date
    WHERE days.is_loaded
      AND usage.date >= DATE '2025-01-01' /* since */ AND usage.date < DATE '2025-01-01' /* rows_from */
      AND usage.actor_type = 'user_actor'
      AND GREATEST(
        num_sessions, lines_of_code_added, lines_of_code_removed, commits_by_claude_code,
        pull_requests_by_claude_code, tool_actions_accepted, tool_actions_rejected, COALESCE(input_tokens, 0),
        COALESCE(output_tokens, 0), COALESCE(cache_read_tokens, 0), COALESCE(cache_creation_tokens, 0)
      ) > 0
    GROUP BY days.organization_id, usage.actor_type, usage.actor_id
  )
)
GROUP BY organization_id, actor
