"""A task writes a report on loaded usage where it is told to, and tells Airflow where and the numbers, and no names."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_claude_code.version_compat import AirflowFailException

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.exceptions import ClaudeCodePublishError
from airflow_provider_claude_code.links import ClaudeCodeReportLink
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator
from tests.loaded import put_day
from tests.records import DAY, ORGANIZATION_ID, people

LAST_DAY = DAY + timedelta(days=6)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks of six people, of whom each has the official example's five sessions a day."""
    root = tmp_path_factory.mktemp("loaded")
    for number in range(14):
        day = LAST_DAY - timedelta(days=number)
        put_day(root, day, people(6, day))
    return root


class OnlyEvent:
    """The event of the one asset that there is; assets cannot be keys on Airflow 3.0."""

    extra: Any = None

    def __getitem__(self, asset: Asset) -> OnlyEvent:
        return self


def make(path: str, report_path: str, **arguments: Any) -> tuple[ClaudeCodeReportOperator, dict[str, Any], Any]:
    """Make a report on the last week and return the task, its XCom and the extra of its asset."""
    operator = ClaudeCodeReportOperator(
        task_id="make_report",
        path=path,
        report_path=report_path,
        outlets=[Asset("report")],
        **{"last_day": str(LAST_DAY), "period_days": 7} | arguments,
    )
    event = OnlyEvent()
    context: Any = {"ti": SimpleNamespace(dag_id="dag", task_id="make_report"), "outlet_events": event}
    return operator, operator.execute(context), event.extra


def test_a_report_is_written_and_told_of_with_its_numbers_and_no_names(loaded: Path, tmp_path: Path) -> None:
    file = tmp_path / "reports" / "week.html"
    operator, result, extra = make(str(loaded), str(file))
    assert result == extra
    assert (result["report"], result["first_day"], result["last_day"]) == (f"file://{file}", str(DAY), str(LAST_DAY))
    (headline,) = result["headlines"]
    assert headline["organization_id"] == ORGANIZATION_ID
    assert (headline["active_people"], headline["sessions"]) == (6, 6 * 5 * 7)
    assert headline["api_cost_usd"] == "430.5", "10.25 dollars a person and day"
    html = file.read_text()
    assert "430.50" in html
    assert "@example.com" not in html
    assert "@example.com" not in json.dumps(result)
    assert ClaudeCodeReportLink().get_link(operator, ti_key=None) == f"file://{file}"


def test_a_second_report_takes_the_place_of_the_first(loaded: Path, tmp_path: Path) -> None:
    file = tmp_path / "week.html"
    make(str(loaded), str(file), period_days=1)
    before = file.read_text()
    make(str(loaded), str(file), first_day=str(DAY), period_days=28)
    assert file.read_text() != before
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".lock")] == ["week.html"]


def test_files_and_report_may_be_in_object_stores(loaded: Path, tmp_path: Path) -> None:
    bucket = f"memory://{uuid.uuid4().hex}"
    attach("memory", conn_id="reports", fs=(store := MemoryFileSystem(skip_instance_cache=True)))
    for file in loaded.rglob("*.parquet"):
        store.put_file(str(file), f"{bucket}/claude code/{file.relative_to(loaded)}")
    mapping = "actor_type,actor_id,team,cost_centre,valid_from,valid_to\n"
    mapping += "".join(f"user_actor,Person-{number}@example.com,payments,4711,,\n" for number in range(6))
    store.pipe_file(f"{bucket}/mapping.csv", mapping.encode())
    _, result, _ = make(
        f"{bucket}/claude code",
        f"{bucket}/reports/week.html",
        mapping=f"{bucket}/mapping.csv",
        conn_id="reports",
        report_conn_id="reports",
    )
    _, local, _ = make(str(loaded), str(tmp_path / "week.html"))
    assert result["headlines"] == local["headlines"]
    html = store.cat_file(f"{bucket}/reports/week.html").decode()
    assert "payments" in html
    assert "(unmapped)" not in html
    assert "payments" not in (tmp_path / "week.html").read_text()


def test_people_are_named_when_that_is_asked_for(loaded: Path, tmp_path: Path) -> None:
    make(str(loaded), str(tmp_path / "week.html"), people=True)
    assert "person-0@example.com" in (tmp_path / "week.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"report_path": "/reports/week.pdf"}, "has to end with .html"),
        ({"report_path": "week.html"}, "report_path is 'week.html'"),
        ({"min_group_size": 0}, "min_group_size is 0"),
        ({"first_day": str(LAST_DAY + timedelta(days=1))}, "before first_day"),
        ({"roster": "roster.csv"}, "roster is 'roster.csv'"),
        ({"roster": "/nowhere/roster.csv"}, "roster is file:///nowhere/roster.csv, where there is no file"),
        ({"since": str(LAST_DAY + timedelta(days=1))}, "holds no loaded days since"),
    ],
)
def test_arguments_that_cannot_be_used_fail_without_a_retry(
    loaded: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    report_path = arguments.pop("report_path", str(tmp_path / "week.html"))
    with pytest.raises(AirflowFailException, match=message):
        make(str(loaded), report_path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(
    loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(AirflowFailException, match=r"sqlglot is not installed: .*\[report\]"):
        make(str(loaded), str(tmp_path / "week.html"))


def test_a_place_that_cannot_be_written_to_can_be_tried_again(loaded: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClaudeCodePublishError, match="could not be read or written"):
        make(str(loaded), str(tmp_path / "file" / "week.html"))


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("gs://bucket/a b/week.html", "https://storage.cloud.google.com/bucket/a%20b/week.html"),
        ("s3://bucket/a/week.html", "https://console.aws.amazon.com/s3/object/bucket?prefix=a/week.html"),
        ("abfs://container/week.html", "abfs://container/week.html"),
        (None, ""),
    ],
)
def test_the_link_leads_a_browser_to_the_report(url: str | None, link: str) -> None:
    assert ClaudeCodeReportLink().get_link(SimpleNamespace(report_url=url), ti_key=None) == link
