"""The inputs and outputs of tasks for Airflow: URIs of assets, and hook lineage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from airflow_provider_claude_code.version_compat import get_hook_lineage_collector, get_hook_lineage_readers


def asset_uri(url: str) -> str:
    """
    Percent-encode a URL that is not encoded yet. The URI of an Asset is ASCII, and ends at a ``?`` or ``#``.

    :param url: ``SCHEME://`` and a place.
    """
    scheme, separator, place = url.partition("://")
    return scheme + separator + quote(place, safe="/:@!$&'()*+,;=~")


def add_hook_lineage(context: Any, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """
    Add the assets that were read and written to Airflow's collector, if a plugin reads it.

    Without such a plugin, the collector keeps nothing. But creating it imports the asset factories of all installed
    providers, including the libraries of Google and Amazon, which takes a second of processor time.

    :param context: the hook, or the path, through which the assets were reached.
    :param inputs: the URIs that were read.
    :param outputs: the URIs that were written.
    """
    if not get_hook_lineage_readers():
        return
    collector = get_hook_lineage_collector()
    for uri in inputs:
        collector.add_input_asset(context=context, uri=uri)
    for uri in outputs:
        collector.add_output_asset(context=context, uri=uri)
