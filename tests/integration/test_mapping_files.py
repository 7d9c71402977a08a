"""Rosters and mappings as people export them: each actor in the group that the file says, or the line that is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from tests.fixtures.loaded import put_day, source
from tests.fixtures.records import DAY, official_example

UNFOLDED = Settings(min_group_size=1)
COLUMNS = ("actor_type", "actor_id", "team", "cost_centre", "valid_from", "valid_to")
HEAD = ",".join(COLUMNS) + "\n"
ANN = "user_actor,ann@example.com,blue,1,,\n"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of two people and an API key."""
    root = tmp_path_factory.mktemp("loaded")
    actors: list[dict[str, Any]] = [
        {"type": "user_actor", "email_address": f"{name}@example.com"} for name in ("ann", "bob")
    ]
    actors.append({"type": "api_actor", "api_key_name": 'CI; "nightly", Köln '})
    put_day(root, DAY, [official_example(actor=actor) for actor in actors])
    # Groups are shown of weeks that are over.
    put_day(root, DAY + timedelta(days=6), [])
    return root


Groups = dict[tuple[str, str | None], int]


@pytest.fixture
def groups(loaded: Path, tmp_path: Path) -> Callable[..., Groups]:
    """Gives how many actors each group has when a file of this content and name is the mapping."""

    def read(content: bytes | str, name: str = "mapping.csv") -> Groups:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        with source(loaded, UNFOLDED, mapping=file) as opened:
            rows = opened.read("cost_allocation").to_pylist()
        return {(row["team"], row["cost_centre"]): row["people"] for row in rows}

    return read


def exported(rows: list[tuple[str, ...]], **dialect: Any) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows([COLUMNS, *rows])
    return file.getvalue()


def several(count: int) -> list[tuple[str, ...]]:
    """People without usage, none of whose cells needs a quotation mark."""
    return [("user_actor", f"p{number}@example.com", "red", "2", "", "") for number in range(count)]


LAST = [
    ("user_actor", "ann@example.com", "Sales, EMEA", "1;2", "2025-01-01", ""),
    ("user_actor", "bob@example.com", 'The "B" team\nof Köln', "", "", "2099-12-31"),
    ("api_actor", 'CI; "nightly", Köln ', "robots", "3\t4", "", ""),
]
OF_LAST = {("Sales, EMEA", "1;2"): 1, ('The "B" team\nof Köln', None): 1, ("robots", "3\t4"): 1}


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_export_is_read_as_it_was_written(
    groups: Callable[..., Groups], encoding: str, delimiter: str, end: str, quoting: int
) -> None:
    text = exported(several(3) + LAST, delimiter=delimiter, lineterminator=end, quoting=quoting)
    assert groups(text.encode(encoding)) == OF_LAST


def test_a_row_is_read_alike_after_as_many_others_as_anybody_may_have(groups: Callable[..., Groups]) -> None:
    assert groups(exported(several(30_000) + LAST)) == OF_LAST


def test_ids_that_are_quoted_late_are_on_the_roster(loaded: Path, tmp_path: Path) -> None:
    people = "".join(f"p{number}@example.com,,\n" for number in range(25_000))
    (tmp_path / "roster.csv").write_text(
        f'actor_id,valid_from,valid_to\n{people}"ann@example.com","",""\n"bob@example.com",,\n'
    )
    with source(loaded, UNFOLDED, roster=tmp_path / "roster.csv") as opened:
        (row,) = [row for row in opened.read("adoption").to_pylist() if row["date"] == DAY]
    assert (row["eligible_people"], row["eligible_active_people"]) == (25_002, 2)


def test_the_header_may_have_another_case_order_and_more_columns(groups: Callable[..., Groups]) -> None:
    text = "Note;VALID_TO; Valid_From ;Cost_Centre;Team;Actor_ID;actor_type;;\n"
    text += "Ann's;;;1;blue;ann@example.com; user_actor ;;\n"
    assert groups(text) == {("blue", "1"): 1, ("(unmapped)", None): 2}


