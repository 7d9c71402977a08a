-- PERSONAL DATA: the API keys, whose they are, and whether anybody uses them; one row per organisation and API key that
-- any snapshot has. It is created only if it is named. With actor_identity=hmac ids, names and owners are pseudonyms.
--
-- key: organization_id, api_key_id
-- organization_id: The organisation.
-- api_key_id: The key's id.
-- name: Name of the key in the newest snapshot that has the key.
-- status: Status of the key there: active, inactive, archived or expired.
-- workspace: The name of its workspace; null for a key of the organisation or of the default workspace.
-- owner: Address, in lower case (A to Z), of the person who created the key, from the newest snapshot that has this
--   person; null when no snapshot has the person, or when a service account created the key.
-- owner_is_member: Whether the owner is in the newest snapshot; null when the owner is unknown.
-- last_snapshot: The UTC day of the newest snapshot that has the key.
-- is_ambiguous: Whether another key has, or had, the same name. Usage is reported by name, so the usage of the key is
--   then unknown: first_used, last_used, sessions and api_cost_usd are null.
-- first_used: First UTC day with any usage under a name that the key has, or had.
-- last_used: The last such day.
-- sessions: Sessions under these names.
-- api_cost_usd: Estimated cost of customer_type api in US dollars; null when no record has one.
-- charged_usd: Charges for the id of the key in US dollars, after discounts and before credits and taxes, for the days
--   and products that are loaded in `cost`; null when `cost` is not loaded. Do not add it to api_cost_usd.
WITH newest_keys AS (
  SELECT *
  FROM `claude_code.key_days`
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY organization_id, api_key_id ORDER BY date DESC) = 1
),
names AS (
  SELECT organization_id, api_key_id, name, COUNT(*) OVER (PARTITION BY organization_id, name) > 1 AS is_shared
  FROM (SELECT DISTINCT organization_id, api_key_id, name FROM `claude_code.key_days`)
),
used AS (
  SELECT
    names.organization_id,
    names.api_key_id,
    LOGICAL_OR(names.is_shared) AS is_ambiguous,
    MIN(IF(days.is_active, days.date, NULL)) AS first_used,
    MAX(IF(days.is_active, days.date, NULL)) AS last_used,
    COALESCE(SUM(days.sessions), 0) AS sessions,
    SUM(days.api_cost_cents) * 0.01 /* dollars_per_cent */ AS api_cost_usd
  FROM names
  LEFT JOIN `claude_code.actor_days` AS days
    ON days.organization_id = names.organization_id AND days.actor = names.name AND days.actor_type = 'api_actor'
    -- Usage without a name is no key's.
    AND days.actor <> ''
  GROUP BY names.organization_id, names.api_key_id
),
owners AS (
  SELECT organization_id, user_id, actor, next_date IS NULL AS is_member
  FROM `claude_code.member_days`
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY organization_id, user_id ORDER BY date DESC) = 1
),
loads_of_cost AS (
  SELECT organization_id, date, loaded_at FROM `claude_code.newest_loads` WHERE table_name = 'cost'
),
charges AS (
  SELECT
    loads.organization_id,
    cost.actor_id AS api_key_id,
    ROUND(SUM(cost.amount_cents) * 0.01 /* dollars_per_cent */, 9) AS charged_usd
  FROM `claude_code.cost` AS cost
  JOIN loads_of_cost AS loads ON loads.date = cost.date AND loads.loaded_at = cost.loaded_at
  WHERE cost.date >= DATE '2025-01-01' /* since */ AND cost.actor_type = 'api_actor' AND cost.currency = 'USD'
  GROUP BY loads.organization_id, cost.actor_id
)
SELECT
  api_keys.organization_id,
  api_keys.api_key_id,
  api_keys.name,
  api_keys.status,
  workspaces.name AS workspace,
  owners.actor AS owner,
  owners.is_member AS owner_is_member,
  api_keys.date AS last_snapshot,
  used.is_ambiguous,
  IF(used.is_ambiguous, NULL, used.first_used) AS first_used,
  IF(used.is_ambiguous, NULL, used.last_used) AS last_used,
  IF(used.is_ambiguous, NULL, used.sessions) AS sessions,
  IF(used.is_ambiguous, NULL, used.api_cost_usd) AS api_cost_usd,
  IF(loaded.organization_id IS NULL, NULL, COALESCE(charges.charged_usd, 0)) AS charged_usd
FROM newest_keys AS api_keys
JOIN used ON used.organization_id = api_keys.organization_id AND used.api_key_id = api_keys.api_key_id
LEFT JOIN `claude_code.newest_workspaces` AS workspaces
  ON workspaces.organization_id = api_keys.organization_id AND workspaces.workspace_id = api_keys.workspace_id
LEFT JOIN owners
  ON owners.organization_id = api_keys.organization_id AND owners.user_id = api_keys.created_by_user_id
LEFT JOIN (SELECT DISTINCT organization_id FROM loads_of_cost) AS loaded
  ON loaded.organization_id = api_keys.organization_id
LEFT JOIN charges
  ON charges.organization_id = api_keys.organization_id AND charges.api_key_id = api_keys.api_key_id
