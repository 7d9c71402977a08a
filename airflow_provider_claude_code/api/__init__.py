"""The Claude Code Analytics API over HTTP: settings, paging without loss, retries, errors. Knows no Airflow."""