@pytest.mark.parametrize("name", ["MAPPING.CSV", "team=all/actor_id=x/mapping.csv", "m[1]*?.csv", "#a%20b.csv"])
def test_a_files_name_and_folders_say_nothing_of_its_content(groups: Callable[..., Groups], name: str) -> None:
    groups(HEAD + "user_actor,ann@example.com,another,1,,\n", "m1x.csv")
    assert groups(HEAD + ANN, name)["blue", "1"] == 1


@pytest.mark.parametrize("name", ["mapping.PARQUET", "team=all/mapping.parquet", "m[1]*?.parquet"])
def test_so_it_is_with_parquet(groups: Callable[..., Groups], name: str) -> None:
    file = io.BytesIO()
    rows = pa.table({column: [cell or None] for column, cell in zip(COLUMNS, ANN.strip("\n").split(","), strict=True)})
    pq.write_table(rows.rename_columns([column.upper() for column in COLUMNS]), file)
    assert groups(file.getvalue(), name)["blue", "1"] == 1


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("left_out", [["cost_centre"], ["valid_from", "valid_to"], ["cost_centre", "valid_from"]])
def test_columns_that_may_be_empty_may_be_left_out(
    groups: Callable[..., Groups], left_out: list[str], kind: str
) -> None:
    cells = dict(zip(COLUMNS, ("user_actor", "ann@example.com", "blue", "1", str(DAY), str(DAY)), strict=True))
    kept = {column: cell for column, cell in cells.items() if column not in left_out}
    content: Any = f"{','.join(kept)}\n{','.join(kept.values())}\n".encode()
    if kind == "parquet":
        file = io.BytesIO()
        pq.write_table(pa.table({column: [cell] for column, cell in kept.items()}), file)
        content = file.getvalue()
    assert groups(content, f"mapping.{kind}")["blue", None if "cost_centre" in left_out else "1"] == 1


