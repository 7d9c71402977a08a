"""A file of a user's own gets the pseudonyms that a load writes, whole or not at all, and tells nothing of itself."""

import csv
import hashlib
import hmac
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_claude_code.__main__ import main
from airflow_provider_claude_code.cli.pseudonymise import pseudonymise
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.records import DAY, TABLES, official_example

ROOT = Path(__file__).parents[2]
SECRET = "correct horse battery staple"
DEVELOPER = "df1e67bfed50289b23179bd5a49b6b72d08049d7c9290e31069a75ed20a5b686"
FILE = b"email,team\r\ndeveloper@company.com,blue\r\n"

Connect = Callable[..., None]


def keyed_hash(actor_type: str, actor: str, secret: str = SECRET) -> str:
    message = f'["{actor_type}","{actor}"]'.encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.requests.clear()
    return running


@pytest.fixture
def connect(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the Connection to the sandbox, with some extra."""

    def set_connection(conn_id: str = "claude_code_default", **extra: Any) -> None:
        connection = {"conn_type": "claude_code", "host": running.base_url, "password": running.api_key, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    return set_connection


@pytest.fixture(autouse=True)
def connection(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(pseudonym_secret=SECRET)
    # Else the command makes this process one that reads Airflow's database.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "none")


class Command:
    """The command in this process, on a file."""

    def __init__(self, folder: Path, output: pytest.CaptureFixture[bytes]) -> None:
        self._file = folder / "teams.csv"
        self._output = output

    def __call__(self, content: bytes, *arguments: str) -> str:
        self._file.write_bytes(content)
        # Loads log to the standard output.
        self._output.readouterr()
        main(["pseudonymise", str(self._file), *(arguments or ["--column", "email"])])
        printed = self._output.readouterr()
        # Airflow before 3.2 logs that it has read the Connection, or what it thinks of its type.
        assert printed.err == b"" or AIRFLOW < (3, 2)
        assert SECRET.encode() not in printed.err
        return printed.out.decode()

    def refusal(self, content: bytes, *arguments: str) -> str:
        """What is said of a file that is refused; nothing else may be printed."""
        with pytest.raises(SystemExit) as refusal:
            self(content, *arguments)
        assert self._output.readouterr().out == b""
        assert SECRET not in str(refusal.value)
        return str(refusal.value)


@pytest.fixture
def command(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Command:
    return Command(tmp_path, capfdbinary)


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def load(path: Path, day: date = DAY) -> None:
    operator = ClaudeCodeToObjectStorageOperator(
        task_id="load", path=str(path), day=str(day), actor_identity="hmac", lookback_days=1
    )
    context: Any = {"ti": SimpleNamespace(dag_id="d", run_id="r"), "dag_run": SimpleNamespace(run_type="manual")}
    operator.execute(context | {"outlet_events": {}})


def read(path: Path, table: str, day: date = DAY) -> list[dict[str, Any]]:
    return list(pyarrow.parquet.read_table(path / table / f"dt={day}" / f"{table}.parquet").to_pylist())


class TestJoin:
    """What is printed joins what is loaded."""

    def test_people_and_keys_get_the_ids_that_a_load_writes_to_every_table_on_every_day(
        self, sandbox: Sandbox, tmp_path: Path, command: Command
    ) -> None:
        people = ["Ada@Example.com ", "grace@example.com", "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}@example.com"]
        keys = ["CI", "Nightly Build "]
        actors = [{"type": "user_actor", "email_address": name} for name in people]
        actors += [{"type": "api_actor", "api_key_name": name} for name in keys]
        sandbox.records = lambda day, _: [official_example(date=f"{day}T00:00:00Z", actor=actor) for actor in actors]
        load(tmp_path / "tables")

        # As somebody else has written them down.
        team = "\n".join(["email", "ada@example.com", " GRACE@example.com", f"Z{people[2][1:]}"])
        ids = {row[0] for row in rows(command(team.encode()))[1:]}
        key_ids = {
            row[0] for row in rows(command(b"key\nCI\nNightly Build \n", "--column=key", "--actor-type=api_actor"))
        }
        key_ids.remove("key")

        assert (len(ids), len(key_ids)) == (3, 2)
        for table in TABLES:
            for day in (DAY, DAY - timedelta(days=1)):
                stored = read(tmp_path / "tables", table, day)
                assert {row["actor_id"] for row in stored if row["actor_type"] == "user_actor"} == ids
                assert {row["actor_id"] for row in stored if row["actor_type"] == "api_actor"} == key_ids

    def test_ids_are_hmacs_that_anybody_can_compute(self, command: Command) -> None:
        assert command(FILE) == f"email,team\r\n{DEVELOPER},blue\r\n"
        assert keyed_hash("user_actor", "developer@company.com") == DEVELOPER
        assert command(FILE, "--column=email", "--actor-type=api_actor") == (
            f"email,team\r\n{keyed_hash('api_actor', 'developer@company.com')},blue\r\n"
        )

    @pytest.mark.parametrize(
        "spelling", ["Developer@Company.com", '" developer@company.com\n"', "\tDEVELOPER@COMPANY.COM"]
    )
    def test_spellings_of_an_address_are_one_person(self, command: Command, spelling: str) -> None:
        assert DEVELOPER in command(f"email\n{spelling}\n".encode())

    def test_another_secret_gives_other_ids(self, command: Command, connect: Connect) -> None:
        connect(pseudonym_secret=SECRET + "!")
        assert (
            command(FILE) == f"email,team\r\n{keyed_hash('user_actor', 'developer@company.com', SECRET + '!')},blue\r\n"
        )

    def test_the_connection_may_be_another(self, command: Command, connect: Connect) -> None:
        connect("europe", pseudonym_secret="another secret of Europe")
        europe = keyed_hash("user_actor", "developer@company.com", "another secret of Europe")
        assert europe in command(FILE, "--column=email", "--connection=europe")

    def test_a_column_may_tell_people_from_keys(self, command: Command) -> None:
        content = b"type,actor\nuser_actor,ci@b.c\napi_actor,ci@b.c\n,\nuser_actor,\n"
        assert rows(command(content, "--column=actor", "--actor-type-column=type")) == [
            ["type", "actor"],
            ["user_actor", keyed_hash("user_actor", "ci@b.c")],
            ["api_actor", keyed_hash("api_actor", "ci@b.c")],
            ["", ""],
            ["user_actor", ""],
        ]

    def test_an_unknown_actor_stays_unknown_in_the_file_and_in_the_tables(
        self, sandbox: Sandbox, tmp_path: Path, command: Command
    ) -> None:
        nobody = {"type": "user_actor", "email_address": None}
        sandbox.records = lambda day, _: [official_example(date=f"{day}T00:00:00Z", actor=nobody)]
        load(tmp_path / "tables")
        assert {row["actor_id"] for table in TABLES for row in read(tmp_path / "tables", table)} == {None}
        assert command(b'email,team\n,a\n"",b\n  ,c\n') == "email,team\r\n,a\r\n,b\r\n,c\r\n"


class TestFiles:
    """What goes in and what comes out."""

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("last", [True, False])
    def test_marks_and_line_ends_of_all_systems_are_read(
        self, command: Command, mark: bytes, end: bytes, last: bool
    ) -> None:
        content = mark + end.join([b"email,team", b"developer@company.com,blue"]) + (end if last else b"")
        assert command(content) == f"email,team\r\n{DEVELOPER},blue\r\n"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_what_spreadsheets_export_is_read_whatever_delimits_its_cells(
        self, command: Command, encoding: str, delimiter: str
    ) -> None:
        header, row = [" Email", '"Team, or; group"'], ['"developer@company.com"', '"Sales, EMEA; ""south"""']
        content = "\r\n".join([delimiter.join(header), delimiter.join(row), ""])
        assert rows(command(content.encode(encoding))) == [
            [" Email", "Team, or; group"],
            [DEVELOPER, 'Sales, EMEA; "south"'],
        ]

    @given(
        st.lists(
            st.tuples(
                *[
                    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
                    | st.sampled_from(['"', ",", "\r", "\n"])
                ]
                * 3
            ),
            max_size=4,
        )
    )
    def test_whatever_the_other_cells_hold_is_kept(self, cells: list[tuple[str, str, str]]) -> None:
        source = io.StringIO(newline="")
        table = [["a", "email", "b"], *([left, "x" + actor, right] for left, actor, right in cells)]
        csv.writer(source).writerows(table)
        copy = pseudonymise(
            source.getvalue().encode(), lambda _, actor: actor[::-1], column="email", actor_type="api_actor"
        )
        assert rows(copy.decode()) == [table[0], *([a, actor[::-1], b] for a, actor, b in table[1:])]

    def test_a_file_of_a_header_alone_is_a_header_and_blank_lines_are_no_rows(self, command: Command) -> None:
        assert command(b"email,team\n") == "email,team\r\n"
        assert command(b"\nemail,team\n\n" + FILE.splitlines()[1] + b"\n\n") == f"email,team\r\n{DEVELOPER},blue\r\n"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "The column 'email' is missing"),
            (b"developer@company.com,blue\n", "The column 'email' is missing"),
            (FILE + b"secret-team,red\n", "Line 3: 'email' is not an e-mail address"),
            (FILE + f"{DEVELOPER},red\n".encode(), "Line 3: 'email' is already a pseudonym"),
            (b"email;name,team\ndeveloper@company.com;blue\n", "more than one of comma, semicolon and tab"),
            (b"email,team, EMAIL\ndeveloper@company.com,blue,x\n", "names the column 'email' 2 times"),
            (b"email,team,email\ndeveloper@company.com,blue,x\n", "names the column 'email' 2 times"),
            (FILE + b"grace@example.com\n", "Line 3 has 1 cells, but the first line names 2"),
            (FILE + b"\n\nada@example.com,red,secret-team\n", "Line 5 has 3 cells"),
            (FILE + b'ada@example.com,"red\nred"\ngrace@example.com\n', "Line 5 has 1 cells"),
            (FILE + b'ada@example.com,"red\n\nsecret-team\n', "row that begins on line 3 is not CSV"),
            (FILE + b'ada@example.com,"secret-team"x\n', "row that begins on line 3 is not CSV"),
            (FILE + b"ada@example.com,red\rgrace@example.com,secret-team\r", "row that begins on line 3 is not CSV"),
            (FILE + b"ada@example.com,caf\xe9-secret-team\n", "Line 3 is not UTF-8"),
            (FILE + b'ada@example.com, "secret-team"\n', "row that begins on line 3 is not CSV"),
            (FILE + b'ada@example.com,red "secret-team"\n', "a cell with a quotation mark has to be quoted as a whole"),
            (FILE.decode().encode("utf-16-le"), "Line 1 contains a NUL"),
            (FILE.decode().encode("utf-32"), "Line 1"),
            ((FILE + FILE).decode().encode("utf-16")[:-1], "Line 4 is not UTF-16"),
        ],
    )
    def test_what_cannot_be_used_is_refused_by_its_line_and_nothing_is_printed(
        self, command: Command, content: bytes, reason: str
    ) -> None:
        message = command.refusal(content)
        assert reason in message
        for word in ("developer", "ada@", "grace", "example.com", "blue", "red", "secret-team"):
            assert word not in message

    def test_a_type_that_there_is_not_is_refused(self, command: Command) -> None:
        arguments = ["--column=actor", "--actor-type-column=type"]
        message = command.refusal(b"type,actor\nuser_actor,a@b.c\nsecret_type,a@b.c\n", *arguments)
        assert "Line 3: the type of actor must be user_actor or api_actor." in message
        assert "secret_type" not in message
        assert "names the column 'type' 2 times" in command.refusal(b"type,actor,type\n", *arguments)
        with pytest.raises(SystemExit):
            command(FILE, "--column=email", "--actor-type=user")

    def test_a_file_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match="nowhere"):
            main(["pseudonymise", str(tmp_path / "nowhere.csv"), "--column", "email"])


