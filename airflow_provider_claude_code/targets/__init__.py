"""Where days are published: files and BigQuery tables."""
