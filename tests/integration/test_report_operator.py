"""A task writes a report on loaded usage where it is told to, and tells Airflow where and the numbers, and no names."""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
import re
import sys
import uuid
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_claude_code.version_compat import AirflowFailException

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.links import ClaudeCodeReportLink
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator
from airflow_provider_claude_code.storage.stores import LocalStore
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.loaded import put_day
from tests.fixtures.records import DAY, ORGANIZATION_ID, people

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
        **{"last_day": str(LAST_DAY)} | ({} if "first_day" in arguments else {"period_days": 7}) | arguments,
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
    assert ClaudeCodeReportLink().get_link(operator, ti_key=None) == "", "no browser opens a file from Airflow's page"


def test_an_alias_has_the_report_as_an_asset(loaded: Path, tmp_path: Path) -> None:
    file, alias, events = tmp_path / "week 1 ü.html", AssetAlias("reports"), OutletEventAccessors()
    operator, result, _ = make(str(loaded), str(file))
    operator.outlets = [alias]
    context: Any = {"outlet_events": events}
    operator.execute(context)
    (event,) = events[alias].asset_alias_events
    assert (event.dest_asset_key.uri, event.extra) == (f"file://{tmp_path}/week%201%20%C3%BC.html", result)


def test_the_cells_lie_beside_the_report_and_name_nobody(loaded: Path, tmp_path: Path) -> None:
    _, result, _ = make(str(loaded), str(tmp_path / "week.html"), people=True)
    assert "person-0@example.com" in (tmp_path / "week.html").read_text()
    beside = [Path(result[kind].removeprefix("file://")) for kind in ("csv", "json")]
    assert beside == [tmp_path / "week.csv", tmp_path / "week.json"]
    # Excel knows UTF-8 by it.
    assert beside[0].read_bytes().startswith(codecs.BOM_UTF8)
    rows = list(csv.DictReader(io.StringIO(beside[0].read_text(encoding="utf-8-sig"))))
    (cost,) = (row for row in rows if row["row"] == "API cost" and row["column"] == "value")
    assert (cost["value"], cost["number"], cost["unit"]) == ("$430.50", "430.50", "USD")
    content = json.loads(beside[1].read_text())
    assert (content["first_day"], content["last_day"]) == (str(DAY), str(LAST_DAY))
    assert [cell["value"] for cell in content["cells"]] == [row["value"].removeprefix("'") for row in rows]
    for text in (*(file.read_text() for file in beside), json.dumps(result)):
        assert "@example.com" not in text


@pytest.mark.parametrize(
    ("marker", "title", "chapter"),
    [
        (
            {"organization_id": ORGANIZATION_ID, "name": "Acme <b>"},
            "Claude Code usage: Acme &lt;b&gt;",
            "Acme &lt;b&gt;",
        ),
        ({"organization_id": "another", "name": "Acme"}, "Claude Code usage", ORGANIZATION_ID),
        ({"organization_id": ORGANIZATION_ID}, "Claude Code usage", ORGANIZATION_ID),
        (["damaged"], "Claude Code usage", ORGANIZATION_ID),
        (None, "Claude Code usage", ORGANIZATION_ID),
    ],
)
def test_it_is_called_after_the_organisation(tmp_path: Path, marker: Any, title: str, chapter: str) -> None:
    put_day(tmp_path / "files", DAY, people(6, DAY))
    if marker is not None:
        (tmp_path / "files" / "_organization.json").write_text(json.dumps(marker))
    arguments = {"last_day": str(DAY), "period_days": 1}
    make(str(tmp_path / "files"), str(tmp_path / "day.html"), **arguments)
    html = (tmp_path / "day.html").read_text()
    assert f"<h1><bdi>{title}</bdi></h1>" in html
    assert f"Organisation <bdi>{chapter}</bdi></h2>" in html
    assert ORGANIZATION_ID in html
    make(str(tmp_path / "files"), str(tmp_path / "day.html"), title="Mine & yours", **arguments)
    assert "<h1><bdi>Mine &amp; yours</bdi></h1>" in (tmp_path / "day.html").read_text()


