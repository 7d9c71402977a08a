"""The URIs of Airflow assets."""

from __future__ import annotations

from urllib.parse import quote


def asset_uri(url: str) -> str:
    """
    Percent-encode a URL that is not encoded yet. The URI of an Asset is ASCII, and ends at a ``?`` or ``#``.

    :param url: ``SCHEME://`` and a place.
    """
    scheme, separator, place = url.partition("://")
    return scheme + separator + quote(place, safe="/:@!$&'()*+,;=~")
