"""The triggers that wait for a complete day, and for BigQuery jobs."""
