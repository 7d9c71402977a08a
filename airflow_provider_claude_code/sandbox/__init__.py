"""
A stand-in for the Claude Code Analytics API with a made-up organisation.

It serves the demo, the tests of this project and the Dag tests of its users, so that nobody needs an
admin key, or real people's usage, to see the provider work::

    with Sandbox(users=50, seed=7) as sandbox:
        headers = {"x-api-key": sandbox.api_key, "anthropic-version": "2023-06-01"}
        httpx.get(f"{sandbox.base_url}/v1/organizations/me", headers=headers)

``python -m airflow_provider_claude_code.sandbox`` runs the same server from the command line.
"""

from airflow_provider_claude_code.sandbox.faults import Faults
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.server import API_KEY, OAUTH_TOKEN, Sandbox, SeenRequest, create_app

__all__ = ["API_KEY", "OAUTH_TOKEN", "Faults", "Organization", "Sandbox", "SeenRequest", "create_app"]
