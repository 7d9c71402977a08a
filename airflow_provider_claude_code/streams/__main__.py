"""``python -m airflow_provider_claude_code.streams`` prints the table reference as Markdown."""

from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import markdown_reference
from airflow_provider_claude_code.tables.loads import FILE_LOADS

print(markdown_reference([*DATA_TABLES.values(), FILE_LOADS]), end="")
