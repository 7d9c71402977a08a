"""The metadata that Airflow reads about this provider, including its connection form. Imports nothing."""

from __future__ import annotations

from typing import Any

_PACKAGE = "airflow_provider_claude_code"
_INTEGRATION = "Claude Code Analytics"
_API_DOCS = "https://platform.claude.com/docs/en/build-with-claude/claude-code-analytics-api"


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    # "null" in the type makes a form field optional.
    kind = schema.pop("type")
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


CONNECTION_FIELDS = {
    "authentication": _field(
        "Authentication",
        "api_key sends the key as an API key (x-api-key). bearer sends it as an OAuth token (Authorization: Bearer), "
        "which needs the scope org:admin.",
        type="string",
        enum=["api_key", "bearer"],
        default="api_key",
    ),
    "page_limit": _field(
        "Records per page",
        "Maximum number of records per request, 1 to 1000. With fewer, a day takes more requests.",
        type="integer",
        minimum=1,
        maximum=1000,
        default=1000,
    ),
    "request_timeout": _field(
        "Request timeout (seconds)",
        "How long to wait for each part of a response. A whole response may take up to five times as long.",
        type="integer",
        minimum=1,
        maximum=3600,
        default=60,
    ),
    "retry_budget": _field(
        "Time budget for retries (seconds)",
        "How long to retry a request after rate limits, server errors and lost connections.",
        type="integer",
        minimum=0,
        maximum=86400,
        default=600,
    ),
    "requests_per_minute": _field(
        "Requests per minute",
        "Maximum number of requests that one task sends in a minute, 1 to 100,000.",
        type="integer",
        minimum=1,
        maximum=100_000,
        default=60,
    ),
    "anthropic_version": _field(
        "anthropic-version",
        "Version of the API. The tables are defined for 2023-06-01.",
        type="string",
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        default="2023-06-01",
    ),
    "user_agent_suffix": _field(
        "User-Agent suffix",
        "Text to add to the User-Agent of every request, to tell your deployments apart.",
        type="string",
    ),
    "pseudonym_secret": _field(
        "Pseudonym secret",
        'For actor_identity="hmac": at least 16 random characters. Keep it: with another secret, everybody gets '
        "another pseudonym.",
        type="string",
        format="password",
    ),
}
"""The fields of the Connection's extra, by name."""

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "login"],
    # Airflow determines the order of the standard fields, and cannot mark a required field.
    "relabeling": {"password": "Admin API key (required)", "host": "API base URL", "port": "Port"},
    "placeholders": {
        "password": "sk-ant-admin01-..., created at platform.claude.com/settings/admin-keys",
        "host": "https://api.anthropic.com",
        # A standard field cannot have a default, and the UI of these versions cannot test a Connection without a port:
        # https://github.com/apache/airflow/pull/73298
        "port": "Enter 443 to use Test on Airflow 3.3.1 and 3.3.2",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-claude-code",
        "name": _INTEGRATION,
        "description": (
            # The Providers page drops the space after a link, so that the link stands last.
            "Loads the Claude Code usage of an organisation into files, Google Cloud Storage and BigQuery from the "
            f"`Claude Code Analytics API <{_API_DOCS}>`__"
        ),
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": _API_DOCS,
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.hooks.claude_code"]}],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    f"{_PACKAGE}.operators.{module}" for module in ("bigquery_models", "data_quality", "report")
                ],
            }
        ],
        "sensors": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.sensors.freshness"]}],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [f"{_PACKAGE}.triggers.freshness", f"{_PACKAGE}.triggers.bigquery"],
            }
        ],
        "transfers": [
            {
                "source-integration-name": _INTEGRATION,
                "target-integration-name": target,
                "python-module": f"{_PACKAGE}.transfers.claude_code_to_{module}",
            }
            for target, module in (
                ("Object Storage", "object_storage"),
                ("Google Cloud Storage (GCS)", "gcs"),
                ("Google BigQuery", "bigquery"),
            )
        ],
        "extra-links": [
            f"{_PACKAGE}.links.{link}"
            for link in (
                "BigQueryTableLink",
                "BigQueryJobLink",
                "BigQueryDatasetLink",
                "GCSFolderLink",
                "ClaudeCodeReportLink",
            )
        ],
        "connection-types": [
            {
                "connection-type": "claude_code",
                "hook-class-name": f"{_PACKAGE}.hooks.claude_code.ClaudeCodeHook",
                "hook-name": "Claude Code Analytics",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
        # No "plugins": Airflow reads them only with [core] lazy_discover_providers off. An entry point names ours.
        "config": {
            "claude_code": {
                "description": "Settings of the Claude Code Analytics provider.",
                "options": {
                    "reports_directory": {
                        "description": (
                            "Local directory with reports. The API server shows DIRECTORY/DAG_ID/NAME.html at "
                            "/claude_code_reports/DAG_ID/NAME.html, to users who may read the XComs of the Dag. "
                            "Set it for the workers as well, so that their tasks link to the page. If it is empty, "
                            "no report is shown. Needs Airflow 3.1."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/reports",
                        "default": "",
                    }
                },
            }
        },
        # Read by Airflow 3.2 and later.
        "cli": [f"{_PACKAGE}.cli.definition.get_cli_commands"],
    }
