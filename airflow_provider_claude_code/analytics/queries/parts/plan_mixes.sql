-- What a period costs at API prices, and the cheapest way to give some people a seat at seat_price_cents for it: one row
-- per period of `periods` and organisation with people. A person costs what is charged for Claude Code where all days of
-- the period have charges, else the estimate, and beside it what a subscription includes at API prices. Seats go to
-- those who cost the most. Only mixes are compared in which nobody, or at least min_group_size people, have a seat, and
-- likewise work at API prices, so the result never is about fewer people.
--
-- period_start: first day of the period (UTC).
-- organization_id: the organisation.
-- people: people who were active, or are charged.
-- at_api_prices_usd: what they all cost at API prices.
-- seats: people with a seat in the cheapest mix, the fewest where mixes cost the same.
-- mix_usd: what the cheapest mix costs, seats included.
-- is_charged: whether charges are in it, and not estimates, of what is paid by use.
WITH people AS (
  SELECT
    who.period_start,
    who.organization_id,
    COALESCE(charged.charged_days = periods.days_in_period, FALSE) AS is_charged,
    COALESCE(IF(charged.charged_days = periods.days_in_period, who.charged_cents, who.api_cost_cents), 0)
      + COALESCE(who.subscription_value_cents, 0) AS cents
  FROM `claude_code.period_people` AS who
  JOIN `claude_code.periods` AS periods
    ON periods.period_start = who.period_start AND periods.organization_id = who.organization_id
  LEFT JOIN `claude_code.period_charged_days` AS charged
    ON charged.period_start = who.period_start AND charged.organization_id = who.organization_id
  WHERE who.kind = 'person' AND (who.active_days > 0 OR who.charged_cents <> 0)
),
ranked AS (
  SELECT
    *,
    COUNT(*) OVER (PARTITION BY period_start, organization_id) AS people,
    SUM(cents) OVER (PARTITION BY period_start, organization_id) AS all_cents,
    ROW_NUMBER() OVER (PARTITION BY period_start, organization_id ORDER BY cents DESC) AS seats,
    -- The same order as that of the numbers, since people who cost the same make no difference.
    SUM(cents) OVER (
      PARTITION BY period_start, organization_id ORDER BY cents DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS cents_of_seated
  FROM people
),
mixes AS (
  SELECT DISTINCT period_start, organization_id, is_charged, people, all_cents, 0 AS seats, all_cents AS mix_cents
  FROM ranked
  UNION ALL
  SELECT
    period_start, organization_id, is_charged, people, all_cents, seats,
    all_cents - cents_of_seated + seats * 0 /* seat_price_cents */
  FROM ranked
  WHERE seats >= 5 /* min_group_size */ AND (people = seats OR people - seats >= 5 /* min_group_size */)
)
SELECT
  period_start,
  organization_id,
  people,
  ROUND(all_cents * 0.01 /* dollars_per_cent */, 9) AS at_api_prices_usd,
  seats,
  ROUND(mix_cents * 0.01 /* dollars_per_cent */, 9) AS mix_usd,
  is_charged
FROM mixes
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY period_start, organization_id ORDER BY mix_cents, seats) = 1
