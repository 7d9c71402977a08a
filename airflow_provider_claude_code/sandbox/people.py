"""The members, workspaces and API keys of an invented organisation at any time."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

CLAUDE_CODE_WORKSPACE = "Claude Code"

# People first use Claude Code at most this number of days after they join.
_LONGEST_IDLE_DAYS = 30
# From this day on, people leave, change their address, or have their account deleted. Earlier usage is unchanged.
_CHANGES_FROM = date(2026, 2, 1)
_AWAY = timedelta(days=30)


class Person(NamedTuple):
    """
    A person of the organisation.

    :param number: counts from 1
    :param joined: first day as a member
    :param left: first day without membership, if there is one
    :param back: first day as a member again, if there is one
    :param renamed: first day with another name and address, if there is one
    :param is_deleted: whether the account is deleted on leaving
    :param role: role in the organisation
    """

    number: int
    joined: date
    left: date | None
    back: date | None
    renamed: date | None
    is_deleted: bool
    role: str

    @property
    def user_id(self) -> str:
        """The id, which never changes."""
        return f"user_{self.number:024}"

    def address(self, day: date) -> str:
        """Return the person's address on a day."""
        is_renamed = self.renamed is not None and day >= self.renamed
        return f"dev{self.number:03}{'.new' if is_renamed else ''}@example.com"

    def name(self, day: date) -> str:
        """Return the person's name on a day."""
        return f"Developer {self.number}{' (renamed)' if self.address(day).endswith('.new@example.com') else ''}"

    def is_member(self, day: date) -> bool:
        """Return whether the person is a member on a day."""
        if day < self.joined:
            return False
        return self.left is None or day < self.left or (self.back is not None and day >= self.back)

    def has_account(self, day: date) -> bool:
        """Return whether the person's account still exists."""
        return not (self.is_deleted and self.left is not None and day >= self.left)


@lru_cache(maxsize=100_000)
def person(number: int, first_use: date) -> Person:
    """
    Invent a person. Every 17th person leaves, and half of these come back. Every 23rd gets another name. Every 29th
    leaves, and the account is deleted.

    :param number: counts from 1
    :param first_use: day on which the person first uses Claude Code
    """
    rng = random.Random(f"person {number}")
    changes = _CHANGES_FROM + timedelta(days=number % 40)
    leaves = number % 17 == 0 or number % 29 == 0
    return Person(
        number=number,
        joined=first_use - timedelta(days=rng.randint(0, _LONGEST_IDLE_DAYS)),
        left=changes if leaves else None,
        back=changes + _AWAY if number % 34 == 0 and number % 29 else None,
        renamed=changes if number % 23 == 0 else None,
        is_deleted=number % 29 == 0,
        role="admin" if number == 1 else rng.choice(("developer", "claude_code_user", "claude_code_user", "user")),
    )


def number_in(address: str) -> int:
    """Return the number of the person who has or had an address."""
    return int(address.partition("@")[0].removeprefix("dev").removesuffix(".new"))


def key_id(name: str) -> str:
    """Return the id of the API key with a name."""
    return f"apikey_{name}"


def workspace_id(name: str) -> str:
    """Return the id of a workspace."""
    return f"wrkspc_{name.lower().replace(' ', '-')}"


def members(people: list[Person], now: datetime) -> list[dict[str, Any]]:
    """Return the members at a time, in the API's JSON form."""
    day = now.astimezone(UTC).date()
    return [
        {
            "id": each.user_id,
            "type": "user",
            "email": each.address(day),
            "name": each.name(day),
            "role": each.role,
            "added_at": _moment(each.back if each.back and day >= each.back else each.joined),
        }
        for each in people
        if each.is_member(day)
    ]


def workspaces() -> list[dict[str, Any]]:
    """Return the workspaces: Claude Code, that of the pipelines, the default, and an archived one."""
    made = {"Default": None, CLAUDE_CODE_WORKSPACE: None, "Pipelines": None, "Experiments": date(2026, 1, 15)}
    return [
        {
            "id": workspace_id(name),
            "type": "workspace",
            "name": name,
            "display_color": "#6C5BB9",
            "created_at": _moment(date(2025, 5, 1)),
            "archived_at": archived and _moment(archived),
            "tags": {},
        }
        for name, archived in made.items()
    ]


def workspace_members(workspace: str, people: list[Person], now: datetime) -> list[dict[str, Any]]:
    """
    Return the members of a workspace. All people except every fifth have signed in to Claude Code.

    :param workspace: its id
    :param people: the people of the organisation
    :param now: time of the request
    """
    day = now.astimezone(UTC).date()
    chosen: dict[str, Callable[[int], bool]] = {
        workspace_id(CLAUDE_CODE_WORKSPACE): lambda number: number % 5 != 0,
        workspace_id("Pipelines"): lambda number: number <= 3,
    }
    return [
        {
            "type": "workspace_member",
            "user_id": each.user_id,
            "workspace_id": workspace,
            "workspace_role": "workspace_admin" if each.number == 1 else "workspace_user",
        }
        for each in people
        if each.is_member(day) and workspace in chosen and chosen[workspace](each.number)
    ]


def api_keys(names: list[str]) -> list[dict[str, Any]]:
    """
    Return the API keys. There are two with the first name, since one replaced the other.

    :param names: the names of the keys with usage
    """
    keys = [(key_id(name), name, "active") for name in names]
    if names:
        keys.append((f"{key_id(names[0])}-replaced", names[0], "archived"))
    return [
        {
            "id": id_,
            "type": "api_key",
            "name": name,
            "status": status,
            "workspace_id": workspace_id("Pipelines"),
            "scope": {"type": "workspace", "workspace_id": workspace_id("Pipelines")},
            "created_by": {"id": f"user_{1 + position % 3:024}", "type": "user"},
            "created_at": _moment(date(2025, 5, 1) + timedelta(days=position)),
            "expires_at": None,
            "partial_key_hint": "sk-ant-api03-...abcd",
        }
        for position, (id_, name, status) in enumerate(keys)
    ]


def _moment(day: date) -> str:
    return datetime.combine(day, time(9), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
