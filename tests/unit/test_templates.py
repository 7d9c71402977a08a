"""Arguments may be templates: they are checked as soon as their values are known."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, task, task_group
from jinja2 import Environment

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeMissingConnectionError
from airflow_provider_claude_code.operators.analytics import budget_cents
from airflow_provider_claude_code.operators.bigquery_models import ClaudeCodeBigQueryModelsOperator
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator
from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.templates import accounts, is_template, mapping_of, whole_number
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.version_compat import AirflowFailException

OPERATORS: list[type[BaseOperator]] = [
    ClaudeCodeToObjectStorageOperator,
    ClaudeCodeToGCSOperator,
    ClaudeCodeToBigQueryOperator,
    ClaudeCodeFreshnessSensor,
    ClaudeCodeBigQueryModelsOperator,
    ClaudeCodeDataQualityOperator,
    ClaudeCodeReportOperator,
]
TEMPLATES: dict[str, Any] = {
    "tables": ["usage", "{{ params.table }}"],
    "lookback_days": "{{ params.days }}",
    "on_empty": "{{ params.on_empty }}",
    "actor_identity": "{{ params.identity }}",
    "file_format": "{{ params.format }}",
}
GOOD = {"table": "tool_usage", "days": 2, "on_empty": "skip", "identity": "hmac", "format": "csv"}


def rendered(params: dict[str, Any]) -> ClaudeCodeToObjectStorageOperator:
    operator = ClaudeCodeToObjectStorageOperator(task_id="load", path="/nowhere", day="2025-09-01", **TEMPLATES)
    operator.render_template_fields({"params": params}, Environment(autoescape=True))
    return operator


def execute(operator: BaseOperator) -> None:
    context: Any = {"ti": SimpleNamespace(dag_id="dag", run_id="run"), "dag_run": SimpleNamespace(run_type="manual")}
    operator.execute(context)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_docstrings_say_what_is_templated(operator: type[BaseOperator]) -> None:
    documented = set()
    for documented_class in operator.__mro__:
        for text in re.split(r"\n\s*:", documented_class.__doc__ or ""):
            if (name := re.match(r"param (\w+):", text)) and "(templated" in text:
                documented.add(name[1])
    fields = set(operator.template_fields)
    assert fields - {"conn_id"} <= documented | {"conn_id"}
    assert documented & set(inspect.signature(operator).parameters) <= fields
    assert operator.template_fields_renderers.keys() <= fields


def test_what_a_run_renders_is_checked_and_brought_into_its_form() -> None:
    operator = rendered(GOOD)
    # There is no Connection, but the arguments come first.
    with pytest.raises(ClaudeCodeMissingConnectionError, match="Connection"):
        execute(operator)
    assert operator.tables == ("usage", "tool_usage")
    assert operator.lookback_days == 2
    assert (operator.on_empty, operator.actor_identity, operator.file_format) == ("skip", "hmac", "csv")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("table", "people", "tables is ['usage', 'people']; a list of usage, model_usage, tool_usage was"),
        ("days", "-1", "lookback_days is '-1'; a whole number of 0 or more"),
        ("days", "two", "lookback_days is 'two'"),
        ("days", "{{ 1 }}", "lookback_days is '{{ 1 }}'"),
        ("on_empty", "ignore", "on_empty is 'ignore'; expected 'write', 'replace', 'skip', 'fail'"),
        ("identity", "", "actor_identity is ''"),
        ("format", "xlsx", "file_format is 'xlsx'"),
    ],
)
def test_what_a_run_renders_wrongly_fails_it_without_a_retry(name: str, value: str, message: str) -> None:
    with pytest.raises(AirflowFailException, match=re.escape(message)):
        execute(rendered(GOOD | {name: value}))


@pytest.mark.parametrize("argument", ["lookback_days", "on_empty", "actor_identity", "file_format"])
def test_what_is_written_wrongly_is_refused_when_the_dag_is_parsed(argument: str) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=argument):
        ClaudeCodeToObjectStorageOperator(task_id="load", path="/nowhere", **{argument: "params.days"})


def test_tables_in_a_set_have_the_same_order_in_each_process() -> None:
    class Backwards(set[str]):
        def __iter__(self) -> Iterator[str]:
            return iter(sorted(super().__iter__(), reverse=True))

    tables = Backwards({"usage", "tool_usage"})
    operator = ClaudeCodeToObjectStorageOperator(task_id="load", path="/x", tables=tables)
    assert operator.tables == ("tool_usage", "usage")


@pytest.mark.parametrize("tables", [None, "", "['usage']", 5, [], [["usage"]]])
def test_what_a_native_template_may_render_is_no_list_of_tables(tables: object) -> None:
    operator = rendered(GOOD)
    operator.tables = tables  # type: ignore[assignment]
    with pytest.raises(AirflowFailException, match="tables is "):
        execute(operator)


@pytest.mark.parametrize("value", ["False", "{{ params.yes }}", None, 0])
@pytest.mark.parametrize(
    ("operator", "argument", "arguments"),
    [
        (ClaudeCodeToObjectStorageOperator, "allow_incomplete", {"path": "/nowhere"}),
        (ClaudeCodeToBigQueryOperator, "create_dataset", {"dataset_id": "d"}),
        (ClaudeCodeToBigQueryOperator, "require_partition_filter", {"dataset_id": "d"}),
        (ClaudeCodeReportOperator, "people", {"path": "/nowhere", "report_path": "/nowhere/report.html"}),
        (ClaudeCodeFreshnessSensor, "require_records", {}),
        (ClaudeCodeFreshnessSensor, "deferrable", {}),
        (ClaudeCodeFreshnessSensor, "start_from_trigger", {}),
        (ClaudeCodeToBigQueryOperator, "deferrable", {"dataset_id": "d"}),
        (ClaudeCodeBigQueryModelsOperator, "deferrable", {"dataset_id": "d"}),
    ],
)
def test_text_is_not_taken_for_true(
    operator: type[BaseOperator], argument: str, arguments: dict[str, Any], value: object
) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=f"{argument} is .*; True or False was expected"):
        operator(task_id="t", **arguments, **{argument: value})


def test_the_result_of_another_task_is_known_when_the_task_runs() -> None:
    with DAG("dag", schedule=None):

        @task
        def days() -> int:
            return 2

        asked = days()
        operator = ClaudeCodeToObjectStorageOperator(task_id="load", path="/nowhere", lookback_days=asked)  # type: ignore[arg-type]
    assert operator.upstream_task_ids == {"days"}
    assert is_template(asked)


def test_checks_and_periods_may_be_templates() -> None:
    operator = ClaudeCodeDataQualityOperator(
        task_id="check",
        path="/nowhere",
        last_day="2025-09-30",
        checks=["{{ params.check }}"],
        warn_only=["{{ params.check }}"],
        period_days="{{ params.days }}",
    )
    operator.render_template_fields({"params": {"check": "sums", "days": 30}}, Environment(autoescape=True))
    assert [str(day) for day in operator.period()] == ["2025-09-01", "2025-09-30"]
    operator.checks = ("all",)
    with pytest.raises(AirflowFailException, match="checks is"):
        execute(operator)


def test_models_may_be_templates() -> None:
    operator = ClaudeCodeBigQueryModelsOperator(task_id="views", dataset_id="d", models=["{{ params.model }}"])
    operator.render_template_fields({"params": {"model": "nothing"}}, Environment(autoescape=True))
    with pytest.raises(AirflowFailException, match=r"models is \['nothing'\]; a list of adoption, "):
        execute(operator)


@pytest.mark.parametrize(
    ("value", "number"), [(3, 3), ("3", 3), ("007", 7), (1, 1)], ids=["number", "digits", "zeros", "least"]
)
def test_a_whole_number_may_be_written_in_digits(value: object, number: int) -> None:
    assert whole_number("count", value, 1) == number


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1.0", "", "²", "1e3", None, [1]], ids=repr)
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=r"count is .*; a whole number of 1 or more was expected"):
        whole_number("count", value, 1)


MAPPED_ARGUMENTS: list[tuple[type[BaseOperator], str, dict[str, Any]]] = [
    *(
        (ClaudeCodeToObjectStorageOperator, argument, {"path": "/nowhere"})
        for argument in ("tables", "lookback_days", "on_empty", "actor_identity", "file_format", "first_day")
    ),
    (ClaudeCodeToBigQueryOperator, "encryption_configuration", {"dataset_id": "d"}),
    (ClaudeCodeBigQueryModelsOperator, "models", {"dataset_id": "d"}),
    (ClaudeCodeBigQueryModelsOperator, "encryption_configuration", {"dataset_id": "d"}),
    *((ClaudeCodeDataQualityOperator, name, {"path": "/nowhere"}) for name in ("checks", "warn_only", "period_days")),
]


@pytest.mark.parametrize(("operator", "argument", "arguments"), MAPPED_ARGUMENTS)
def test_an_argument_of_a_mapped_task_group_is_known_when_the_task_runs(
    operator: type[BaseOperator], argument: str, arguments: dict[str, Any]
) -> None:
    with DAG("dag", schedule=None):

        @task_group
        def group(value: Any) -> None:
            assert is_template(value)
            operator(task_id="t", **arguments, **{argument: value})

        group.expand(value=["a", "b"])


@pytest.mark.parametrize("operator", [ClaudeCodeToObjectStorageOperator, ClaudeCodeFreshnessSensor])
def test_a_mapped_task_group_cannot_give_the_stream(operator: type[BaseOperator]) -> None:
    arguments = {"path": "/nowhere"} if operator is ClaudeCodeToObjectStorageOperator else {}
    with DAG("dag", schedule=None):

        @task_group
        def group(value: Any) -> None:
            with pytest.raises(ClaudeCodeConfigurationError, match=r"It is not templated: list the streams in .expand"):
                operator(task_id="t", **arguments, stream=value)

        group.expand(value=["usage", "cost"])


@pytest.mark.parametrize("filters", ["{{ params.filters }}", ["claude_code"], 5])
def test_filters_that_are_no_dict_are_refused_when_the_dag_is_parsed(filters: Any) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=r"filters is .*; a dict with a list of names"):
        ClaudeCodeToObjectStorageOperator(task_id="load", path="/nowhere", stream="cost", filters=filters)


def test_the_text_of_a_list_leads_to_native_templates() -> None:
    native = "render_template_as_native_obj=True"
    for operator in (
        ClaudeCodeToObjectStorageOperator(task_id="load", path="/nowhere", day="2025-09-01", tables="{{ names }}"),
        ClaudeCodeDataQualityOperator(task_id="check", path="/nowhere", last_day="2025-09-01", checks="{{ names }}"),
        ClaudeCodeBigQueryModelsOperator(task_id="views", dataset_id="d", models="{{ names }}"),
    ):
        operator.render_template_fields({"names": ["usage", "sums", "keys"]}, Environment(autoescape=True))
        with pytest.raises(AirflowFailException, match=native):
            execute(operator)


@pytest.mark.parametrize("labels", ["{'team': 'a'}", ["team"], 5])
def test_labels_that_are_no_dict_are_refused(labels: Any) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=r"labels is .*; a dict was expected"):
        mapping_of("labels", labels)


def test_no_labels_are_an_empty_dict() -> None:
    assert [mapping_of("labels", value) for value in (None, "", {})] == [{}, {}, {}]


@pytest.mark.parametrize("operator", [ClaudeCodeToBigQueryOperator, ClaudeCodeBigQueryModelsOperator])
@pytest.mark.parametrize("configuration", [{"kms_key_name": "k"}, {"kmsKeyName": ""}, "projects/p/key"])
def test_an_encryption_that_would_not_be_used_is_refused_when_the_dag_is_parsed(
    operator: type[BaseOperator], configuration: Any
) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="encryption_configuration is "):
        operator(task_id="t", dataset_id="d", encryption_configuration=configuration)


@pytest.mark.parametrize("nothing", ["", None])
def test_an_optional_number_that_renders_to_nothing_has_its_default(nothing: Any) -> None:
    operator = ClaudeCodeDataQualityOperator(task_id="t", path="/nowhere", last_day="2025-09-28", period_days="{{ 1 }}")
    operator.period_days = nothing
    assert [str(day) for day in operator.period()] == ["2025-09-01", "2025-09-28"]
    report = ClaudeCodeReportOperator(task_id="t", path="/nowhere", report_path="/r.html", last_day="2025-09-28")
    report.period_days = nothing
    assert [str(day) for day in report.period()] == ["2025-09-01", "2025-09-28"]
    assert budget_cents(nothing) == 0


def test_text_that_a_native_template_takes_for_a_number_stays_a_name() -> None:
    """Such a Dag renders `prefix="2025"` to a number, although it is no template."""
    with DAG("dag", schedule=None, render_template_as_native_obj=True):
        load = ClaudeCodeToGCSOperator(
            task_id="load", bucket="b", prefix="2025", day="2025-09-01", claude_code_conn_id="7"
        )
        views = ClaudeCodeBigQueryModelsOperator(task_id="views", dataset_id="d", project_id="2025")
    load.render_template_fields({})
    assert load.prefix == 2025  # type: ignore[comparison-overlap]
    assert load.table_uri("usage") == "gs://b/2025/usage"
    assert load.hook.claude_code_conn_id == "7"
    views.render_template_fields({})
    assert views.dataset_project == "2025"
    assert mapping_of("labels", {"cost-centre": 4711, "team": "a"}) == {"cost-centre": "4711", "team": "a"}


def test_no_prefix_is_the_bucket() -> None:
    for prefix in (None, "", "/"):
        operator = ClaudeCodeToGCSOperator(task_id="t", bucket="b", prefix=prefix)  # type: ignore[arg-type]
        assert operator.table_uri("usage") == "gs://b/usage"


def test_an_empty_project_is_that_of_the_connection() -> None:
    operator = ClaudeCodeBigQueryModelsOperator(task_id="t", dataset_id="d", project_id="")
    operator.refuse_unusable_names()


@pytest.mark.parametrize(("argument", "value"), [("dataset_id", ""), ("dataset_id", None), ("table_prefix", None)])
def test_a_template_that_renders_to_nothing_is_no_part_of_a_name_in_bigquery(argument: str, value: Any) -> None:
    for operator in (
        ClaudeCodeToBigQueryOperator(task_id="t", dataset_id="d", day="2025-09-01"),
        ClaudeCodeBigQueryModelsOperator(task_id="t", dataset_id="d"),
    ):
        setattr(operator, argument, value)
        with pytest.raises(AirflowFailException, match=f"{argument} is {value!r}; "):
            execute(operator)


@pytest.mark.parametrize(
    "operator",
    [
        ClaudeCodeToBigQueryOperator(task_id="t", dataset_id="d", day="2025-09-01"),
        ClaudeCodeToGCSOperator(task_id="t", bucket="b", day="2025-09-01"),
        ClaudeCodeBigQueryModelsOperator(task_id="t", dataset_id="d"),
        ClaudeCodeDataQualityOperator(task_id="t", dataset_id="d", last_day="2025-09-01"),
    ],
    ids=lambda operator: type(operator).__name__,
)
@pytest.mark.parametrize("chain", [5, ["a", 5], [""], {"a": 1}, "['a', 'b']"], ids=repr)
def test_accounts_that_are_neither_text_nor_a_list_of_texts_fail_a_run_without_a_retry(
    operator: Any, chain: Any
) -> None:
    operator.impersonation_chain = chain
    with pytest.raises(AirflowFailException, match=r"impersonation_chain is .*; a service account or a list"):
        execute(operator)


@pytest.mark.parametrize("chain", [None, "", "a", ["a", "b"], ("a", "b")], ids=repr)
def test_an_account_or_a_chain_of_them_is_accepted(chain: Any) -> None:
    assert accounts("impersonation_chain", chain) == (list(chain) if isinstance(chain, tuple) else chain or None)


@pytest.mark.parametrize("operator", [ClaudeCodeToBigQueryOperator, ClaudeCodeBigQueryModelsOperator])
@pytest.mark.parametrize("interval", [timedelta(seconds=3), "3", 0, -1, True, float("inf"), None], ids=repr)
def test_an_interval_of_polls_that_is_no_number_of_seconds_is_refused(
    operator: type[BaseOperator], interval: Any
) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=r"poll_interval is .*; a number of seconds above 0"):
        operator(task_id="t", dataset_id="d", poll_interval=interval)


@pytest.mark.parametrize("expiration", [400, "400", 34_560_000.0, timedelta(0), timedelta(days=-400)])
def test_an_expiration_that_is_no_time_to_come_is_refused_when_the_dag_is_parsed(expiration: Any) -> None:
    with pytest.raises(
        ClaudeCodeConfigurationError, match=r"partition_expiration is .*; a timedelta above 0 was expected"
    ):
        ClaudeCodeToBigQueryOperator(task_id="t", dataset_id="d", partition_expiration=expiration)
