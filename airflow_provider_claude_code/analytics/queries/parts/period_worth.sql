-- What the report compares with the cost of Claude Code: one row per period of `periods` and organisation. People, API
-- keys that somebody may work with, those of machines, and charges that name nobody have separate columns. All amounts
-- are in US dollars.
--
-- period_start: first day of the period (UTC).
-- organization_id: the organisation.
-- days_in_period: days of the period.
-- days_loaded: how many of them have a complete load.
-- charged_days: how many of them have charges that were loaded after they were complete.
-- people: active people.
-- person_days: sum over people of their active days.
-- api_people: people who were active with customer_type api.
-- api_person_days: sum over people of their days with such activity.
-- people_beside_api: people with an active day without activity of customer_type api.
-- other_people: people who were active with another customer_type, also or only.
-- api_cost_people: people with an estimated cost.
-- charged_people: people with charges for Claude Code.
-- keys: active API keys, without those of machines, and active actors of kinds that the API added later, as in the other
--   columns about keys.
-- api_cost_keys: those with an estimated cost.
-- charged_keys: those with charges for Claude Code.
-- commits: people's commits made by Claude Code.
-- pull_requests: people's pull requests made by Claude Code.
-- actions: tool actions that people accepted.
-- api_commits: people's commits of customer_type api.
-- api_pull_requests: people's pull requests of customer_type api.
-- api_actions: tool actions of customer_type api that people accepted.
-- key_commits: commits of API keys.
-- key_pull_requests: pull requests of API keys.
-- key_actions: accepted tool actions of API keys.
-- api_sessions: people's sessions of customer_type api.
-- api_sessions_with_detail: api_sessions of records that name models; the cost of the others is unknown.
-- subscription_sessions: people's sessions of customer_type subscription.
-- subscription_sessions_with_detail: the same for subscription_sessions.
-- key_sessions: sessions of API keys of customer_type api.
-- key_sessions_with_detail: the same for key_sessions.
-- machine_sessions: sessions of machines' API keys of customer_type api.
-- machine_sessions_with_detail: the same for machine_sessions.
-- other_cost_entries: model entries whose cost is in no amount here.
-- other_charges: charges for Claude Code in another currency.
-- api_cost_usd: estimated cost of people; null when no such record names a model.
-- key_api_cost_usd: estimated cost of API keys; null likewise.
-- machine_api_cost_usd: estimated cost of machines' API keys; null likewise.
-- charged_usd: charges for people; null without such charges.
-- key_charged_usd: charges for API keys; null likewise.
-- machine_charged_usd: charges for machines' API keys; null likewise.
-- unattributed_charged_usd: charges that name nobody; null likewise.
SELECT
  periods.period_start,
  periods.organization_id,
  ANY_VALUE(periods.days_in_period) AS days_in_period,
  ANY_VALUE(periods.days_loaded) AS days_loaded,
  COALESCE(ANY_VALUE(charged.charged_days), 0) AS charged_days,
  COUNT(IF(who.kind = 'person' AND who.active_days > 0, 1, NULL)) AS people,
  SUM(IF(who.kind = 'person', who.active_days, 0)) AS person_days,
  COUNT(IF(who.kind = 'person' AND who.api_days > 0, 1, NULL)) AS api_people,
  SUM(IF(who.kind = 'person', who.api_days, 0)) AS api_person_days,
  COUNT(IF(who.kind = 'person' AND who.active_days > who.api_days, 1, NULL)) AS people_beside_api,
  COUNT(IF(who.kind = 'person' AND who.other_days > 0, 1, NULL)) AS other_people,
  COUNT(IF(who.kind = 'person' AND who.api_cost_cents <> 0, 1, NULL)) AS api_cost_people,
  COUNT(IF(who.kind = 'person' AND who.charged_cents <> 0, 1, NULL)) AS charged_people,
  COUNT(IF(who.kind = 'key' AND who.active_days > 0, 1, NULL)) AS keys,
  COUNT(IF(who.kind = 'key' AND who.api_cost_cents <> 0, 1, NULL)) AS api_cost_keys,
  COUNT(IF(who.kind = 'key' AND who.charged_cents <> 0, 1, NULL)) AS charged_keys,
  SUM(IF(who.kind = 'person', who.commits, 0)) AS commits,
  SUM(IF(who.kind = 'person', who.pull_requests, 0)) AS pull_requests,
  SUM(IF(who.kind = 'person', who.actions, 0)) AS actions,
  SUM(IF(who.kind = 'person', who.api_commits, 0)) AS api_commits,
  SUM(IF(who.kind = 'person', who.api_pull_requests, 0)) AS api_pull_requests,
  SUM(IF(who.kind = 'person', who.api_actions, 0)) AS api_actions,
  SUM(IF(who.kind = 'key', who.commits, 0)) AS key_commits,
  SUM(IF(who.kind = 'key', who.pull_requests, 0)) AS key_pull_requests,
  SUM(IF(who.kind = 'key', who.actions, 0)) AS key_actions,
  SUM(IF(who.kind = 'person', who.api_sessions, 0)) AS api_sessions,
  SUM(IF(who.kind = 'person', who.api_sessions_with_detail, 0)) AS api_sessions_with_detail,
  SUM(IF(who.kind = 'person', who.subscription_sessions, 0)) AS subscription_sessions,
  SUM(IF(who.kind = 'person', who.subscription_sessions_with_detail, 0))
    AS subscription_sessions_with_detail,
  SUM(IF(who.kind = 'key', who.api_sessions, 0)) AS key_sessions,
  SUM(IF(who.kind = 'key', who.api_sessions_with_detail, 0)) AS key_sessions_with_detail,
  SUM(IF(who.kind = 'machine', who.api_sessions, 0)) AS machine_sessions,
  SUM(IF(who.kind = 'machine', who.api_sessions_with_detail, 0)) AS machine_sessions_with_detail,
  SUM(COALESCE(who.other_cost_entries, 0)) AS other_cost_entries,
  SUM(COALESCE(who.other_charges, 0)) AS other_charges,
  SUM(IF(who.kind = 'person', who.api_cost_cents, NULL)) * 0.01 /* dollars_per_cent */ AS api_cost_usd,
  SUM(IF(who.kind = 'key', who.api_cost_cents, NULL)) * 0.01 /* dollars_per_cent */ AS key_api_cost_usd,
  SUM(IF(who.kind = 'machine', who.api_cost_cents, NULL)) * 0.01 /* dollars_per_cent */ AS machine_api_cost_usd,
  ROUND(SUM(IF(who.kind = 'person', who.charged_cents, NULL)) * 0.01 /* dollars_per_cent */, 9)
    AS charged_usd,
  ROUND(SUM(IF(who.kind = 'key', who.charged_cents, NULL)) * 0.01 /* dollars_per_cent */, 9)
    AS key_charged_usd,
  ROUND(SUM(IF(who.kind = 'machine', who.charged_cents, NULL)) * 0.01 /* dollars_per_cent */, 9)
    AS machine_charged_usd,
  ROUND(SUM(IF(who.kind = 'nobody', who.charged_cents, NULL)) * 0.01 /* dollars_per_cent */, 9)
    AS unattributed_charged_usd
FROM `claude_code.periods` AS periods
LEFT JOIN `claude_code.period_people` AS who
  ON who.period_start = periods.period_start AND who.organization_id = periods.organization_id
LEFT JOIN `claude_code.period_charged_days` AS charged
  ON charged.period_start = periods.period_start AND charged.organization_id = periods.organization_id
GROUP BY 1, 2