class TestSecrets:
    """Where the secret comes from, and what happens without one."""

    @pytest.mark.parametrize("extra", [{}, {"pseudonym_secret": ""}, {"pseudonym_secret": "short"}])
    def test_without_a_good_one_neither_the_file_is_opened_nor_the_api_asked(
        self, sandbox: Sandbox, tmp_path: Path, connect: Connect, extra: dict[str, str]
    ) -> None:
        connect(**extra)
        with pytest.raises(SystemExit, match="secret") as refusal:
            main(["pseudonymise", str(tmp_path / "nowhere.csv"), "--column", "email"])
        assert "nowhere" not in str(refusal.value)
        assert "short" not in str(refusal.value).replace("too short", "")
        with pytest.raises(ClaudeCodeConfigurationError, match="secret"):
            ClaudeCodeHook().get_df(DAY, actor_identity="hmac")
        with pytest.raises(AirflowFailException, match="secret"):
            load(tmp_path)
        assert sandbox.requests == []

    def test_a_connection_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match="Airflow finds no Connection 'nowhere'"):
            main(["pseudonymise", str(tmp_path / "x.csv"), "--column", "email", "--connection", "nowhere"])

    def test_one_that_is_a_number_counts_as_its_digits(self, command: Command, connect: Connect) -> None:
        connect(pseudonym_secret=1234567890123456)
        assert keyed_hash("user_actor", "developer@company.com", "1234567890123456") in command(FILE)

    def test_an_extra_that_is_no_object_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            ClaudeCodeHook,
            "get_connection",
            lambda *_: SimpleNamespace(extra=json.dumps([{"pseudonym_secret": SECRET}])),
        )
        with pytest.raises(ClaudeCodeConfigurationError, match="not a JSON object"):
            _ = ClaudeCodeHook().pseudonyms

    @given(st.text(), st.text())
    @example("pseudonym_key_id", "")
    @example("", "pseudonym_key_id")
    @example("user_actor", "pseudonym_key_id")
    def test_its_fingerprint_is_neither_the_secret_nor_the_pseudonym_of_anybody(self, kind: str, actor: str) -> None:
        pseudonyms = Pseudonyms(SECRET)
        assert not (pseudonyms(kind, actor) or "").startswith(pseudonyms.key_id)
        assert pseudonyms.key_id not in (SECRET, SECRET.encode().hex()[:16])
        assert pseudonyms.key_id != hashlib.sha256(SECRET.encode()).hexdigest()[:16]