def test_a_roster_may_be_a_list_of_addresses_alone(loaded: Path, tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text("actor_id\nann@example.com\ncarol@example.com\n")
    with source(loaded, UNFOLDED, roster=tmp_path / "roster.csv") as opened:
        (row,) = [row for row in opened.read("adoption").to_pylist() if row["date"] == DAY]
    assert (row["eligible_people"], row["eligible_active_people"]) == (2, 1)


REFUSED = {
    "nothing": ("", "The column 'actor_type' is missing"),
    "no header": (ANN * 2, "The column 'actor_type' is missing"),
    "a title": ("Teams of the secret department,,,,,\n" + HEAD + ANN, "The column 'actor_type' is missing"),
    "a column twice": ("Team," + HEAD + "secret," + ANN, "names the column 'team' 2 times"),
    "two delimiters": (HEAD.replace(",", ";", 1) + ANN, "more than one of comma, semicolon and tab"),
    "a total": (HEAD + ANN + "Total,secret,,1,,\n", "Line 3: actor_type must be one of"),
    "a total of addresses": (
        HEAD + ANN + "user_actor,secret total: 1,,1,,\n",
        "Line 3: .* neither an e-mail address nor a",
    ),
    "cells for layout": (HEAD + ANN + ",,,,,\n", "Line 3: actor_type must be one of"),
    "a blank that is not trimmed": (
        HEAD + "user_actor,secret@example.com\u2003,a,1,,\n",
        "Line 2: .* neither an e-mail address",
    ),
    "what cannot be seen": (
        HEAD + "user_actor,secret@example.com\u200b,a,1,,\n",
        "Line 2: .* neither an e-mail address",
    ),
    "no id": (HEAD + ANN + "user_actor, ,secret,1,,\n", "Line 3: actor_id is empty"),
    "no type": (HEAD + ",secret@example.com,a,1,,\n", "Line 2: actor_type must be one of"),
    "a misspelt type": (HEAD + "user,secret@example.com,a,1,,\n", "Line 2: actor_type must be one of"),
    "a short row": (
        HEAD + ANN + "user_actor,secret@example.com,a,1\n",
        "Line 3 has 4 cells, but the first line names 6",
    ),
    "an extra cell": (HEAD + ANN + "user_actor,secret@example.com,Sales, EMEA,1,,\n", "Line 3 has 7 cells"),
    "a joined export": (HEAD + ANN + (HEAD + ANN).replace(",", ";"), "Line 3 has 1 cells"),
    "a joined export with its header": (HEAD + ANN + HEAD + ANN, "Line 3: actor_type must be one of"),
    "an unfinished quotation": (
        HEAD + ANN + 'user_actor,secret@example.com,"a,1,,\n' + ANN,
        "begins on line 3 is not CSV",
    ),
    "a mark in a cell": (
        HEAD + 'user_actor,secret@example.com,5" a,1,,\n',
        "line 2 is not CSV: a cell with a quotation",
    ),
    "a blank before the mark": (HEAD + 'user_actor,secret@example.com, "a",1,,\n', "line 2 is not CSV: a cell with a"),
    "an unescaped mark": (HEAD + 'user_actor,secret@example.com,"a"b",1,,\n', "line 2 is not CSV"),
    "Latin-1": ((HEAD + ANN + ANN.replace("blue", "Köln")).encode("latin-1"), "Line 3 is not UTF-8"),
    "UTF-16 without its mark": ((HEAD + ANN).encode("utf-16-le"), "Line 1 contains a NUL"),
    "another day": (
        HEAD + ANN + "user_actor,secret@example.com,a,1,1.9.2025,\n",
        "Line 3: valid_from is not a date",
    ),
    "no day of the calendar": (
        HEAD + "user_actor,secret@example.com,a,1,,2025-02-30\n",
        "Line 2: valid_to is not a date",
    ),
    "a week": (HEAD + "user_actor,secret@example.com,a,1,,2025-W05-1\n", "Line 2: valid_to is not a date"),
    "days the wrong way round": (
        HEAD + "user_actor,secret@example.com,a,1,2025-02-02,2025-02-01\n",
        "Line 2: .* after",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_right_is_refused_by_line_without_its_content(groups: Callable[..., Groups], what: str) -> None:
    content, message = REFUSED[what]
    with pytest.raises(ClaudeCodeConfigurationError, match=message) as refusal:
        groups(content)
    assert str(refusal.value).startswith("mapping cannot be read from file://")
    assert "secret" not in str(refusal.value)
    assert "@" not in str(refusal.value)


def test_a_total_line_is_nobody_on_a_roster(loaded: Path, tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_text("actor_id,valid_from,valid_to\nann@example.com,,\nSecret total: 1,,\n")
    with (
        pytest.raises(ClaudeCodeConfigurationError, match="Line 3: actor_id is neither an e-mail address") as refusal,
        source(loaded, UNFOLDED, roster=roster),
    ):
        pass
    assert "Secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1 secret", "It is not a Parquet file"),
        ({"actor_id": ["secret"]}, "The column 'actor_type' is missing"),
        ({column: ["secret"] for column in COLUMNS}, "valid_from DATE, valid_to DATE"),
        ({column: [20250901] for column in COLUMNS}, "valid_from DATE, valid_to DATE"),
    ],
)
def test_a_parquet_file_of_something_else_is_refused(
    groups: Callable[..., Groups], content: bytes | dict[str, list[Any]], message: str
) -> None:
    if isinstance(content, dict):
        file = io.BytesIO()
        pq.write_table(pa.table(content), file)
        content = file.getvalue()
    with pytest.raises(ClaudeCodeConfigurationError, match=message) as refusal:
        groups(content, "mapping.parquet")
    assert "secret" not in str(refusal.value)


def test_days_are_inclusive(groups: Callable[..., Groups]) -> None:
    before, after = DAY - timedelta(days=1), DAY + timedelta(days=1)
    text = HEAD + f"user_actor,ann@example.com,past,,,{before}\nuser_actor,ann@example.com,now,,{DAY},{DAY}\n"
    text += f"user_actor,ann@example.com,future,,{after},\n"
    assert groups(text) == {("now", None): 1, ("(unmapped)", None): 2}
