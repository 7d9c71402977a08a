"""The SQL that is shipped is GoogleSQL, says Google's own parser, where it is installed (`pip install zetasql`)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers.demo import QUERIES

README = (Path(__file__).parents[2] / "README.md").read_text()
STATEMENTS = {
    **QUERIES,
    "external table": re.findall(r"```sql\n(CREATE EXTERNAL TABLE claude_code\..*?)```", README, re.DOTALL)[0],
    "view of several organisations": re.findall(r"`(SELECT \* FROM europe.*?)`", README)[0],
    "loaded and empty": re.findall(r"`(SELECT date, row_count.*?)` has a row", README, re.DOTALL)[0],
}


@pytest.mark.googlesql
@pytest.mark.parametrize("name", STATEMENTS)
def test_shipped_sql_parses_as_googlesql(name: str) -> None:
    parser = pytest.importorskip("zetasql.api").Parser
    assert parser.parse_statement_static(STATEMENTS[name]) is not None


@pytest.mark.googlesql
def test_the_parser_refuses_what_is_no_sql() -> None:
    parser = pytest.importorskip("zetasql.api").Parser
    with pytest.raises(Exception, match=r"[Ss]yntax"):
        parser.parse_statement_static("SELECT FROM WHERE")
