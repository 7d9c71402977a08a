"""Where the queries run: on Parquet files through DuckDB, or in BigQuery."""
