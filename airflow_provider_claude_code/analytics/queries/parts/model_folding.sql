-- Which models are folded together in each week or month, by what people used of them in US dollars: one row per week or
-- month, organisation, customer type and model, with the columns of `small_groups`. Costs are also shown by group, so a
-- person counts for a model only if the person used the most used model as well.
--
-- dimension: the customer type.
-- period: first day of the week or month.
-- organization_id: the organisation.
-- name: the model's identifier without a date.
-- is_small: whether it is folded.
-- is_hidden: whether no model of the customer type is shown.
-- folded_name: the name of all small groups together, null for others.
WITH group_members AS (
  SELECT
    customer_type AS dimension,
    period_start AS period,
    organization_id,
    undated_model AS name,
    -- Only people with tokens and a cost count. The others are null, so that a model that only they use is folded.
    IF(is_used AND has_cost, person, NULL) AS person,
    IF(is_used AND has_cost, COALESCE(group_name, '(unmapped)' /* unmapped */), NULL) AS link
  FROM `claude_code.bucket_models`
  WHERE person IS NOT NULL
)
SELECT * FROM `claude_code.small_groups`(group_members => TABLE group_members)
