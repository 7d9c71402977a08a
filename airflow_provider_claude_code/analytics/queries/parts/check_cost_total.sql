-- Days whose rows of `cost` do not add up to what the API says in `cost_totals`, beyond what rounding explains.
--
-- finding: what is wrong, as in `data_quality`.
WITH loaded AS (
  SELECT totals.organization_id, totals.date, totals.loaded_at
  FROM `claude_code.newest_loads` AS totals
  -- Tables that were loaded apart may differ, since the API restates charges.
  JOIN `claude_code.newest_loads` AS charges
    ON charges.organization_id = totals.organization_id AND charges.date = totals.date
    AND charges.load_id = totals.load_id AND charges.table_name = 'cost'
  WHERE totals.table_name = 'cost_totals'
),
amounts AS (
  SELECT date, loaded_at, currency, amount_cents, list_amount_cents, 0 AS total, 0 AS list_total
  FROM `claude_code.cost`
  WHERE date >= DATE '2025-01-01' /* since */
  UNION ALL
  SELECT date, loaded_at, currency, 0, 0, amount_cents, list_amount_cents
  FROM `claude_code.cost_totals`
  WHERE date >= DATE '2025-01-01' /* since */
),
sums AS (
  SELECT
    loaded.date,
    loaded.organization_id,
    amounts.currency,
    COUNT(*) AS row_count,
    SUM(amounts.amount_cents) AS amount,
    SUM(amounts.total) AS total,
    SUM(amounts.list_amount_cents) AS list_amount,
    SUM(amounts.list_total) AS list_total
  FROM loaded
  JOIN amounts ON amounts.date = loaded.date AND amounts.loaded_at = loaded.loaded_at
  GROUP BY loaded.date, loaded.organization_id, amounts.currency
)
SELECT
  'cost_total' AS check_name, date, organization_id, 'cost' AS table_name,
  CONCAT(
    'cost adds up to ', amount /* as_text */, ' ', IF(currency = 'USD', 'cents', CONCAT('minor units of ', currency)),
    ' (at list prices ', list_amount /* as_text */, '), and cost_totals says ', total /* as_text */,
    ' (at list prices ', list_total /* as_text */, '). Load the day again.'
  ) AS finding
FROM sums
-- Each row is rounded to 9 places, so it is wrong by half a billionth at most.
WHERE GREATEST(ABS(amount - total), ABS(list_amount - list_total)) * 2 * 1000000000 > row_count
