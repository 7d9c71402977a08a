-- The API keys of each snapshot: one row per snapshot and key, with the columns of `api_keys`.
--
-- organization_id: the organisation of the key that loaded the snapshot.
SELECT loads.organization_id, api_keys.*
FROM `claude_code.api_keys` AS api_keys
JOIN `claude_code.newest_loads` AS loads ON loads.date = api_keys.date AND loads.loaded_at = api_keys.loaded_at
WHERE loads.table_name = 'api_keys' AND api_keys.date >= DATE '2025-01-01' /* since */
