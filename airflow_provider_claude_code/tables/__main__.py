"""``python -m airflow_provider_claude_code.tables`` prints the table reference as Markdown."""

from airflow_provider_claude_code.tables.contract import markdown_reference

print(markdown_reference(), end="")
