-- What is wrong with the loaded days: one row per finding, and none if nothing is wrong.
--
-- key: check_name, date, organization_id, table_name, finding
-- check_name: The check that found it, such as missing_days. The documentation says in a sentence what each check
--   finds.
-- date: The UTC day. For freshness, the newest complete day. For budget, the day on which the share was reached, or the
--   day after it if that is known from charges, which are complete a day later than usage. Null for mapping and roster.
-- organization_id: The organisation; null for mapping and roster, and for checks that count the rows of all together.
-- table_name: The table. For freshness and request_changed, the stream.
-- finding: What is wrong, with the numbers, and what to do.
SELECT * FROM `claude_code.check_sums`
UNION ALL
SELECT * FROM `claude_code.check_out_of_range`
UNION ALL
SELECT * FROM `claude_code.check_missing_days`
UNION ALL
SELECT * FROM `claude_code.check_volume_drop`
UNION ALL
SELECT * FROM `claude_code.check_freshness`
UNION ALL
SELECT * FROM `claude_code.check_repeated_keys`
UNION ALL
SELECT * FROM `claude_code.check_lost_records`
UNION ALL
SELECT * FROM `claude_code.check_cost_total`
UNION ALL
SELECT * FROM `claude_code.check_request_changed`
UNION ALL
SELECT * FROM `claude_code.check_budget`
UNION ALL
SELECT * FROM `claude_code.check_roster_and_mapping`
