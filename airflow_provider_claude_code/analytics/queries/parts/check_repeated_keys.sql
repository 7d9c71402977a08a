-- Days of usage whose newest load has records with the same key, as if pages had overlapped. Loads of charges and of
-- members refuse such pages.
--
-- finding: what is wrong, as in `data_quality`.
SELECT
  'repeated_keys' AS check_name, newest.date, newest.organization_id, newest.table_name,
  CONCAT(
    CAST(repeated_keys AS STRING), ' of ', CAST(row_count AS STRING), ' records repeat the key of another. If the API ',
    'repeated them, they are counted twice: load the day again.'
  ) AS finding
FROM `claude_code.newest_loads` AS newest
JOIN `claude_code.days` AS days ON days.organization_id = newest.organization_id AND days.date = newest.date
WHERE newest.table_name = 'usage' AND days.is_loaded AND repeated_keys > 0
