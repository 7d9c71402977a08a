"""The commands are the same on both command lines, and cost nothing before they run."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_claude_code.__main__ import main
from airflow_provider_claude_code.analytics.queries import Settings, models
from airflow_provider_claude_code.cli.definition import COMMANDS, Command
from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.streams.usage.models import ACTOR_KINDS
from tests.fixtures.airflow_version import AIRFLOW

ROOT = Path(__file__).parents[2]
PACKAGE = "airflow_provider_claude_code"
NAMES = [command.name for command in COMMANDS]

needs_airflow_3_2 = pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow 3.2 and later have commands of providers")


def run(*arguments: str, home: Path | None = None) -> str:
    environment = os.environ | ({"AIRFLOW_HOME": str(home)} if home else {})
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def parsed(name: str, *arguments: str) -> argparse.Namespace:
    (command,) = (command for command in COMMANDS if command.name == name)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_modules_help_lists_the_commands() -> None:
    text = run(PACKAGE, "--help")
    assert f"python -m {PACKAGE}" in text
    for command in COMMANDS:
        assert f"  {command.name}" in text
        assert command.help in text


@needs_airflow_3_2
def test_airflows_help_lists_the_commands(tmp_path: Path) -> None:
    text = run("airflow", "claude-code", "--help", home=tmp_path)
    for command in COMMANDS:
        assert f"  {command.name}" in text
        assert command.help in text


@needs_airflow_3_2
def test_a_command_takes_the_same_arguments_on_both_command_lines(tmp_path: Path) -> None:
    arguments = ["sql", "adoption", "proj.data", "--min-group-size=3", "--roster=proj.hr.people"]
    text = run("airflow", "claude-code", *arguments, home=tmp_path)
    assert "proj.data.claude_code_usage" in text
    assert "proj.hr.people" in text
    assert text == run(PACKAGE, *arguments)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"python -m {PACKAGE} {name}" in capsys.readouterr().out


@needs_airflow_3_2
@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_airflows_help_shows_descriptions_whole(command: Command) -> None:
    """Rich, with which Airflow formats them, takes a word in brackets for markup."""
    from airflow.cli.cli_parser import AirflowHelpFormatter

    parser = argparse.ArgumentParser(description=command.description, formatter_class=AirflowHelpFormatter)
    command.add_arguments(parser)
    shown = "".join(parser.format_help().split())
    for text in (command.description, *(action.help or "" for action in parser._actions)):
        # A default is filled in.
        assert "".join(text.partition("%(")[0].split()) in shown


def test_the_definition_imports_nothing_before_a_command_runs() -> None:
    """Airflow imports it whenever its command line starts."""
    code = f"""
import argparse, sys
from {PACKAGE}.cli.definition import COMMANDS
for command in COMMANDS:
    command.add_arguments(argparse.ArgumentParser())
print(*sorted(name for name in sys.modules if name.split(".")[0] not in sys.stdlib_module_names))
"""
    output = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert output.split() == ["__main__", PACKAGE, f"{PACKAGE}.cli", f"{PACKAGE}.cli.definition"]


def test_defaults_and_choices_are_those_of_the_code() -> None:
    """They are written a second time, as the code that has them is imported later."""
    sandbox = vars(parsed("sandbox"))
    faults = dataclasses.asdict(Faults())
    assert {name: sandbox[name] for name in faults} == faults
    assert parsed("sql", "adoption", "a.b").min_group_size == Settings().min_group_size
    for actor_type in ACTOR_KINDS:
        assert parsed("pseudonymise", "--column=x", f"--actor-type={actor_type}").actor_type == actor_type


@pytest.mark.parametrize("subject", ["tables", "models"])
def test_the_references_are_the_committed_pages(capsys: pytest.CaptureFixture[str], subject: str) -> None:
    main(["reference", subject])
    assert capsys.readouterr().out == (ROOT / f"docs/reference/{subject}.md").read_text(), "run make docs"


def test_a_reader_who_stops_reading_ends_a_command_quietly() -> None:
    command = f"{sys.executable} -m {PACKAGE} reference models"
    # More than a pipe holds, of which nothing is read.
    script = f"set -o pipefail; {command} | true"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("sql adoption project.dataset >&-", 0, ""),
        ("sql adoption project.dataset > /dev/full", 1, "[Errno 28] No space left on device\n"),
        ("dbt /dev/null/package", 1, "[Errno 20] Not a directory: '/dev/null/package'\n"),
    ],
)
def test_a_place_that_takes_no_output_ends_a_command_in_a_sentence(command: str, code: int, said: str) -> None:
    script = f"{sys.executable} -m airflow_provider_claude_code {command}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (code, said)


def test_a_connection_is_tested_and_says_whose_key_it_has(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    with Sandbox(users=3) as sandbox:
        connection = {"conn_type": "claude_code", "host": sandbox.base_url, "password": sandbox.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_GOOD", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(connection | {"password": "sk-ant-api03-standard"}))
        main(["test-connection", "good"])
        assert capsys.readouterr().out.startswith("The key belongs to the organisation Sandbox (")
        with pytest.raises(SystemExit, match="Use an admin API key"):
            main(["test-connection", "wrong"])
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("model", models())
def test_the_sql_of_every_model_is_printed(capsys: pytest.CaptureFixture[str], model: str) -> None:
    main(["sql", model, "a-project.usage", "--table-prefix=cc_", "--roster=a.b.c", "--mapping=d.e.f"])
    assert "a-project.usage.cc_" in capsys.readouterr().out


def test_the_help_of_sql_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sql", "--help"])
    helped = " ".join(capsys.readouterr().out.split())
    assert [model for model in models() if model not in helped] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "a.b"], "'nothing' is not a model. The models are: adoption,"),
        (["adoption", "usage"], "'usage' is not in the form PROJECT.DATASET"),
        (["adoption", "a.b", "--min-group-size=0"], "min_group_size is 0"),
        (["adoption", "a; b", "--dialect=duckdb"], "'a; b.claude_code_usage' is not in the form SCHEMA.TABLE"),
        (["tables", "a.b"], "Only --dialect=postgres needs 'tables'"),
        (["adoption", "a.b", "--dialect=spark"], "Write the dbt package instead"),
    ],
)
def test_sql_explains_an_argument_that_it_cannot_use(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["sql", *arguments])
