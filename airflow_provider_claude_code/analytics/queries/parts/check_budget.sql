-- Days on which the cost of a calendar month reached a share of the monthly budget, or may have reached it, since too
-- little of the cost is known. These days depend only on the data. Charges of a day are complete a day later than its
-- usage, so findings from charges are dated a day later. Without a budget there are no findings.
--
-- finding: what is wrong, as in `data_quality`.
WITH running AS (
  SELECT
    organization_id,
    date,
    is_month_charged,
    CAST(DATE_TRUNC(date, MONTH) AS DATE) AS month_start,
    SUM(IF(is_month_charged, COALESCE(charged_cents, 0), IF(is_complete, api_cost_cents, 0))) OVER month_to_date
      AS cents,
    SUM(IF(is_complete, api_sessions, 0)) OVER month_to_date AS sessions,
    SUM(IF(is_complete, api_sessions_with_cost, 0)) OVER month_to_date AS sessions_with_cost
  FROM `claude_code.daily_cost`
  WINDOW month_to_date AS (
    PARTITION BY organization_id, DATE_TRUNC(date, MONTH) ORDER BY date ROWS UNBOUNDED PRECEDING
  )
),
shares AS (
  SELECT
    running.*,
    percent,
    0 /* monthly_budget_cents */ AS budget_cents,
    CAST(FLOOR(cents) AS INT64) AS whole_cents,
    -- What is known is spent, however much is not.
    cents * 100 >= percent * 0 /* monthly_budget_cents */ AS is_reached,
    NOT is_month_charged
      AND sessions_with_cost * 100 < sessions * 95
      AND cents * sessions * 100 >= percent * 0 /* monthly_budget_cents */ * sessions_with_cost
      -- Where no cost is known at all, a week shows that it will not be.
      AND (sessions_with_cost > 0 OR EXTRACT(DAY FROM date) >= 7)
      AS is_doubtful
  FROM running
  CROSS JOIN UNNEST([80, 100] /* budget_percents */) AS percent
)
SELECT
  'budget' AS check_name,
  CAST(IF(is_month_charged, DATE_ADD(date, INTERVAL 1 DAY), date) AS DATE) AS date,
  organization_id,
  IF(is_month_charged, 'cost', 'model_usage') AS table_name,
  CONCAT(
    IF(is_reached, 'The cost of the month reached ', 'Cannot judge whether the cost of the month reached '),
    CAST(percent AS STRING), ' % of the monthly budget of $',
    CAST(DIV(budget_cents, 100) AS STRING), '.', LPAD(CAST(MOD(budget_cents, 100) AS STRING), 2, '0'), ': by ',
    CAST(date AS STRING), IF(is_month_charged, ' $', ' at least $'),
    CAST(DIV(whole_cents, 100) AS STRING), '.', LPAD(CAST(MOD(whole_cents, 100) AS STRING), 2, '0'),
    IF(
      is_month_charged,
      ' was charged.',
      CONCAT(
        '; the cost of ',
        COALESCE(CAST(CAST(FLOOR(SAFE_DIVIDE(100 * sessions_with_cost, sessions)) AS INT64) AS STRING), '100'),
        ' % of the sessions is known.'
      )
    ),
    IF(
      is_reached, ' See model_costs and cost_allocation.', ' Load the charges (stream cost) of the whole month to know it.'
    )
  ) AS finding
FROM shares
WHERE is_reached OR is_doubtful
QUALIFY ROW_NUMBER() OVER (PARTITION BY organization_id, month_start, percent, is_reached ORDER BY date) = 1
