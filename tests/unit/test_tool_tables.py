"""Exports of other AI tools are read as the tools write them. A refusal names the row but not its content."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_claude_code.analytics.tool_tables import check_tool_tables, read_tool_table
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

COPILOT = (
    '{"code_acceptance_activity_count": 1, "code_generation_activity_count": 1, "day": "2025-10-01", "enterprise_id": '
    '"1", "loc_added_sum": 8, "totals_by_ide": [{"ide": "vscode"}], "used_agent": false, "used_chat": false, '
    '"user_id": 1, "user_login": "login1", "user_initiated_interaction_count": 0}'
)
"""A line of the report as GitHub's reference shows it, shortened; used_cli came later."""
CURSOR = '{"date": 1710720000000, "isActive": true, "totalLinesAdded": 1543, "email": "developer@example.com"}'


def read(tmp_path: Path, name: str, file: str, content: str | bytes) -> list[dict[str, str | None]]:
    path = tmp_path / file
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_tool_table(name, ObjectStoragePath(f"file://{path}")).to_pylist())


@pytest.mark.parametrize("file", ["report.json", "report.ndjson", "report.JSONL"])
def test_copilots_report_is_read_whatever_it_holds_beside(tmp_path: Path, file: str) -> None:
    line = {
        "day": "2025-10-01",
        "user_login": "login1",
        "user_initiated_interaction_count": "0",
        "code_generation_activity_count": "1",
        "code_acceptance_activity_count": "1",
        "loc_added_sum": "8",
        "used_agent": "false",
        "used_chat": "false",
        "used_cli": None,
    }
    assert read(tmp_path, "copilot_usage", file, f"{COPILOT}\n\n{COPILOT}\r\n") == [line, line]
    assert read(tmp_path, "copilot_usage", file, f"[{COPILOT},\n{COPILOT}]") == [line, line]
    assert read(tmp_path, "copilot_usage", file, COPILOT) == [line]


def test_cursors_days_are_read_from_its_api_and_its_dashboard(tmp_path: Path) -> None:
    of_api = read(tmp_path, "cursor_usage", "days.json", f'{{"data": [{CURSOR}], "period": {{"startDate": 1}}}}')
    assert of_api == [{"date": "1710720000000", "email": "developer@example.com", "isActive": "true"}]
    csv = "Date,User ID,Email,Is Active,Edit Requests\n2024-03-18T04:30:00.000Z,7,developer@example.com,true,3\n"
    of_dashboard = read(tmp_path, "cursor_usage", "days.csv", csv)
    assert of_dashboard == [{"date": "2024-03-18T04:30:00.000Z", "email": "developer@example.com", "isActive": "true"}]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    content = io.BytesIO()
    pq.write_table(pa.table({"Login": ["a"], "ACTOR_ID": ["a@example.com"], "other": [1]}), content)
    found = read(tmp_path, "copilot_logins", "logins.parquet", content.getvalue())
    assert found == [{"login": "a", "actor_id": "a@example.com"}]


def parquet(**columns: list[object]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({name.replace("_", " "): values for name, values in columns.items()}), content)
    return content.getvalue()


def test_names_in_parquet_are_matched_and_left_out_as_in_other_files(tmp_path: Path) -> None:
    cursor = parquet(Date=["2025-10-01"], Email=["a@b.c"], Is_Active=[True])
    days = read(tmp_path, "cursor_usage", "days.parquet", cursor)
    assert days == [{"date": "2025-10-01", "email": "a@b.c", "isActive": True}]
    copilot = parquet(day=["2025-10-01"], User_Login=["a"], used_chat=[True])
    (line,) = read(tmp_path, "copilot_usage", "days.parquet", copilot)
    assert {name: value for name, value in line.items() if value is not None} == {
        "day": "2025-10-01",
        "user_login": "a",
        "used_chat": True,
    }


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("copilot_usage", "a.xlsx", "", "a .csv, .json, .jsonl, .ndjson or .parquet file was expected"),
        ("copilot_usage", "a.json", "secret", "Line 1 is not JSON"),
        ("copilot_usage", "a.ndjson", f"{COPILOT}\nsecret", "Line 2 is not JSON"),
        ("copilot_usage", "a.json", '["secret"]', "Row 1 is not a JSON object"),
        ("copilot_usage", "a.json", b"\xff\xfe", "not UTF-8"),
        (
            "copilot_usage",
            "a.json",
            '[{"day": "2025-10-01"}]',
            "Row 1: user_login is empty. Required columns: day, user_login.",
        ),
        ("copilot_usage", "a.json", '{"day": {"secret": 1}, "user_login": "b"}', "Row 1: day is not a single value"),
        ("copilot_logins", "a.csv", "login,actor_id\nsecret,secret\n", "Row 2: actor_id is neither an e-mail address"),
        ("cursor_usage", "a.csv", "Date,Email\n2025-10-01,b@example.com\n", "The column 'isActive' is missing"),
        ("cursor_usage", "a.csv", "Date,Email,Is Active\n2025-10-01,b@example.com,\n", "Row 2: isActive is empty"),
        (
            "copilot_logins",
            "a.csv",
            "login,Login,actor_id\na,secret,b@example.com\n",
            "names the column 'login' 2 times",
        ),
        ("other_tool_days", "a.parquet", "secret", "It is not a Parquet file"),
        ("copilot_usage", "a.parquet", parquet(day=["2025-10-01"]), "The column 'user_login' is missing"),
        (
            "copilot_logins",
            "a.parquet",
            parquet(login=["a"], Login=["secret"], actor_id=["b"]),
            "names the column 'login' 2 times",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_without_its_content(
    tmp_path: Path, name: str, file: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(ClaudeCodeConfigurationError) as error:
        read(tmp_path, name, file, content)
    assert message in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"copilot": "x"}, "other_tools has 'copilot'; known are other_tool_days, copilot_usage"),
        ({"copilot_usage": "x"}, "needs both copilot_usage and copilot_logins"),
        ({"copilot_logins": "x"}, "needs both copilot_usage and copilot_logins"),
    ],
)
def test_tables_that_do_not_go_together_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=message):
        check_tool_tables(given)
