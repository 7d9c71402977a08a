-- Days of usage whose newest load has fewer records than an earlier one. Charges are checked against the API's own total
-- instead, see `check_cost_total`.
--
-- finding: what is wrong, as in `data_quality`.
SELECT
  'lost_records' AS check_name, newest.date, newest.organization_id, newest.table_name,
  CONCAT(
    'The newest load has ', CAST(row_count - repeated_keys AS STRING), ' of the ', CAST(most_records AS STRING),
    ' records of an earlier load, without repeated keys. Load the day again. If it has as few then, the API has removed ',
    'records.'
  ) AS finding
FROM `claude_code.newest_loads` AS newest
JOIN `claude_code.days` AS days ON days.organization_id = newest.organization_id AND days.date = newest.date
WHERE newest.table_name = 'usage' AND days.is_loaded AND row_count - repeated_keys < most_records
