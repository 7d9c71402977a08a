"""The stream ``members``: a snapshot of the organisation's members, workspaces and API keys."""

from airflow_provider_claude_code.streams.base import Stream, complete_at_once, imported
from airflow_provider_claude_code.streams.members.tables import TABLES

MEMBERS = Stream(
    name="members",
    title="Members, workspaces and API keys",
    coverage=(
        "The lists have the current members, workspaces and API keys of the organisation, and the members of "
        "workspaces that are not archived. They have no seat tiers, no last activity and no removed people: load a "
        "snapshot every day to keep a history."
    ),
    path="/v1/organizations/users",
    begin_walk=imported(f"{__name__}.pages:member_walk"),
    flattener=imported(f"{__name__}.flatten:MembersFlattener"),
    tables=TABLES,
    complete_from=complete_at_once,
    restarts=5,
)
