-- Tables whose numbers of a day add up to more than a load accepts: one row per UTC day, organisation and table.
--
-- largest_count: the largest number that is no cost.
-- largest_cost: the largest cost in cents, without its sign; null where the table has none.
SELECT date, organization_id, table_name, largest_count, largest_cost
FROM `claude_code.day_sums`
WHERE counted > 1000000000000000 /* largest_sum_of_a_day */ OR cost > 1000000000000000 /* largest_sum_of_a_day */
