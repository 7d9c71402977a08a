"""Apache Airflow provider for the Claude Code Analytics API. Imports nothing, since Airflow imports it at start-up."""

__version__ = "0.1.0"
