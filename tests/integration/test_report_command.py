"""The report is made from the command line as an operator makes it, or not at all."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.__main__ import main
from tests.fixtures.loaded import put_days
from tests.fixtures.records import DAY, people

HOUR = {"hourly_cost": {"amount": 41, "source": "Finance"}}


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Load two days of six people, and go to where they are."""
    root = put_days(tmp_path / "usage", {day: people(6, day) for day in (DAY, DAY + timedelta(days=1))})
    monkeypatch.chdir(tmp_path)
    return root


def test_a_report_is_written_with_what_files_declare(
    loaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "assumptions.json").write_text(json.dumps(HOUR))
    (tmp_path / "tool.csv").write_text(
        "tool,date,actor_id,is_active\n" + "".join(f"Codex,{DAY},person-{n}@example.com,true\n" for n in range(6))
    )
    arguments = ["--first-day", str(DAY), "--last-day", str(DAY + timedelta(days=1))]
    arguments += ["--assumptions", "assumptions.json", "--other-tool", "other_tool_days=tool.csv"]
    main(["report", loaded.name, "report.html", *arguments])
    html = (tmp_path / "report.html").read_text()
    # 10.25 dollars a person and day: 60 * 123 / (41 * 12).
    assert "saves 15.0 minutes on each day" in html
    assert "<bdi>Codex</bdi>" in html
    assert "@example.com" not in html
    assert capsys.readouterr().out == "Wrote report.html\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--assumptions", "none.json"], "none.json"),
        (["--assumptions", "broken.json"], "broken.json is not JSON"),
        (["--assumptions", "wrong.json"], "unknown key 'hour'"),
        (["--other-tool", "cursor_usage"], "NAME=FILE was expected"),
        (["--other-tool", "copilot=x.csv"], "other_tools has 'copilot'"),
        (["--last-day", "May"], "--last-day is 'May'"),
        (["--first-day", "2026-11-31"], "--first-day is '2026-11-31', which is not in the calendar"),
        (["--min-group-size", "0"], "min_group_size is 0"),
        (["--period-days", "0"], "period_days is 0"),
        (["--period-days", "1000000"], "period_days=1000000 reaches from .* back to before 1970"),
        (["--period-days", "1000000", "--breakdown-grain", "month"], "back to before 1970"),
    ],
)
def test_nothing_is_written_where_something_cannot_be_used(
    loaded: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "wrong.json").write_text('{"hour": 1}')
    with pytest.raises(SystemExit, match=message):
        main(["report", loaded.name, "report.html", *arguments])
    assert not (tmp_path / "report.html").exists()


def test_a_missing_folder_is_created_and_another_ending_is_refused_before_the_work(
    loaded: Path, tmp_path: Path
) -> None:
    days = ["--first-day", str(DAY), "--last-day", str(DAY + timedelta(days=1))]
    with pytest.raises(SystemExit, match=r"must end with \.html"):
        main(["report", "nowhere", "new/report.htm", *days])
    assert not (tmp_path / "new").exists()
    main(["report", loaded.name, "new/report.html", *days])
    assert (tmp_path / "new" / "report.html").exists()


def test_a_folder_that_cannot_be_created_is_an_error_before_the_work(
    loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("airflow_provider_claude_code.analytics.report.make_report", None)
    with pytest.raises(SystemExit, match=r"Not a directory|File exists"):
        main(["report", loaded.name, "file/report.html", "--first-day", str(DAY), "--last-day", str(DAY)])
