-- The cost of a period at API prices, and the cheapest mix in which some people have a seat at seat_price_cents: one
-- row per period of `periods` and organisation with people. The cost of a person is the charges for Claude Code if all
-- days of the period have charges, else the estimate, plus the value of subscription usage at API prices. Those who
-- cost the most get seats. In the mixes that are compared, nobody or at least min_group_size people have a seat, and
-- the same holds for people without one, so that the result is never about fewer people.
--
-- period_start: first day of the period (UTC).
-- organization_id: the organisation.
-- people: people who were active, or are charged.
-- at_api_prices_usd: cost of all of them at API prices.
-- seats: people with a seat in the cheapest mix; the fewest if several mixes cost the same.
-- mix_usd: cost of the cheapest mix, including seats.
-- is_charged: whether the cost of API usage is charges and not estimates.
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
