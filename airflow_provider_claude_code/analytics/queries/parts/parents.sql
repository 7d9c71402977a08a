-- Whose loads brought the usage of an organisation: one row per organisation and organisation of a key. A parent's key
-- reads its children's records.
--
-- organization_id: the organisation of the records.
-- parent_id: the organisation of the key that loaded them: the same one, or its parent.
SELECT DISTINCT held.organization_id, loads.organization_id AS parent_id
FROM `claude_code.held_days` AS held
-- A load began at the moment that its records bear.
JOIN `claude_code.loads` AS loads ON loads.date = held.date AND loads.loaded_at = held.loaded_at
WHERE loads.date >= DATE '2025-01-01' /* since */ AND COALESCE(loads.stream, 'usage') = 'usage'
