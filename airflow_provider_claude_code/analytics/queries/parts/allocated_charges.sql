-- The charges that are shown by group and next to the estimate: the rows of `charges_of_periods`, but for weeks and months
-- in which 1 to min_group_size - 1 people are charged for other products than Claude Code. A reader could subtract the
-- charges for Claude Code, which a report shows over time, and see theirs.
--
-- period_start: first day of the week or month (UTC).
-- organization_id: the organisation that is charged.
SELECT charges.*
FROM `claude_code.charges_of_periods` AS charges
LEFT JOIN `claude_code.charges_beyond_tokens` AS beyond
  ON beyond.period_start = charges.period_start AND beyond.organization_id = charges.organization_id
WHERE COALESCE(beyond.product_people, 0) NOT BETWEEN 1 AND 5 /* min_group_size */ - 1
