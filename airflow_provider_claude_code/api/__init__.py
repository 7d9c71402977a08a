"""The Claude Code Analytics API over HTTP: settings, paging, retries and errors. Does not import Airflow."""
