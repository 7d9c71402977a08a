"""The command line: ``airflow claude-code COMMAND`` or ``python -m airflow_provider_claude_code COMMAND``."""
