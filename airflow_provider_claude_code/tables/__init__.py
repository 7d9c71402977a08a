"""What all tables have in common, and the way from rows to files. Knows no Airflow."""
