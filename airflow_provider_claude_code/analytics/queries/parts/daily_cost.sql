-- What Claude Code costs each day: one row per organisation and UTC day in `days`, or with charges where the organisation
-- has none in `days`. What is charged and the estimate are the same cost; never add them.
--
-- date: the UTC day.
-- organization_id: the organisation.
-- is_complete: whether the newest load read the day's usage after it was complete.
-- api_actors: people and API keys, but those of machines, who have a cost of customer_type api.
-- api_sessions: sessions of customer_type api.
-- api_sessions_with_cost: those of them whose cost is known in US dollars.
-- api_cost_cents: estimated cost of customer_type api in US cents, as far as it is known; 0 without any.
-- charged_cents: what is charged for Claude Code in US cents, after discounts and before credits and taxes; null unless
--   the charges were loaded after they were complete, with those of Claude Code, all in US dollars.
-- charged_actors: people, keys and others who are charged for it, except keys of machines.
-- is_month_charged: whether the charges of the calendar month are known so far, so that they are its cost: those of all
--   its days, but for the last two days with usage, whose charges may not be complete yet.
WITH estimates AS (
  SELECT
    organization_id,
    date,
    COUNT(DISTINCT IF(has_cost, person, NULL)) AS api_actors,
    SUM(sessions) AS api_sessions,
    SUM(sessions_with_cost) AS api_sessions_with_cost,
    SUM(api_cost_cents) AS api_cost_cents
  FROM `claude_code.actor_days`
  WHERE customer_type = 'api'
  GROUP BY organization_id, date
),
amounts AS (
  SELECT
    organization_id,
    date,
    SUM(IF(currency = 'USD', amount_cents, 0)) AS charged_cents,
    COUNT(DISTINCT IF(amount_cents <> 0, person, NULL)) AS charged_actors,
    COUNT(IF(currency <> 'USD' AND amount_cents <> 0, 1, NULL)) AS other_charges
  FROM `claude_code.charges`
  WHERE is_claude_code
  GROUP BY organization_id, date
),
costs AS (
  SELECT
    days.date,
    days.organization_id,
    days.is_complete,
    COALESCE(estimates.api_actors, 0) AS api_actors,
    COALESCE(estimates.api_sessions, 0) AS api_sessions,
    COALESCE(estimates.api_sessions_with_cost, 0) AS api_sessions_with_cost,
    COALESCE(estimates.api_cost_cents, 0) AS api_cost_cents,
    IF(
      charge_days.is_complete AND charge_days.has_claude_code AND COALESCE(amounts.other_charges, 0) = 0,
      COALESCE(amounts.charged_cents, 0),
      NULL
    ) AS charged_cents,
    COALESCE(amounts.charged_actors, 0) AS charged_actors,
    -- Where usage is never loaded, only the days that have charges are there.
    COALESCE(
      MAX(IF(days.is_complete, days.date, NULL)) OVER (PARTITION BY days.organization_id),
      DATE_ADD(MAX(days.date) OVER (PARTITION BY days.organization_id), INTERVAL 2 DAY)
    ) AS last_complete_date
  FROM (
    SELECT organization_id, date, is_complete
    FROM (
      SELECT *, LOGICAL_OR(is_usage) OVER (PARTITION BY organization_id) AS has_usage
      FROM (
        SELECT organization_id, date, is_complete, TRUE AS is_usage FROM `claude_code.days`
        UNION ALL
        SELECT organization_id, date, FALSE, FALSE FROM `claude_code.charge_days`
      )
    )
    WHERE is_usage = has_usage
  ) AS days
  LEFT JOIN estimates ON estimates.organization_id = days.organization_id AND estimates.date = days.date
  LEFT JOIN `claude_code.charge_days` AS charge_days
    ON charge_days.organization_id = days.organization_id AND charge_days.date = days.date
  LEFT JOIN amounts ON amounts.organization_id = days.organization_id AND amounts.date = days.date
),
months AS (
  SELECT
    costs.organization_id,
    month_start,
    -- In a month's first two days those before it show whether charges are loaded.
    COUNTIF(costs.charged_cents IS NULL) = 0 AS is_charged
  FROM costs
  JOIN (
    SELECT DISTINCT organization_id, CAST(DATE_TRUNC(date, MONTH) AS DATE) AS month_start FROM costs
  ) AS months_with_days
    USING (organization_id)
  WHERE costs.date < DATE_ADD(month_start, INTERVAL 1 MONTH)
    AND costs.date <= DATE_SUB(costs.last_complete_date, INTERVAL 2 DAY)
    AND costs.date >= LEAST(month_start, DATE_SUB(costs.last_complete_date, INTERVAL 2 DAY))
  GROUP BY costs.organization_id, month_start
)
SELECT
  costs.date,
  costs.organization_id,
  costs.is_complete,
  costs.api_actors,
  costs.api_sessions,
  costs.api_sessions_with_cost,
  costs.api_cost_cents,
  costs.charged_cents,
  costs.charged_actors,
  COALESCE(months.is_charged, FALSE) AS is_month_charged
FROM costs
LEFT JOIN months
  ON months.organization_id = costs.organization_id
  AND months.month_start = CAST(DATE_TRUNC(costs.date, MONTH) AS DATE)
