"""Loads a week into a local BigQuery and queries it: ``python -m demo.bigquery DAG_FILE DIRECTORY``."""

import sys
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from demo.runs import last_complete_days, load_days, prepared_airflow
from tests.fixtures.servers.bigquery import BigQueryServer

PROJECT = "demo-proj"
QUERIES = {
    "A week of usage": """
SELECT date, count(DISTINCT IF(actor_type = 'user_actor', actor_id, NULL)) AS people, sum(num_sessions) AS sessions,
  round(100 * sum(tool_actions_accepted) / sum(tool_actions_accepted + tool_actions_rejected)) AS accepted_percent,
  round(sum(estimated_cost_cents) / 100, 2) AS estimated_dollars
FROM claude_code.claude_code_usage GROUP BY date ORDER BY date""",
    "What models cost": """
SELECT model, sum(output_tokens) AS output_tokens, round(sum(estimated_cost_cents) / 100, 2) AS estimated_dollars
FROM claude_code.claude_code_model_usage GROUP BY model ORDER BY estimated_dollars DESC""",
    "How often each day was loaded": """
SELECT date, count(*) AS loads, count(DISTINCT content_digest) AS contents
FROM claude_code.claude_code_loads WHERE table_name = 'usage' GROUP BY date ORDER BY date""",
}


def main() -> int:
    """Load a week into a BigQuery in this process, and query it."""
    dag_file, directory = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    with BigQueryServer(project=PROJECT) as server:
        environment = {
            "BIGQUERY_EMULATOR_HOST": server.url,
            "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": (
                f'{{"conn_type": "google_cloud_platform", "extra": {{"is_anonymous": true, "project": "{PROJECT}"}}}}'
            ),
        }
        with prepared_airflow(dag_file, directory, environment) as log:
            if not load_days("claude_code_to_bigquery", dag_file, last_complete_days(7), log):
                return 1
        client = Client(
            project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url}
        )
        for title, query in QUERIES.items():
            print(f"\n{title}:\n{query}\n")
            print(client.query(query).to_dataframe(create_bqstorage_client=False).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
