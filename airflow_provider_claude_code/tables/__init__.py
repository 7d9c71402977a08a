"""The shared parts of all tables, and the way from rows to files. Does not import Airflow."""
