"""The stream ``members``: a snapshot of the organisation's members, workspaces and API keys."""

from airflow_provider_claude_code.streams.base import Stream, as_of_now
from airflow_provider_claude_code.streams.members.flatten import MembersFlattener
from airflow_provider_claude_code.streams.members.pages import MEMBERS_PATH, member_requests
from airflow_provider_claude_code.streams.members.tables import TABLES

MEMBERS = Stream(
    name="members",
    title="Members, workspaces and API keys",
    coverage=(
        "The lists have the current members, workspaces and API keys of the organisation, and the members of "
        "workspaces that are not archived. They have no seat tiers, no last activity and no removed people: load a "
        "snapshot every day to keep a history."
    ),
    path=MEMBERS_PATH,
    requests=member_requests,
    flattener=MembersFlattener,
    tables=TABLES,
    complete_from=as_of_now,
    restarts=5,
)
