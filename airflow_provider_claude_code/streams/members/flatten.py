"""From items of the lists to rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from airflow_provider_claude_code.streams.members.models import (
    KNOWN_CREATORS,
    KNOWN_ROLES,
    KNOWN_STATUSES,
    KNOWN_WORKSPACE_ROLES,
    ApiKey,
    Item,
    Member,
    Workspace,
    WorkspaceMember,
)
from airflow_provider_claude_code.streams.members.tables import (
    API_KEYS,
    MEMBERS,
    TABLES,
    WORKSPACE_MEMBERS,
    WORKSPACES,
)
from airflow_provider_claude_code.tables.contract import Table
from airflow_provider_claude_code.tables.rows import PageRows, Pseudonym, columns_of
from airflow_provider_claude_code.tables.totals import DayTotals

_ITEMS: dict[type[Item], Table] = {
    Member: MEMBERS,
    Workspace: WORKSPACES,
    WorkspaceMember: WORKSPACE_MEMBERS,
    ApiKey: API_KEYS,
}
# By table and column: the path of the field, and the values that are listed.
_LISTED: dict[tuple[str, str], tuple[str, set[Any]]] = {
    (MEMBERS.name, "role"): ("data[].role", KNOWN_ROLES),
    (WORKSPACE_MEMBERS.name, "workspace_role"): ("data[].workspace_role", KNOWN_WORKSPACE_ROLES),
    (API_KEYS.name, "status"): ("data[].status", KNOWN_STATUSES),
    (API_KEYS.name, "created_by_type"): ("data[].created_by.type", KNOWN_CREATORS),
}


class MembersFlattener:
    """
    Flattens the lists of a snapshot, page by page.

    :param day: the UTC day that the snapshot is filed under.
    :param pseudonym: what to store for the kind and the identifier of a person or key; ``None`` stores the identifier.
    """

    def __init__(self, day: date, pseudonym: Pseudonym | None = None) -> None:
        self.totals = DayTotals(TABLES)
        self._day = day
        self._pseudonym = pseudonym

    def flatten(self, records: Sequence[Any]) -> PageRows:
        """Return the rows of the next page and add them to the totals. The second list of workspaces has no rows."""
        own = {}
        for item_type, table in _ITEMS.items():
            items = [record for record in records if isinstance(record, item_type)]
            own[table.name] = columns_of(table.columns, items, self._pseudonym, date=[self._day] * len(items))
        page = PageRows(own=own)
        self.totals.add(page)
        for (name, column), (path, listed) in _LISTED.items():
            self.totals.name_unlisted(path, own[name][column], listed)
        return page
