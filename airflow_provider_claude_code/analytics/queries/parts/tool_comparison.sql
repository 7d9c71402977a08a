-- People with Claude Code and with other AI tools in each period of `periods`: one row per period, organisation and
-- tool. The days of other tools name no organisation, so they are compared with each. There are no counts of
-- suggestions, since those of two tools are not the same amount of work.
--
-- period_start: first day of the period (UTC).
-- organization_id: the organisation.
-- tool: claude_code, or the other tool's name.
-- people: people who were active with the tool.
-- person_days: sum over these people of their active days.
-- days_with_data: days on which the tool has any row.
-- unknown_people: people among them without an address, who are compared with nobody.
-- people_with_both: people among them who were also active with Claude Code.
-- roster_people: people among them who are eligible on the last day of the period.
-- eligible_people: people who are eligible on that day; null if there are none.
WITH used AS (
  SELECT
    periods.period_start, periods.period_end, periods.organization_id, days.tool, days.person,
    LOGICAL_OR(days.is_known) AS is_known,
    COUNT(DISTINCT IF(days.is_active, days.date, NULL)) AS active_days
  FROM `claude_code.periods` AS periods
  JOIN (
    SELECT tool, date, person, is_known, is_active, CAST(NULL AS STRING) AS organization_id
    FROM `claude_code.tool_days`
    UNION ALL
    SELECT tool, date, person, person <> '', is_active, organization_id FROM `claude_code.ai_tool_comparison`
  ) AS days
    ON days.date BETWEEN periods.period_start AND periods.period_end
    AND COALESCE(days.organization_id, periods.organization_id) = periods.organization_id
  GROUP BY 1, 2, 3, 4, 5
),
with_data AS (
  SELECT periods.period_start, periods.organization_id, days.tool, COUNT(DISTINCT days.date) AS days_with_data
  FROM `claude_code.periods` AS periods
  JOIN `claude_code.tool_days` AS days ON days.date BETWEEN periods.period_start AND periods.period_end
  GROUP BY 1, 2, 3
),
eligible AS (
  SELECT DISTINCT periods.period_start, periods.organization_id, seats.actor
  FROM `claude_code.periods` AS periods
  JOIN `claude_code.seats` AS seats
    ON seats.organization_id = periods.organization_id AND periods.period_end BETWEEN seats.valid_from AND seats.valid_to
),
eligible_counts AS (
  SELECT period_start, organization_id, COUNT(*) AS people
  FROM eligible
  GROUP BY period_start, organization_id
),
claude AS (
  SELECT period_start, organization_id, person
  FROM used
  WHERE tool = 'claude_code' AND active_days > 0 AND is_known
)
SELECT
  used.period_start,
  used.organization_id,
  used.tool,
  COUNT(*) AS people,
  SUM(used.active_days) AS person_days,
  COALESCE(ANY_VALUE(with_data.days_with_data), 0) AS days_with_data,
  COUNT(IF(used.is_known, NULL, 1)) AS unknown_people,
  COUNT(IF(used.is_known, claude.person, NULL)) AS people_with_both,
  COUNT(IF(used.is_known, eligible.actor, NULL)) AS roster_people,
  ANY_VALUE(eligible_counts.people) AS eligible_people
FROM used
LEFT JOIN with_data
  ON with_data.period_start = used.period_start AND with_data.organization_id = used.organization_id
  AND with_data.tool = used.tool
LEFT JOIN claude
  ON claude.period_start = used.period_start AND claude.organization_id = used.organization_id
  AND claude.person = used.person
LEFT JOIN eligible
  ON eligible.period_start = used.period_start AND eligible.organization_id = used.organization_id
  AND eligible.actor = used.person
LEFT JOIN eligible_counts
  ON eligible_counts.period_start = used.period_start AND eligible_counts.organization_id = used.organization_id
WHERE used.active_days > 0
GROUP BY 1, 2, 3
