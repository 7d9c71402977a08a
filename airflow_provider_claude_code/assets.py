"""The URIs by which Airflow knows what was read and written."""

from __future__ import annotations

from urllib.parse import quote


def asset_uri(url: str) -> str:
    """
    Percent-encode a URL of which nothing is encoded yet: the URI of an Asset is ASCII, and ends at a ``?`` or ``#``.

    :param url: ``SCHEME://`` and a place.
    """
    scheme, separator, place = url.partition("://")
    return scheme + separator + quote(place, safe="/:@!$&'()*+,;=~")
