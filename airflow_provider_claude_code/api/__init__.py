"""The Claude Code Analytics API over HTTP: typed records, paging without loss, retries. Knows no Airflow."""
