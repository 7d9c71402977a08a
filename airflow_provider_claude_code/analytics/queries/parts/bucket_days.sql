-- The days of `days`, each with the week or month that it is in: one row per organisation and UTC day.
--
-- bucket_start: first day of the week (a Monday) or calendar month.
-- bucket_end: its last day.
SELECT days.*, days.date /* bucket_start */ AS bucket_start, days.date /* bucket_end */ AS bucket_end
FROM `claude_code.days` AS days
