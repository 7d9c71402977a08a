-- The rows of `cost` that are read: one row per row of it.
--
-- organization_id: the organisation, or that of the key if the key cannot read it.
-- actor: the actor as usage names it on that day: the person's address or the key's name, in the form in which it is
--   compared; the id if neither is known; empty if the charge names nobody.
-- person: who counts as a person, see `records`; null if the charge names nobody.
-- is_claude_code: whether the charge is for Claude Code.
SELECT
  named.*,
  IF(named.actor_type IS NULL OR machines.actor IS NOT NULL, NULL, CONCAT(named.actor_type, ':', named.actor)) AS person
FROM (
  SELECT
    cost.date,
    COALESCE(cost.organization_id, loads.organization_id) AS organization_id,
    cost.actor_type,
    COALESCE(names.found, NULLIF(cost.address, ''), cost.user_id, '') AS actor,
    cost.actor_id,
    cost.user_id,
    cost.model,
    cost.cost_type,
    cost.amount_cents,
    cost.list_amount_cents,
    cost.currency,
    COALESCE(REPLACE(LOWER(cost.product), '-', '_') = 'claude_code', FALSE) AS is_claude_code
  FROM (
    SELECT *, actor_id /* comparable */ AS address
    FROM `claude_code.cost`
    WHERE date >= DATE '2025-01-01' /* since */
  ) AS cost
  -- What a killed load has left is no whole day.
  JOIN (
    SELECT date, loaded_at, MIN(organization_id) AS organization_id
    FROM `claude_code.newest_loads`
    WHERE table_name = 'cost'
    GROUP BY date, loaded_at
  ) AS loads
    ON loads.date = cost.date AND loads.loaded_at = cost.loaded_at
  LEFT JOIN `claude_code.actor_names` AS names
    ON names.kind = IF(cost.actor_type = 'user_actor', 'address', 'key_name')
    AND names.id = IF(cost.actor_type = 'user_actor', cost.user_id, cost.actor_id)
    AND cost.actor_type IN ('user_actor', 'api_actor')
    AND cost.date BETWEEN names.valid_from AND names.valid_to
) AS named
LEFT JOIN `claude_code.machines` AS machines ON machines.actor = named.actor AND named.actor_type = 'api_actor'
