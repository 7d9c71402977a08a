-- What each organisation did in each period, with everybody counted once: one row for each row of `periods`, with the
-- columns of `span_totals`. It compares two periods, and no person leaves the database. Sums are 0 also when no day is
-- loaded.
WITH span_people AS (
  SELECT
    periods.period_start, periods.days_in_period, periods.days_loaded, periods.organization_id AS span_organization_id,
    days.*
  FROM `claude_code.periods` AS periods
  LEFT JOIN `claude_code.actor_days` AS days
    ON days.organization_id = periods.organization_id AND days.date BETWEEN periods.period_start AND periods.period_end
)
SELECT * FROM `claude_code.span_totals`(span_people => TABLE span_people)
