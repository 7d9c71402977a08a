"""Days as partitions of BigQuery tables."""
