-- When people were last active before the days that a report reads whole: one row per organisation and person.
--
-- organization_id: the organisation.
-- actor: the person's id as it is compared.
-- last_date: the last such UTC day.
SELECT people.organization_id, people.actor, MAX(people.date) AS last_date
FROM (
  SELECT organization_id, date, actor_id /* comparable */ AS actor
  FROM (
    SELECT organization_id, actor_type, actor_id, date
    FROM `claude_code.usage`
    WHERE date >= DATE '2025-01-01' /* since */ AND date < DATE '2025-01-01' /* rows_from */
      AND actor_type = 'user_actor'
      AND GREATEST(
        num_sessions, lines_of_code_added, lines_of_code_removed, commits_by_claude_code,
        pull_requests_by_claude_code, tool_actions_accepted, tool_actions_rejected, COALESCE(input_tokens, 0),
        COALESCE(output_tokens, 0), COALESCE(cache_read_tokens, 0), COALESCE(cache_creation_tokens, 0)
      ) > 0
  )
) AS people
JOIN `claude_code.days` AS days ON days.organization_id = people.organization_id AND days.date = people.date
WHERE days.is_loaded
GROUP BY people.organization_id, people.actor
