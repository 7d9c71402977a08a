"""Airflow and the code agree with what the provider says about itself."""

import dataclasses
import importlib
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.get_provider_info import CONNECTION_FIELDS, get_provider_info
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from tests.fixtures.airflow_version import AIRFLOW

ROOT = Path(__file__).parents[2]
PACKAGE = "airflow_provider_claude_code"
INFO = get_provider_info()
SETTINGS = {field.name: field.default for field in dataclasses.fields(ClientSettings)}


def airflow_schema(name: str) -> dict[str, Any]:
    """Return one of the schemas that come with Airflow's core."""
    for place in (files("airflow") / name, *(Path(path) / "airflow" / name for path in sys.path)):
        if place.is_file():
            schema: dict[str, Any] = json.loads(place.read_text())
            return schema
    raise FileNotFoundError(name)


def named_modules() -> list[str]:
    modules = [
        module
        for kind in ("hooks", "sensors", "triggers", "operators")
        for entry in INFO.get(kind, [])
        for module in entry["python-modules"]
    ]
    return modules + [entry["python-module"] for entry in INFO["transfers"]]


def test_the_metadata_is_what_airflow_reads() -> None:
    schema = airflow_schema("provider_info.schema.json")

    jsonschema.validate(INFO, schema)
    # The schema lets unknown names pass; a misspelt one would be ignored in silence.
    not_read_yet = {"cli"} if AIRFLOW < (3, 2) else set()
    assert set(INFO) - not_read_yet <= set(schema["properties"])


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="the schema of the metadata knows less of the form before Airflow 3.3")
def test_the_connection_form_is_what_airflow_reads() -> None:
    schema = airflow_schema("provider.yaml.schema.json")
    form = schema["properties"]["connection-types"]

    jsonschema.validate(INFO["connection-types"], {**form, "definitions": schema.get("definitions", {})})
    assert {name for entry in INFO["connection-types"] for name in entry} <= set(form["items"]["properties"])


def test_the_metadata_goes_through_json() -> None:
    assert json.loads(json.dumps(INFO)) == INFO


def test_the_package_name_is_the_distribution_s() -> None:
    """Airflow refuses ALL providers when they differ."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert INFO["package-name"] == project["name"]
    assert "versions" not in INFO


@pytest.mark.parametrize("module", named_modules())
def test_a_module_that_is_named_can_be_imported(module: str) -> None:
    importlib.import_module(module)


def test_every_module_with_something_for_dags_is_named() -> None:
    public = {
        f"{PACKAGE}.{path.parent.name}.{path.stem}"
        for pattern in (
            "hooks/*.py",
            "operators/*.py",
            "sensors/*.py",
            "triggers/*.py",
            "transfers/claude_code_to_*.py",
        )
        for path in (ROOT / PACKAGE).glob(pattern)
        # The bases of operators are for no Dag.
        if path.stem not in ("__init__", "analytics", "bigquery_dataset")
    }

    assert set(named_modules()) == public


def test_every_integration_that_is_used_is_declared() -> None:
    declared = {entry["integration-name"] for entry in INFO["integrations"]}

    used = {entry["integration-name"] for kind in ("hooks", "operators", "sensors", "triggers") for entry in INFO[kind]}
    assert used | {entry["source-integration-name"] for entry in INFO["transfers"]} == declared


def test_the_registry_s_file_names_what_is_there_for_dags() -> None:
    registry = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    urls = project["urls"]
    assert registry["package-name"] == INFO["package-name"]
    assert (registry["docs-url"], registry["source-url"]) == (urls["Documentation"], urls["Source"])
    listed = [entry["module"] for kind in ("hooks", "sensors", "transfers", "operators") for entry in registry[kind]]
    for name in listed:
        module, _, attribute = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), attribute), type)
    assert {name.rpartition(".")[0] for name in listed} == {
        name for name in named_modules() if ".triggers." not in name
    }


def test_extra_links_can_be_imported() -> None:
    for path in INFO.get("extra-links", []):
        module, name = path.rsplit(".", 1)
        assert isinstance(getattr(importlib.import_module(module), name), type)


def test_the_commands_are_a_group_of_airflows_command_line() -> None:
    (path,) = INFO["cli"]
    module, name = path.rsplit(".", 1)

    (group,) = getattr(importlib.import_module(module), name)()
    assert group.name == "claude-code"


def test_the_connection_type_leads_to_the_hook() -> None:
    (entry,) = INFO["connection-types"]
    module, name = entry["hook-class-name"].rsplit(".", 1)

    assert getattr(importlib.import_module(module), name) is ClaudeCodeHook
    assert entry["connection-type"] == ClaudeCodeHook.conn_type
    assert entry["hook-name"] == ClaudeCodeHook.hook_name
    # What Connection.get_hook() does.
    assert ClaudeCodeHook(**{ClaudeCodeHook.conn_name_attr: "x"}).claude_code_conn_id == "x"
    assert ClaudeCodeHook.default_conn_name == f"{ClaudeCodeHook.conn_type}_default"


class TestForm:
    """The fields of the connection form and the settings that they set."""

    def test_every_setting_has_a_field(self) -> None:
        standard = {"api_key": "password", "base_url": "host"}

        assert set(CONNECTION_FIELDS) == set(SETTINGS) - set(standard) | {"pseudonym_secret"}
        (entry,) = INFO["connection-types"]
        for field in standard.values():
            assert field in entry["ui-field-behaviour"]["relabeling"]
            assert field not in entry["ui-field-behaviour"]["hidden-fields"]

    @pytest.mark.parametrize("name", CONNECTION_FIELDS)
    def test_a_field_s_default_is_the_setting_s(self, name: str) -> None:
        schema = CONNECTION_FIELDS[name]["schema"]

        assert schema.get("default") == (SETTINGS.get(name) or None)

    @pytest.mark.parametrize("name", CONNECTION_FIELDS)
    def test_every_field_is_optional_and_explained(self, name: str) -> None:
        field = CONNECTION_FIELDS[name]

        assert "null" in field["schema"]["type"]
        assert field["label"]
        assert field["description"].endswith(".")

    @pytest.mark.parametrize(
        ("name", "edge", "beyond"),
        [
            (name, field["schema"][limit], field["schema"][limit] + step)
            for name, field in CONNECTION_FIELDS.items()
            for limit, step in (("minimum", -1), ("maximum", 1))
            if limit in field["schema"]
        ],
    )
    def test_the_limits_of_a_field_are_the_setting_s(self, name: str, edge: int, beyond: int) -> None:
        assert getattr(ClientSettings(api_key="key", **{name: edge}), name) == edge
        with pytest.raises(ClaudeCodeConfigurationError):
            ClientSettings(api_key="key", **{name: beyond})

    def test_the_choices_of_a_field_are_the_setting_s(self) -> None:
        for choice in CONNECTION_FIELDS["authentication"]["schema"]["enum"]:
            ClientSettings(api_key="key", authentication=choice)

    def test_secrets_are_hidden_and_redacted(self) -> None:
        """By their format in the form, and by their name in the API's answers."""
        from tests.fixtures.airflow_version import redact

        assert CONNECTION_FIELDS["pseudonym_secret"]["schema"]["format"] == "password"
        assert redact({"pseudonym_secret": "canary-canary"})["pseudonym_secret"] == "***"

    def test_the_ui_is_given_the_form(self) -> None:
        """From the hook on Airflow 3.0 and 3.1, and from the metadata later."""
        if AIRFLOW < (3, 1):
            pytest.importorskip("flask_appbuilder", reason="without it, Airflow 3.0 gives the UI no form of any hook")
        code = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(form,) = (form for form in HookMetaService.hook_meta_data() if form.connection_type == "claude_code")
