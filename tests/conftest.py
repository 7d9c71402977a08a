"""An Airflow of their own for the tests. Set up before anything imports Airflow."""

import os
import tempfile
from collections.abc import Iterator
from functools import cache

import hypothesis
import pytest

# It says what differs.
pytest.register_assert_rewrite("tests.fixtures", "tests.truth")

os.environ.update(
    AIRFLOW_HOME=tempfile.mkdtemp(prefix="claude-code-tests-"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    # The tests talk to this machine only.
    NO_PROXY="127.0.0.1,localhost",
)
for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
    del os.environ[name]

# How long an example takes says something about the machine only.
hypothesis.settings.register_profile("without deadline", deadline=None)
# For `make fuzz`; --hypothesis-profile=fuzz does the same.
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "without deadline"))


@pytest.fixture(scope="session", autouse=True)
def _as_many_requests_as_wanted() -> Iterator[None]:
    """Let no test wait for the next minute; those of the rate limit have clocks of their own."""
    from airflow_provider_claude_code.api import rate_limit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate_limit, "WINDOW", 0.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _queries_translated_once() -> Iterator[None]:
    """Translate a query for DuckDB once: it takes longer than to run it, and hundreds of tests run the same ones."""
    from airflow_provider_claude_code.analytics.engines import duckdb

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb, "translate", cache(duckdb.translate))
        yield
