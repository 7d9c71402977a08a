-- Days of usage whose numbers add up to more than a load accepts. Loads of charges refuse such days as well, but their
-- tables are not checked here.
--
-- finding: what is wrong, as in `data_quality`.
SELECT
  'out_of_range' AS check_name, date, organization_id, table_name,
  CONCAT(
    'The numbers of the day add up to more than a load accepts: the largest count is ',
    CAST(largest_count AS STRING), ', and the largest cost ', COALESCE(largest_cost /* as_text */, '0'),
    ' cents. Load the day again.'
  ) AS finding
FROM `claude_code.days_out_of_range`
