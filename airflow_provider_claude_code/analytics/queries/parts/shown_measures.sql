-- Which measures are shown by day, see `shown_days`: one row per organisation, measure and week or month.
--
-- measure: sessions (and everything else that people do), tools, api (its cost) or subscription (its value).
-- organization_id: the organisation.
-- bucket_start: first day of the week or month.
-- is_shown: whether its days are shown.
WITH day_bits AS (
  SELECT organization_id, date, bucket_start, CAST(1 AS INT64) << DATE_DIFF(date, bucket_start, DAY) AS day
  FROM `claude_code.bucket_days`
  WHERE is_loaded AND date >= DATE '0001-01-01' /* buckets_from */
),
bucket_sessions AS (
  SELECT
    days.organization_id,
    day_bits.bucket_start,
    days.person,
    days.customer_type,
    BIT_OR(IF(days.is_active_remotely, day_bits.day, 0)) AS remote_days,
    BIT_OR(IF(days.is_active_locally, day_bits.day, 0)) AS local_days,
    BIT_OR(IF(days.is_active_elsewhere, day_bits.day, 0)) AS other_days
  FROM `claude_code.actor_days` AS days
  JOIN day_bits ON day_bits.organization_id = days.organization_id AND day_bits.date = days.date
  WHERE days.is_active AND days.person IS NOT NULL
  GROUP BY days.organization_id, day_bits.bucket_start, days.person, days.customer_type
),
bucket_members AS (
  SELECT 'sessions' AS measure, organization_id, bucket_start, person, days
  FROM bucket_sessions
  CROSS JOIN UNNEST([remote_days, local_days, other_days]) AS days
  WHERE days <> 0
  UNION ALL
  SELECT 'tools', actions.organization_id, day_bits.bucket_start, actions.person, BIT_OR(day_bits.day)
  FROM `claude_code.actions` AS actions
  JOIN day_bits ON day_bits.organization_id = actions.organization_id AND day_bits.date = actions.date
  WHERE actions.is_used AND actions.person IS NOT NULL AND actions.date >= DATE '0001-01-01' /* buckets_from */
  GROUP BY actions.organization_id, day_bits.bucket_start, actions.person, actions.tool_name
  UNION ALL
  SELECT
    entries.customer_type, entries.organization_id, day_bits.bucket_start, entries.person, BIT_OR(day_bits.day)
  FROM `claude_code.entries` AS entries
  JOIN day_bits ON day_bits.organization_id = entries.organization_id AND day_bits.date = entries.date
  LEFT JOIN `claude_code.actor_groups` AS mapping
    ON mapping.actor_type = entries.actor_type AND mapping.actor = entries.actor
    AND entries.date BETWEEN mapping.valid_from AND mapping.valid_to AND NOT mapping.is_conflict
  WHERE entries.has_cost AND entries.customer_type IN ('api', 'subscription')
    AND entries.person IS NOT NULL AND entries.date >= DATE '0001-01-01' /* buckets_from */
  GROUP BY
    entries.organization_id, day_bits.bucket_start, entries.person, entries.customer_type, entries.undated_model,
    COALESCE(mapping.group_name, '(unmapped)' /* unmapped */)
)
SELECT * FROM `claude_code.shown_days`(bucket_members => TABLE bucket_members)
