"""The inputs and outputs of tasks for Airflow: URIs and events of assets, and hook lineage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.definitions.asset import AssetRef
from airflow.sdk.exceptions import AirflowRuntimeError

from airflow_provider_claude_code.version_compat import get_hook_lineage_collector, get_hook_lineage_readers

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def asset_uri(url: str) -> str:
    """
    Percent-encode a URL that is not encoded yet. The URI of an Asset is ASCII, and ends at a ``?`` or ``#``.

    :param url: ``SCHEME://`` and a place.
    """
    scheme, separator, place = url.partition("://")
    return scheme + separator + quote(place, safe="/:@!$&'()*+,;=~")


def fill_asset_events(context: Context, outlets: Iterable[object], uris: Sequence[str], extra: dict[str, Any]) -> None:
    """
    Describe what a task has written in the asset events of its outlets.

    :param context: the context of the task.
    :param outlets: the outlets.
    :param uris: the URIs of the assets that were written, which are added to each ``AssetAlias`` among the outlets.
    :param extra: what the events say.
    """
    for outlet in outlets:
        if isinstance(outlet, Asset | AssetRef):
            try:
                context["outlet_events"][outlet].extra = extra
            except AirflowRuntimeError:  # Airflow creates no event for an asset that it does not know.
                log.warning("Airflow finds no asset for the outlet %s, so it creates no event for it", outlet)
        elif isinstance(outlet, AssetAlias):
            for uri in uris:
                context["outlet_events"][outlet].add(Asset(uri), extra=extra)


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