def test_the_page_is_written_last(loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = LocalStore.write
    monkeypatch.setattr(LocalStore, "write", lambda store, key, file: (written.append(key), write(store, key, file)))
    make(str(loaded), str(tmp_path / "week.html"), period_days=1)
    # A first report also writes the cache of loads.
    assert [key for key in written if key.startswith("week")] == ["week.csv", "week.json", "week.html"]


def test_mail_and_chat_get_a_few_sentences_and_a_table(loaded: Path, tmp_path: Path, caplog: Any, capsys: Any) -> None:
    with caplog.at_level(logging.INFO):
        _, result, _ = make(str(loaded), str(tmp_path / "week.html"), title="<b>Weekly</b>")
    assert (
        result["text"]
        .replace("\u00a0", " ")
        .startswith("<b>Weekly</b>, 1 Sep to 7 Sep 2025. 7 of 7 days loaded. 6 people used Claude Code: ")
    )
    assert len(re.findall(r"\.(?= |$)", result["text"])) == 6
    # Some versions of Airflow print it, others hand it to the standard library.
    assert result["text"] in caplog.text + capsys.readouterr().out
    assert "<caption>&lt;b&gt;Weekly&lt;/b&gt;" in result["html_table"]
    assert "$430.50" in result["html_table"]
    assert result["link"] == ""


def test_a_second_report_takes_the_place_of_the_first(loaded: Path, tmp_path: Path) -> None:
    file = tmp_path / "week.html"
    make(str(loaded), str(file), period_days=7)
    before = file.read_text()
    make(str(loaded), str(file), period_days=14)
    assert file.read_text() != before
    assert {entry.name for entry in tmp_path.iterdir()} == {"week.html", "week.csv", "week.json"}


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
    assert (result["report"], result["link"]) == (f"{bucket}/reports/week.html", "")
    for kind in ("csv", "json"):
        assert "payments" in store.cat_file(result[kind]).decode()
    html = store.cat_file(f"{bucket}/reports/week.html").decode()
    assert "payments" in html
    assert "(unmapped)" not in html
    assert "payments" not in (tmp_path / "week.html").read_text()


def test_the_month_is_shown_beside_the_budget(loaded: Path, tmp_path: Path) -> None:
    _, result, _ = make(str(loaded), str(tmp_path / "week.html"), monthly_budget_usd="1000")
    days = sum(day.month == LAST_DAY.month for day in (LAST_DAY - timedelta(days=number) for number in range(14)))
    spent = 61.5 * days
    assert float(result["headlines"][0]["month_to_date_usd"]) == spent
    assert f"{spent / 10:.1f}\u00a0% of the budget of $1,000.00." in (tmp_path / "week.html").read_text()


def test_people_are_named_when_that_is_asked_for(loaded: Path, tmp_path: Path) -> None:
    make(str(loaded), str(tmp_path / "week.html"), people=True)
    assert "person-0@example.com" in (tmp_path / "week.html").read_text()


def test_what_is_declared_and_other_tools_are_in_the_report(loaded: Path, tmp_path: Path) -> None:
    days = [
        {"date": f"{DAY}T00:00:00.000Z", "email": f"Person-{number}@example.com", "isActive": True}
        for number in range(6)
    ]
    (tmp_path / "cursor.json").write_text(json.dumps({"data": days}))
    operator, _, _ = make(
        str(loaded),
        str(tmp_path / "week.html"),
        assumptions={"hourly_cost": {"amount": 41, "source": "Finance <2026>"}},
        other_tools={"cursor_usage": str(tmp_path / "cursor.json")},
    )
    html = (tmp_path / "week.html").read_text()
    # 430.50 dollars over 42 days of people: 60 * 430.5 / (41 * 42).
    assert "saves 15.0 minutes on each day" in html
    assert "(Finance &lt;2026&gt;)" in html
    assert re.search(r"Cursor</th><td>6</td><td>[^<]*</td><td>6</td><td>[^<]*</td><td>6</td>", html)
    assert "other_tools" in operator.template_fields
    assert "assumptions" not in operator.template_fields, "who may choose a price could find out what people cost"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"breakdown_grain": "day"}, "breakdown_grain is 'day'; expected 'week', 'month'"),
        ({"min_group_size": 0}, "min_group_size is 0"),
        ({"report_path": "/reports/week.pdf"}, "must end with .html"),
        ({"report_path": "{{ params.report }}"}, None),
        ({"since": "2025-13-01"}, "since is '2025-13-01'"),
        ({"since": "{{ params.since }}"}, None),
        ({"period_days": 7, "first_day": "2025-09-01"}, "Set either period_days or first_day"),
        ({"period_days": 7, "first_day": "{{ params.first_day }}"}, None),
        ({"first_day": "2025-09-01"}, None),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_where_the_dag_is_written(
    arguments: dict[str, Any], message: str | None
) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=message) if message else nullcontext():
        ClaudeCodeReportOperator(task_id="report", **({"path": "/a", "report_path": "/a.html"} | arguments))


