-- Actors that a mapping or a roster could name: one row per actor and loaded UTC day with a record.
--
-- actor: the actor's id as it is compared.
SELECT DISTINCT records.actor_type, records.actor, records.date
FROM `claude_code.records` AS records
JOIN `claude_code.days` AS days ON days.organization_id = records.organization_id AND days.date = records.date
WHERE days.is_loaded AND records.actor <> ''
