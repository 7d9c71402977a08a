-- Who may use Claude Code: the user's roster, for each organisation that has a day in `days`. Without a roster,
-- `member_seats` is read instead.
--
-- organization_id: the organisation.
-- actor: the person's id as it is compared.
-- valid_from: first day.
-- valid_to: last day.
SELECT organizations.organization_id, seats.actor, seats.valid_from, seats.valid_to
FROM `claude_code.roster_seats` AS seats
CROSS JOIN (SELECT DISTINCT organization_id FROM `claude_code.days`) AS organizations