def test_what_cannot_be_assumed_is_refused_where_the_dag_is_written(loaded: Path, tmp_path: Path) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="unknown key 'hourly'"):
        make(str(loaded), str(tmp_path / "week.html"), assumptions={"hourly": 41})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"other_tools": {"copilot_usage": "/nowhere"}}, "needs both copilot_usage and copilot_logins"),
        ({"other_tools": {"cursor_usage": "/nowhere.csv"}}, "cursor_usage: no such file: file:///nowhere.csv"),
        ({"report_path": "week.html"}, "report_path is 'week.html'"),
        ({"monthly_budget_usd": "much"}, "monthly_budget_usd is 'much'; US dollars above 0 were expected"),
        ({"first_day": str(LAST_DAY + timedelta(days=1))}, "before first_day"),
        ({"roster": "roster.csv"}, "roster is 'roster.csv'"),
        ({"roster": "/nowhere/roster.csv"}, "roster: no such file: file:///nowhere/roster.csv"),
        ({"since": str(LAST_DAY + timedelta(days=1))}, "has no loaded days since"),
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


def test_a_place_that_can_never_be_written_to_fails_for_good(loaded: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AirflowFailException, match="Something else is there where a folder is needed"):
        make(str(loaded), str(tmp_path / "file" / "week.html"))


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("gs://bucket/a b/week.html", "https://storage.cloud.google.com/bucket/a%20b/week.html"),
        ("s3://bucket/a/week.html", "https://console.aws.amazon.com/s3/object/bucket?prefix=a/week.html"),
        ("https://reports.example.com/week.html", "https://reports.example.com/week.html"),
        ("abfs://container/week.html", ""),
        ("file:///reports/a.dag/week.html", ""),
        (None, ""),
    ],
)
def test_the_link_leads_a_browser_to_the_report_or_nowhere(url: str | None, link: str) -> None:
    operator = SimpleNamespace(report_url=url, dag_id="a.dag", people=True)
    assert ClaudeCodeReportLink().get_link(operator, ti_key=None) == link


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("/reports/a.dag/week.html", "/claude_code_reports/a.dag/week.html"),
        ("/reports/b/week.html", ""),
        ("/reports/week.html", ""),
        ("/reports/a.dag/deeper/week.html", ""),
        ("/reports/a.dag/a week.html", ""),
        ("/elsewhere/a.dag/week.html", ""),
    ],
)
@pytest.mark.parametrize("base_url", ["", "https://airflow.example.com/team/"])
def test_the_link_leads_to_the_page_where_it_is_on(
    monkeypatch: pytest.MonkeyPatch, file: str, path: str, base_url: str
) -> None:
    monkeypatch.setenv("AIRFLOW__CLAUDE_CODE__REPORTS_DIRECTORY", "/reports")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    operator = SimpleNamespace(report_url=f"file://{file}", dag_id="a.dag", people=False)
    expected = f"{base_url.rstrip('/')}{path}" if path and AIRFLOW >= (3, 1) else ""
    assert ClaudeCodeReportLink().get_link(operator, ti_key=None) == expected
    # The page refuses a report that names people.
    operator.people = True
    assert ClaudeCodeReportLink().get_link(operator, ti_key=None) == ""
