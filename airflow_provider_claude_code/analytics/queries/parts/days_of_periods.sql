-- The days that periods are made of: those of usage, or those of charges where an organisation has no usage. One row per
-- organisation and UTC day.
--
-- organization_id: the organisation of the key that loaded the day.
-- date: the UTC day.
-- is_complete: whether the day has a complete load of usage.
SELECT organization_id, date, is_complete
FROM (
  SELECT *, LOGICAL_OR(is_usage) OVER (PARTITION BY organization_id) AS has_usage
  FROM (
    SELECT organization_id, date, is_complete, TRUE AS is_usage FROM `claude_code.days`
    UNION ALL
    SELECT organization_id, date, FALSE, FALSE FROM `claude_code.charge_loads`
  )
)
WHERE is_usage = has_usage
