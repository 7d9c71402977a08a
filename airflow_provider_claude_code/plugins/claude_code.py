"""The plugin that shows reports in Airflow, if it is enabled."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_claude_code.plugins.places import URL_PREFIX, reports_directory

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send


@cache
def _app(directory: Path) -> FastAPI:
    # Imports the API server's code, which other components do not need.
    from airflow_provider_claude_code.plugins.report_page import create_app

    return create_app(directory)


def _apps(directory: Path | None) -> list[dict[str, Any]]:
    if directory is None:
        return []

    async def serve_reports(scope: Scope, receive: Receive, send: Send) -> None:
        await _app(directory)(scope, receive, send)

    return [{"name": "Claude Code reports", "app": serve_reports, "url_prefix": URL_PREFIX}]


class ClaudeCodePlugin(AirflowPlugin):
    """Shows the reports below ``[claude_code] reports_directory``; does nothing without that setting."""

    name = "claude_code"
    fastapi_apps: list[Any] = _apps(reports_directory())