MODULE = ["airflow_provider_claude_code"]
# In a terminal of another encoding, with Airflow as chatty as it can be.
CHATTY = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}

on_both_command_lines = pytest.mark.parametrize(
    "command_line",
    [
        MODULE,
        pytest.param(
            ["airflow", "claude-code"],
            marks=pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow 3.2 and later have commands of providers"),
        ),
    ],
    ids=" ".join,
)


class TestProcess:
    """The command as it is run."""

    def run(
        self, command_line: list[str], content: bytes, *arguments: str, **environment: str
    ) -> "subprocess.CompletedProcess[bytes]":
        inherited = {name: value for name, value in os.environ.items() if name != "_AIRFLOW_PROCESS_CONTEXT"}
        process = subprocess.run(
            [sys.executable, "-m", *command_line, "pseudonymise", "--column", "email", *arguments],
            cwd=ROOT,
            env={**inherited, **environment},
            input=content,
            capture_output=True,
            timeout=120,
            check=False,
        )
        for output in (process.stdout, process.stderr):
            assert SECRET.encode() not in output
            assert b"developer" not in output
        return process

    def test_standard_input_becomes_standard_output_with_no_log_line_between(self) -> None:
        content = "email,team\ndeveloper@company.com,caf\N{LATIN SMALL LETTER E WITH ACUTE}\n"
        process = self.run(MODULE, content.encode(), **CHATTY)
        assert process.returncode == 0, process.stderr
        assert process.stdout.decode() == content.replace("developer@company.com", DEVELOPER).replace("\n", "\r\n")

    @on_both_command_lines
    def test_a_file_is_written_with_nothing_else_in_it(self, command_line: list[str], tmp_path: Path) -> None:
        output = tmp_path / "out.csv"
        process = self.run(command_line, FILE, "--output", str(output), **CHATTY)
        assert process.returncode == 0, process.stderr
        assert output.read_bytes() == f"email,team\r\n{DEVELOPER},blue\r\n".encode()

    def test_a_bad_row_far_down_leaves_the_output_empty_and_fails(self, tmp_path: Path) -> None:
        content = FILE + b"a@b.c,red\n" * 100_000 + b"last@b.c\n"
        output = tmp_path / "out.csv"
        for arguments in ([], ["--output", str(output)]):
            process = self.run(MODULE, content, *arguments)
            assert (process.returncode, process.stdout, output.exists()) == (1, b"", False)
            assert process.stderr.splitlines()[-1].endswith(b"Line 100003 has 1 cells, but the first line names 2.")
            assert b"last" not in process.stderr
            assert b"Traceback" not in process.stderr

    @on_both_command_lines
    def test_a_connection_of_airflows_database_will_do(self, command_line: list[str], tmp_path: Path) -> None:
        environment = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db"}
        subprocess.run(
            [sys.executable, "-c", CONNECTION_IN_A_DATABASE, SECRET],
            env={**os.environ, **environment},
            capture_output=True,
            timeout=120,
            check=True,
        )
        output = tmp_path / "out.csv"
        arguments = ["--connection", "in_the_database", "--output", str(output)]
        process = self.run(command_line, FILE, *arguments, **environment)
        assert process.returncode == 0, process.stderr
        assert output.read_bytes() == f"email,team\r\n{DEVELOPER},blue\r\n".encode()


CONNECTION_IN_A_DATABASE = """
import json, sys
from airflow import settings
from airflow.models import Connection

for key in Connection.__table__.foreign_keys:
    key.column.table.create(settings.engine)
Connection.__table__.create(settings.engine)
with settings.Session() as session:
    extra = json.dumps({"pseudonym_secret": sys.argv[1]})
    session.add(Connection(conn_id="in_the_database", conn_type="claude_code", extra=extra))
    session.commit()
"""
