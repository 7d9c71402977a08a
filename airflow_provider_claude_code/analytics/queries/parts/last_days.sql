-- The day on which the last period of `periods` ends: one row per organisation. A report asks what was up to it.
--
-- organization_id: the organisation.
-- last_day: the last day of the report's period (UTC).
SELECT organization_id, MAX(period_end) AS last_day
FROM `claude_code.periods`
GROUP BY organization_id