print(form.model_dump_json())
"""
        # In a process of its own, as Airflow puts stand-ins of wtforms into sys.modules.
        output = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        form = json.loads(output.splitlines()[-1])

        assert form["hook_name"] == "Claude Code Analytics"
        standard = {name: field for name, field in form["standard_fields"].items() if field}
        assert {name for name, field in standard.items() if field["hidden"]} == {"login", "url_schema"}
        key = standard["password"]
        assert (key["hidden"], key["title"]) == (False, "Admin API key (required)")
        assert key["placeholder"] == "sk-ant-admin01-..., created at platform.claude.com/settings/admin-keys"
        assert standard["host"]["placeholder"] == "https://api.anthropic.com"
        assert standard["port"]["placeholder"] == "Enter 443 to use Test on Airflow 3.3.1 and 3.3.2"
        fields = {
            name: (field["schema"]["title"], field["schema"]["type"], field["value"])
            for name, field in form["extra_fields"].items()
        }
        assert fields == {
            "authentication": ("Authentication", ["string", "null"], "api_key"),
            "page_limit": ("Records per page", ["integer", "null"], 1000),
            "request_timeout": ("Request timeout (seconds)", ["integer", "null"], 60),
            "retry_budget": ("Time budget for retries (seconds)", ["integer", "null"], 600),
            "requests_per_minute": ("Requests per minute", ["integer", "null"], 60),
            "anthropic_version": ("anthropic-version", ["string", "null"], "2023-06-01"),
            "user_agent_suffix": ("User-Agent suffix", ["string", "null"], None),
            "pseudonym_secret": ("Pseudonym secret", ["string", "null"], None),
        }
        assert form["extra_fields"]["authentication"]["schema"]["enum"] == ["api_key", "bearer"]
        assert form["extra_fields"]["pseudonym_secret"]["schema"]["format"] == "password"
        assert "1 to 1000" in form["extra_fields"]["page_limit"]["description"]

    def test_old_airflow_has_the_same_labels(self) -> None:
        (entry,) = INFO["connection-types"]

        assert ClaudeCodeHook.get_ui_field_behaviour() == {
            "hidden_fields": entry["ui-field-behaviour"]["hidden-fields"],
            "relabeling": entry["ui-field-behaviour"]["relabeling"],
            "placeholders": entry["ui-field-behaviour"]["placeholders"],
        }

    def test_old_airflow_has_the_same_fields(self) -> None:
        for module in ("wtforms", "flask_appbuilder", "flask_babel"):
            pytest.importorskip(module, reason="the form of Airflow 3.0 and 3.1 is made with Flask-AppBuilder")
        import wtforms

        form = type("Form", (wtforms.Form,), ClaudeCodeHook.get_connection_form_widgets())()

        assert [field.name for field in form] == list(CONNECTION_FIELDS)
        for field in form:
            schema = CONNECTION_FIELDS[field.name]["schema"]
            assert field.default == schema.get("default")
            assert isinstance(field, wtforms.IntegerField) == ("integer" in schema["type"])
            assert isinstance(field, wtforms.PasswordField) == (schema.get("format") == "password")
            assert field.description == CONNECTION_FIELDS[field.name]["description"]


def test_reading_the_metadata_loads_no_airflow() -> None:
    """Airflow reads the metadata while it is being imported itself."""
    code = f"""
import sys
from {PACKAGE}.get_provider_info import get_provider_info
get_provider_info()
print(*sorted(name for name in sys.modules if name.split(".")[0] not in sys.stdlib_module_names))
"""
    output = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout

    assert output.split() == ["__main__", PACKAGE, f"{PACKAGE}.get_provider_info"]
