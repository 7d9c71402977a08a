"""The page of Airflow's API server that shows a report to users who may read the XComs of its Dag."""

from __future__ import annotations

from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Response, status

from airflow_provider_claude_code.plugins.places import report_file

LARGEST_REPORT = 32 * 2**20
"""Maximum size in bytes of a file to show."""

HEADERS = {
    # A sandbox has its own origin and no scripts or forms, so the file cannot act on behalf of the user.
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "Cache-Control": "private, no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# The template writes it into the head of a report.
_NAMES_NOBODY = b'<meta name="claude-code-people" content="none">'
_HEAD = 4096


def create_app(directory: Path) -> FastAPI:
    """
    Return the app that shows reports.

    Airflow does not check who uses the apps of plugins, so each of its routes does so itself.

    :param directory: the reports of a Dag are in the folder of its id.
    """
    app = FastAPI(title="Claude Code reports", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    # The numbers of a report are in the XCom of the task that writes it.
    @app.get("/{dag_id}/{name}", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.XCOM))])
    def show(dag_id: str, name: str) -> Response:
        content = _read(directory, dag_id, name)
        if _NAMES_NOBODY not in content[:_HEAD]:
            raise HTTPException(
                status.HTTP_403_FORBIDDEN,
                "The file is not a report, or it is a report that names people, so it is not shown here.",
            )
        return Response(content, media_type="text/html; charset=utf-8", headers=HEADERS)

    return app


def _read(directory: Path, dag_id: str, name: str) -> bytes:
    absent = HTTPException(status.HTTP_404_NOT_FOUND, "There is no such report.")
    file = report_file(directory.resolve(), dag_id, name)
    try:
        # A symbolic link could lead to another Dag's report, or to any file.
        if file is None or file.resolve(strict=True) != file or file.stat().st_size > LARGEST_REPORT:
            raise absent
        return file.read_bytes()
    except OSError:
        raise absent from None
