-- Days whose newest load had other filters than that of the loaded day before, so that the two cannot be compared.
--
-- finding: what is wrong, as in `data_quality`.
WITH requests AS (
  SELECT organization_id, stream, date, COALESCE(request, '{}') AS request
  FROM `claude_code.newest_loads`
  WHERE TRUE
  -- Tables of a day may have been loaded apart.
  QUALIFY ROW_NUMBER() OVER (PARTITION BY organization_id, stream, date ORDER BY load_id DESC) = 1
),
steps AS (
  SELECT
    requests.*,
    LAG(date) OVER (PARTITION BY organization_id, stream ORDER BY date) AS previous_date,
    LAG(request) OVER (PARTITION BY organization_id, stream ORDER BY date) AS previous_request
  FROM requests
)
SELECT
  'request_changed' AS check_name, date, organization_id, stream AS table_name,
  CONCAT(
    'The day was loaded with other filters than ', CAST(previous_date AS STRING),
    ', so the two cannot be compared. Load one of them again with the filters of the other. This day: ', request,
    '; ', CAST(previous_date AS STRING), ': ', previous_request, '.'
  ) AS finding
FROM steps
WHERE request <> previous_request
