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
    models.customer_type AS dimension,
    models.bucket_start AS period,
    models.organization_id,
    models.undated_model AS name,
    -- Only people with tokens and a cost count. The others are null, so that a model that only they use is folded.
    IF(models.is_used AND models.has_cost, models.person, NULL) AS person,
    IF(models.is_used AND models.has_cost, COALESCE(models.group_name, '(unmapped)' /* unmapped */), NULL) AS link
  FROM `claude_code.bucket_models` AS models
  JOIN `claude_code.breakdown_buckets` AS buckets
    ON buckets.organization_id = models.organization_id AND buckets.period_start = models.bucket_start
  WHERE models.person IS NOT NULL
)
SELECT * FROM `claude_code.small_groups`(group_members => TABLE group_members)
