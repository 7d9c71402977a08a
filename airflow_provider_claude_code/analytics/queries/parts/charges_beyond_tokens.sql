-- Who is charged for something other than tokens of Claude Code, in US dollars: one row per week or month in
-- `breakdown_buckets` and organisation with such charges.
--
-- period_start: first day of the week or month (UTC).
-- organization_id: the organisation that is charged.
-- claude_code_people: people, see `records`, who are charged for Claude Code, such as for web searches.
-- product_people: people who are charged for other products.
-- people: people who are charged for either.
SELECT
  period_start,
  organization_id,
  COUNT(DISTINCT IF(is_claude_code, person, NULL)) AS claude_code_people,
  COUNT(DISTINCT IF(is_claude_code, NULL, person)) AS product_people,
  COUNT(DISTINCT person) AS people
FROM `claude_code.charges_of_periods`
WHERE charged_cents <> 0 AND NOT (is_claude_code AND COALESCE(cost_type = 'tokens', FALSE))
GROUP BY period_start, organization_id
