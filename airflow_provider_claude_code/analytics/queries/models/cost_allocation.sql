-- What the usage of each group cost: one row per week or month (breakdown_grain), organisation, kind of amount and
-- group of the mapping. The rows of a kind add up to its total, since actors without a mapping are a group, too. Groups
-- to whose amount fewer than min_group_size people contribute are combined into "(small groups)". Groups that contain
-- only machine keys are always shown. If fewer than min_group_size people contribute to a kind of amount, it has only
-- such rows. People are all actors but the API keys that the mapping marks as machines.
--
-- Charges are shown next to the estimates, for the days on which `cost` is loaded. Never add up two kinds of amount.
-- Charges of people and API keys belong to the group that the mapping has for their address or name on the day. Charges
-- that name nobody are the group "(unattributed)". A week or month has no charges if some, but
-- fewer than min_group_size people are charged for other products than Claude Code.
--
-- The query fails if two rows of one actor in the mapping share a day, since the cost would count twice.
--
-- key: period_start, organization_id, amount, team, cost_centre
-- period_start: First day of the week (Monday) or month, in UTC. A period that is not over is included only with a
--   min_group_size of 1.
-- organization_id: The organisation.
-- days_in_period: Days of the week or month.
-- days_loaded: How many of them have a complete load.
-- amount: api_cost (estimated cost of customer_type api, which the organisation's cost report already includes),
--   subscription_value (estimated value of customer_type subscription, which is not billed by use), or charged (after
--   discounts and before credits and taxes, for all cost types and products that are loaded).
-- team: The team in the mapping; "(unmapped)" for actors without one on the day; "(unattributed)" for charges that name
--   nobody.
-- cost_centre: The cost centre in the mapping; null if it has none, and for "(small groups)" and "(unattributed)".
-- people: People who contribute to the amount.
-- keys: How many of them are API keys, or other actors that are not user_actor.
-- machines: API keys of machines, as in the mapping, that contribute to the amount.
-- amount_usd: The amount in US dollars. The cost of sessions without model detail is unknown and not included.
-- charged_days: For charged, the number of days whose charges were loaded after they were complete; else null.
WITH conflicts AS (
  SELECT COUNTIF(is_conflict) AS row_count FROM `claude_code.actor_groups`
),
amounts AS (
  SELECT
    period_start,
    organization_id,
    days_in_period,
    days_loaded,
    IF(customer_type = 'api', 'api_cost', 'subscription_value') AS amount,
    team,
    cost_centre,
    group_name,
    actor_type,
    actor,
    person,
    has_cost AS counts,
    COALESCE(api_cost_cents, subscription_value_cents) AS cents
  FROM `claude_code.bucket_models`
  WHERE cost_entries > 0 AND customer_type IN ('api', 'subscription')
  UNION ALL
  SELECT
    charges.period_start, charges.organization_id, charges.days_in_period, charges.days_loaded, 'charged', mapping.team,
    mapping.cost_centre, mapping.group_name, charges.actor_type, charges.actor, charges.person,
    charges.charged_cents <> 0, charges.charged_cents
  FROM `claude_code.charges_of_periods` AS charges
  LEFT JOIN `claude_code.actor_groups` AS mapping
    ON mapping.actor_type = charges.actor_type AND mapping.actor = charges.actor
    AND charges.date BETWEEN mapping.valid_from AND mapping.valid_to AND NOT mapping.is_conflict
  LEFT JOIN `claude_code.charges_beyond_tokens` AS beyond
    ON beyond.period_start = charges.period_start AND beyond.organization_id = charges.organization_id
  WHERE charges.charged_cents IS NOT NULL
    -- A reader could subtract the charges for Claude Code, which a report shows over time, and see what few people are
    -- charged for other products.
    AND COALESCE(beyond.product_people, 0) NOT BETWEEN 1 AND 5 /* min_group_size */ - 1
),
actor_amounts AS (
  SELECT
    amounts.period_start,
    amounts.organization_id,
    amounts.days_in_period,
    amounts.days_loaded,
    amounts.amount,
    COALESCE(
      amounts.team, IF(amounts.actor_type IS NULL, '(unattributed)' /* unattributed */, '(unmapped)' /* unmapped */)
    ) AS team,
    amounts.cost_centre,
    COALESCE(
      amounts.group_name,
      IF(amounts.actor_type IS NULL, '(unattributed)' /* unattributed */, '(unmapped)' /* unmapped */)
    ) AS group_name,
    amounts.actor_type,
    amounts.actor,
    amounts.person,
    LOGICAL_OR(amounts.counts) AS counts,
    SUM(amounts.cents) AS cents
  FROM amounts
  CROSS JOIN conflicts
  WHERE IF(
    conflicts.row_count > 0,
    ERROR(CONCAT(
      'Rows of the mapping overlap: the same actor has two rows for a day, so its cost would count twice. Such rows: ',
      CAST(conflicts.row_count AS STRING), '.'
    )),
    TRUE
  )
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
),
group_members AS (
  SELECT
    amount AS dimension, period_start AS period, organization_id, group_name AS name, IF(counts, person, NULL) AS person,
    CAST(NULL AS STRING) AS link
  FROM actor_amounts
  WHERE person IS NOT NULL
),
folded AS (
  SELECT
    actor_amounts.period_start,
    actor_amounts.organization_id,
    actor_amounts.days_in_period,
    actor_amounts.days_loaded,
    actor_amounts.amount,
    COALESCE(folding.folded_name, actor_amounts.team) AS team,
    IF(folding.is_small, NULL, actor_amounts.cost_centre) AS cost_centre,
    actor_amounts.actor_type,
    actor_amounts.actor,
    actor_amounts.person,
    LOGICAL_OR(actor_amounts.counts) AS counts,
    SUM(actor_amounts.cents) AS cents
  FROM actor_amounts
  LEFT JOIN `claude_code.small_groups`(group_members => TABLE group_members) AS folding
    ON folding.dimension = actor_amounts.amount AND folding.period = actor_amounts.period_start
    AND folding.organization_id = actor_amounts.organization_id AND folding.name = actor_amounts.group_name
  WHERE NOT COALESCE(folding.is_hidden, FALSE)
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
)
SELECT
  folded.period_start,
  folded.organization_id,
  folded.days_in_period,
  folded.days_loaded,
  folded.amount,
  folded.team,
  folded.cost_centre,
  COUNTIF(folded.counts AND folded.person IS NOT NULL) AS people,
  COUNTIF(folded.counts AND folded.person IS NOT NULL AND folded.actor_type <> 'user_actor') AS keys,
  COUNTIF(folded.counts AND folded.person IS NULL AND folded.actor_type IS NOT NULL) AS machines,
  -- Charges have all the places that a NUMERIC has.
  ROUND(SUM(folded.cents) * 0.01 /* dollars_per_cent */, 9) AS amount_usd,
  IF(folded.amount = 'charged', ANY_VALUE(charged.charged_days), NULL) AS charged_days
FROM folded
LEFT JOIN `claude_code.charged_periods` AS charged
  ON charged.period_start = folded.period_start AND charged.organization_id = folded.organization_id
GROUP BY 1, 2, 3, 4, 5, 6, 7
