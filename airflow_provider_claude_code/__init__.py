"""Apache Airflow provider for the Claude Code Analytics API. Imports nothing: Airflow's start-up does."""

__version__ = "0.1.0"
