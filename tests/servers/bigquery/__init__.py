"""
A local server that stands in for BigQuery.

It speaks enough of BigQuery's REST API, version 2, over HTTP for the real client library and Airflow's BigQueryHook:
datasets, tables and their partitions, load jobs from uploaded files, queries, copies. Rows live in DuckDB, in memory;
sqlglot translates GoogleSQL. Point clients at it with the environment variable ``BIGQUERY_EMULATOR_HOST`` and
anonymous credentials.

What it proves is that our requests are well-formed and that our own logic holds against the rules below as we know
them from the documentation and from reports: replacement of partitions, job ids, schemas, atomic jobs. It does not
prove that the service follows these rules, nor anything about permissions, quotas, cost, expiration, or SQL that
DuckDB reads differently. It knows no scripts, no legacy SQL, no DDL but views, no loads from Cloud Storage.
"""

from tests.servers.bigquery.faults import DroppedConnection, FailingJob, Fault, HttpError, JobFault, SlowJob
from tests.servers.bigquery.jobs import JobRecord
from tests.servers.bigquery.server import BigQueryServer, SeenRequest

__all__ = [
    "BigQueryServer",
    "DroppedConnection",
    "FailingJob",
    "Fault",
    "HttpError",
    "JobFault",
    "JobRecord",
    "SeenRequest",
    "SlowJob",
]
