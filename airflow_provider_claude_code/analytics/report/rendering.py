"""The HTML of a report, which runs nothing and loads nothing."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_claude_code.analytics.report.elements import Document

_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__, ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(document: Document) -> str:
    """Return a document as HTML, in which all its texts are escaped."""
    html = _ENVIRONMENT.get_template("report.html.j2").render(document=document)
    # Browsers end a line between the two, and the next line would begin with a positive amount.
    return html.replace("\N{MINUS SIGN}$", "\N{MINUS SIGN}\N{WORD JOINER}$")
