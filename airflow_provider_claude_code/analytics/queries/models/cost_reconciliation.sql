-- Whether the estimate explains what is charged for tokens of customer_type api: one row per week or month
-- (breakdown_grain), organisation, currency and model, and one row with a null model for all models together. Models
-- are combined as in `model_costs`, and also if fewer than min_group_size people were charged for them. A week or month
-- has rows once the charges of one of its days are loaded. Amounts are shown if all of its days have usage and charges,
-- the currency is US dollars, and at least min_group_size people contribute. They are also withheld if fewer people
-- were charged for something else, such as web searches, since a reader could subtract the charges for tokens from all
-- charges. With a min_group_size of 1, amounts are always shown.
--
-- Charged means after discounts, before credits and taxes. Amounts are compared per UTC day, actor and model. People
-- are matched by id if `members` or `cost` has an id for their address, and by address otherwise. API keys are matched
-- by the name that `api_keys` has for their id. Keys with the same name are added up, since the estimate does not tell
-- them apart. Models are matched without the date at the end of their name. Charges for other products are left out.
-- Usage with an API key may be charged as another product (messages_api); its estimate is then unmatched.
--
-- The estimate is rounded. An entry of model_usage may differ from the list price by half a unit of its last digit, for
-- example by half a cent if it has whole cents.
--
-- key: period_start, organization_id, currency, model
-- period_start: First day of the week (Monday) or month, in UTC. A period that is not over is included only with a
--   min_group_size of 1.
-- organization_id: The organisation.
-- currency: Currency of the amounts; null when nothing was used or charged.
-- model: The model without the date at the end of its name; "(no model)" for charges for no model; null for all models
--   together. Do not add these rows up.
-- verdict: The first that holds: not comparable (see reason), open (it ended in the last 30 days, so charges may
--   change), estimate incomplete (sessions without model detail, whose estimate is unknown), equal to list, equal to
--   charged, unexplained.
-- reason: Why it is not comparable. The first reason that holds for one of its days: usage not loaded, usage
--   incomplete, charges not loaded, charges incomplete (loaded before they were complete), Claude Code not asked for,
--   identities differ (actors are plain in one and pseudonyms in the other, or pseudonyms of two secrets), currencies
--   differ. Otherwise null.
-- days: Days of the week or month whose charges are loaded, or should be.
-- days_compared: How many of them have both usage and charges.
-- estimated_cents: The estimate, in minor units of the currency: cents for USD.
-- list_cents: The charges at list prices (list_amount_cents of `cost`), with fractions of cents.
-- charged_cents: The charges (amount_cents of `cost`), with fractions of cents.
-- estimate_minus_list_cents: estimated_cents less list_cents.
-- estimate_minus_charged_cents: estimated_cents less charged_cents.
-- discount: 1 - charged_cents / list_cents, such as 0.12; null when list_cents is 0.
-- unexplained_cents: Sum of the absolute differences between estimate and list price per day, actor and model, beyond
--   rounding. It includes only combinations that occur in both. This column and the next two may describe few people,
--   so they are null unless min_group_size is 1.
-- unmatched_estimate_cents: Estimate of actors and models without charges on the day.
-- unmatched_list_cents: Charges at list prices of actors and models without an estimate on the day, including charges
--   that name nobody.
-- shared_key_names: Number of cases (day, model and name) in which several charged keys have the same name, so that the
--   estimate cannot tell them apart.
WITH spans AS (
  SELECT
    buckets.period_start,
    buckets.period_end,
    days.organization_id,
    days.date,
    days.is_loaded,
    days.is_complete,
    charge_days.date IS NOT NULL AS is_charged,
    charge_days.is_complete AS is_charged_completely,
    charge_days.has_claude_code,
    charge_days.has_identities_of_usage
  FROM `claude_code.bucket_days` AS days
  JOIN `claude_code.breakdown_buckets` AS buckets
    ON buckets.organization_id = days.organization_id AND buckets.period_start = days.bucket_start
  LEFT JOIN `claude_code.charge_days` AS charge_days
    ON charge_days.organization_id = days.organization_id AND charge_days.date = days.date
  CROSS JOIN `claude_code.streams` AS streams
  WHERE streams.stream = 'cost'
    AND (
      charge_days.date IS NOT NULL
      OR TIMESTAMP(days.date, 'UTC')
        <= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL streams.minutes_until_complete MINUTE)
    )
  QUALIFY COUNT(charge_days.date) OVER (PARTITION BY days.organization_id, buckets.period_start) > 0
),
placed AS (
  SELECT
    spans.period_start,
    compared.*,
    COALESCE(folding.folded_name, compared.model) AS shown_model,
    machines.actor IS NULL AND compared.actor_type IS NOT NULL AS is_of_people,
    COALESCE(folding.is_hidden, FALSE) AS is_hidden
  FROM `claude_code.compared_charges` AS compared
  JOIN spans
    ON spans.organization_id = compared.organization_id AND spans.date = compared.date
    AND spans.is_loaded AND spans.is_charged
  LEFT JOIN `claude_code.model_folding` AS folding
    ON folding.period = spans.period_start AND folding.organization_id = compared.organization_id
    AND folding.dimension = 'api' AND folding.name = compared.model
  LEFT JOIN `claude_code.machines` AS machines
    ON machines.actor = compared.who AND compared.actor_type = 'api_actor'
),
group_members AS (
  SELECT 'model' AS dimension, period_start AS period, organization_id, shown_model AS name,
    CAST(NULL AS STRING) AS person, CAST(NULL AS STRING) AS link
  FROM placed
  WHERE is_of_people
  UNION ALL
  SELECT
    'model', charges.period_start, charges.organization_id, COALESCE(folding.folded_name, charges.model), charges.person,
    COALESCE(mapping.group_name, '(unmapped)' /* unmapped */)
  FROM (
    SELECT
      period_start, date, organization_id, actor_type, actor, person,
      COALESCE(REGEXP_REPLACE(model, r'-[0-9]{8}$', ''), '(no model)') AS model
    FROM `claude_code.charges_of_periods`
    WHERE person IS NOT NULL AND is_claude_code AND cost_type = 'tokens' AND charged_cents <> 0
  ) AS charges
  LEFT JOIN `claude_code.model_folding` AS folding
    ON folding.period = charges.period_start AND folding.organization_id = charges.organization_id
    AND folding.dimension = 'api' AND folding.name = charges.model
  LEFT JOIN `claude_code.actor_groups` AS mapping
    ON mapping.actor_type = charges.actor_type AND mapping.actor = charges.actor
    AND charges.date BETWEEN mapping.valid_from AND mapping.valid_to
),
amounts AS (
  SELECT
    placed.period_start,
    placed.organization_id,
    placed.currency,
    IF(is_of_all_models, NULL, COALESCE(folding.folded_name, placed.shown_model)) AS model,
    SUM(placed.estimate) AS estimate,
    SUM(placed.list_amount) AS list_amount,
    SUM(placed.charged) AS charged,
    SUM(placed.beyond_list) AS beyond_list,
    SUM(placed.beyond_charged) AS beyond_charged,
    SUM(placed.unmatched_estimate) AS unmatched_estimate,
    SUM(placed.unmatched_list) AS unmatched_list,
    COUNTIF(placed.unmatched_estimate <> 0 OR placed.unmatched_list <> 0) > 0 AS has_unmatched,
    COUNTIF(placed.keys > 1) AS shared_key_names,
    LOGICAL_OR(placed.is_of_one_side) AS has_other_currency,
    LOGICAL_OR(placed.is_hidden OR COALESCE(folding.is_hidden, FALSE)) AS is_hidden
  FROM placed
  LEFT JOIN `claude_code.small_groups`(group_members => TABLE group_members) AS folding
    ON folding.period = placed.period_start AND folding.organization_id = placed.organization_id
    AND folding.name = placed.shown_model
  CROSS JOIN UNNEST([TRUE, FALSE]) AS is_of_all_models
  GROUP BY 1, 2, 3, 4
),
sessions AS (
  SELECT
    date, organization_id, SUM(sessions - sessions_with_model_detail) AS without_model_detail
  FROM `claude_code.actor_days`
  WHERE customer_type = 'api'
  GROUP BY date, organization_id
),
states AS (
  SELECT
    spans.period_start,
    spans.organization_id,
    DATE_DIFF(DATE(CURRENT_TIMESTAMP(), 'UTC'), ANY_VALUE(spans.period_end), DAY) <= 30 /* days_until_final */
      AS is_open,
    COUNT(*) AS days,
    COUNTIF(spans.is_loaded AND spans.is_charged) AS days_compared,
    CASE
      WHEN LOGICAL_OR(NOT spans.is_loaded) THEN 'usage not loaded'
      WHEN LOGICAL_OR(NOT spans.is_complete) THEN 'usage incomplete'
      WHEN LOGICAL_OR(NOT spans.is_charged) THEN 'charges not loaded'
      WHEN LOGICAL_OR(NOT spans.is_charged_completely) THEN 'charges incomplete'
      WHEN LOGICAL_OR(NOT spans.has_claude_code) THEN 'Claude Code not asked for'
      WHEN LOGICAL_OR(NOT spans.has_identities_of_usage) THEN 'identities differ'
    END AS reason,
    SUM(sessions.without_model_detail) AS sessions_without_model_detail
  FROM spans
  LEFT JOIN sessions
    ON sessions.organization_id = spans.organization_id AND sessions.date = spans.date AND spans.is_charged
  GROUP BY 1, 2
),
judged AS (
  SELECT
    states.*,
    amounts.currency,
    amounts.model,
    COALESCE(states.reason, IF(amounts.has_other_currency, 'currencies differ', NULL)) AS reason_of_row,
    5 /* min_group_size */ = 1 OR (
      NOT COALESCE(amounts.is_hidden, FALSE) AND states.days_compared = states.days
      AND COALESCE(amounts.currency = 'USD', TRUE)
      AND COALESCE(beyond.claude_code_people, 0) NOT BETWEEN 1 AND 5 /* min_group_size */ - 1
      AND COALESCE(beyond.people, 0) NOT BETWEEN 1 AND 5 /* min_group_size */ - 1
    ) AS is_shown,
    COALESCE(amounts.estimate, 0) AS estimate,
    COALESCE(amounts.list_amount, 0) AS list_amount,
    COALESCE(amounts.charged, 0) AS charged,
    COALESCE(amounts.beyond_list, 0) AS beyond_list,
    COALESCE(amounts.beyond_charged, 0) AS beyond_charged,
    COALESCE(amounts.unmatched_estimate, 0) AS unmatched_estimate,
    COALESCE(amounts.unmatched_list, 0) AS unmatched_list,
    COALESCE(amounts.has_unmatched, FALSE) AS has_unmatched,
    COALESCE(amounts.shared_key_names, 0) AS shared_key_names
  FROM states
  LEFT JOIN amounts
    ON amounts.period_start = states.period_start AND amounts.organization_id = states.organization_id
  LEFT JOIN `claude_code.charges_beyond_tokens` AS beyond
    ON beyond.period_start = states.period_start AND beyond.organization_id = states.organization_id
)
SELECT
  period_start,
  organization_id,
  currency,
  model,
  CASE
    WHEN reason_of_row IS NOT NULL THEN 'not comparable'
    WHEN is_open THEN 'open'
    WHEN sessions_without_model_detail > 0 THEN 'estimate incomplete'
    WHEN beyond_list = 0 AND NOT has_unmatched THEN 'equal to list'
    WHEN beyond_charged = 0 AND NOT has_unmatched THEN 'equal to charged'
    ELSE 'unexplained'
  END AS verdict,
  reason_of_row AS reason,
  days,
  days_compared,
  IF(days_compared > 0 AND is_shown, estimate, NULL) AS estimated_cents,
  IF(days_compared > 0 AND is_shown, list_amount, NULL) AS list_cents,
  IF(days_compared > 0 AND is_shown, charged, NULL) AS charged_cents,
  IF(days_compared > 0 AND is_shown, estimate - list_amount, NULL) AS estimate_minus_list_cents,
  IF(days_compared > 0 AND is_shown, estimate - charged, NULL) AS estimate_minus_charged_cents,
  IF(is_shown, 1 - SAFE_DIVIDE(CAST(charged AS FLOAT64), CAST(list_amount AS FLOAT64)), NULL) AS discount,
  IF(days_compared > 0 AND 5 /* min_group_size */ = 1, beyond_list, NULL) AS unexplained_cents,
  IF(days_compared > 0 AND 5 /* min_group_size */ = 1, unmatched_estimate, NULL) AS unmatched_estimate_cents,
  IF(days_compared > 0 AND 5 /* min_group_size */ = 1, unmatched_list, NULL) AS unmatched_list_cents,
  IF(days_compared > 0, shared_key_names, NULL) AS shared_key_names
FROM judged
WHERE is_shown OR model IS NULL
