"""
A stand-in for the Claude Code Analytics API with an invented organisation.

The demo, the tests of this project and tests of your own Dags use it, so that nobody needs an admin key or the usage of
real people::

    with Sandbox(users=50, seed=7) as sandbox:
        headers = {"x-api-key": sandbox.api_key, "anthropic-version": "2023-06-01"}
        httpx.get(f"{sandbox.base_url}/v1/organizations/me", headers=headers)

``airflow claude-code sandbox`` runs the same server from the command line.
"""

from airflow_provider_claude_code.sandbox.faults import Faults
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.server import Sandbox, SeenRequest, create_app
from airflow_provider_claude_code.sandbox.service import API_KEY, OAUTH_TOKEN

__all__ = ["API_KEY", "OAUTH_TOKEN", "Faults", "Organization", "Sandbox", "SeenRequest", "create_app"]
