"""The locations of the reports that Airflow shows: files and URLs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

# Not imported from version_compat, which loads the Task SDK, since all components of Airflow load plugins.
from airflow import __version__ as airflow_version
from airflow.configuration import conf

URL_PREFIX = "/claude_code_reports"
"""The path of the API server below which the reports are."""

# As Airflow's own check of ids, and nothing that leads to another folder.
_DAG_ID = re.compile(r"(?!\.+$)[\w.-]{1,250}")
_NAME = re.compile(r"\w[\w.-]{0,199}\.html")


def reports_directory() -> Path | None:
    """Return the directory of the reports to show; None by default, which shows none."""
    # Before Airflow 3.1, browsers send no cookie to pages of plugins, so these cannot authenticate users.
    if airflow_version.startswith("3.0."):
        return None
    directory = conf.get("claude_code", "reports_directory", fallback="")
    return Path(directory) if directory else None


def report_file(directory: Path, dag_id: str, name: str) -> Path | None:
    """
    Return the file of a Dag's report; None when it cannot be one.

    :param directory: the directory of the reports.
    :param dag_id: the Dag, whose reports are in the folder of its id.
    :param name: the file's name.
    """
    return directory / dag_id / name if _DAG_ID.fullmatch(dag_id) and _NAME.fullmatch(name) else None


def page_url(file: Path, dag_id: str) -> str:
    """
    Return where Airflow shows a report; empty when it does not.

    :param file: the report.
    :param dag_id: the Dag that has written it.
    """
    directory = reports_directory()
    if directory is None or file != report_file(directory, dag_id, file.name):
        return ""
    base_url = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base_url}{URL_PREFIX}/{quote(dag_id)}/{quote(file.name)}"
