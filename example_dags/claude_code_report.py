"""
Check the loaded usage every Monday, write a report on the week that has ended, and send it by e-mail.

Reads the files that ``claude_code_to_object_storage`` loads; ``CLAUDE_CODE_PATH`` says where they are, and
``CLAUDE_CODE_REPORT_PATH`` where the report goes. With addresses in ``CLAUDE_CODE_REPORT_TO``, separated by commas, it
is sent to them through the Connection ``smtp_default``. For BigQuery say ``dataset_id="claude_code"`` instead of
``path``. Needs the extra ``[report]``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.sdk import DAG

from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator

PATH = os.environ.get("CLAUDE_CODE_PATH", "file:///tmp/claude_code")
REPORT_PATH = os.environ.get("CLAUDE_CODE_REPORT_PATH", "/opt/airflow/reports/claude_code.html")
RECIPIENTS = [address for address in os.environ.get("CLAUDE_CODE_REPORT_TO", "").split(",") if address]

with DAG(
    dag_id="claude_code_report",
    # In the morning, when Sunday is complete and loaded.
    schedule="0 6 * * 1",
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["claude-code"],
):
    # Numbers that are incomplete are not sent; a slow week is.
    check_usage = ClaudeCodeDataQualityOperator(
        task_id="check_usage", path=PATH, period_days=7, warn_only=["volume_drop"]
    )
    make_report = ClaudeCodeReportOperator(task_id="make_report", path=PATH, period_days=7, report_path=REPORT_PATH)
    check_usage >> make_report

    if RECIPIENTS:
        send_report = EmailOperator(
            task_id="send_report",
            to=RECIPIENTS,
            subject="Claude Code from {{ ti.xcom_pull('make_report')['first_day'] }}"
            " to {{ ti.xcom_pull('make_report')['last_day'] }}",
            html_content="The report is attached; open it in a browser.",
            # A local file. Airflow would take a value that ends with .html for a template to be read.
            files=["{{ ti.xcom_pull('make_report')['report'].removeprefix('file://') }}"],
        )
        make_report >> send_report
