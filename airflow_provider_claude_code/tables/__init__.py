"""The table contract and the way from typed records to files that keep it. Knows no Airflow."""
