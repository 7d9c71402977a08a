"""The checks of the model ``data_quality``."""

from __future__ import annotations

CHECKS = {
    "sums": "The tables of a day contradict each other or `loads`, or its rows are not all of the newest load.",
    "missing_days": "A day of `usage` or `cost` was never loaded, or was loaded only before it was complete.",
    "volume_drop": "A table has at most half the rows (`max_drop`) of the median of the same weekdays in the 28 days "
    "before.",
    "freshness": "The newest complete day of a stream ended too long ago (`max_age_hours`), or no day is complete.",
    "repeated_keys": "Two records of a day of `usage` have the same key, as if pages of the API had overlapped.",
    "lost_records": "The newest load of a day of `usage` has fewer records than an earlier load.",
    "out_of_range": "The numbers of a day of `usage` add up to more than a load accepts.",
    "cost_total": "The rows of `cost` differ from `cost_totals` by more than rounding explains.",
    "request_changed": "A day was loaded with other filters, such as other products, than the loaded day before it.",
    "budget": "The cost of a calendar month reached a share of the monthly budget, or may have reached it.",
    "mapping": "Rows of the mapping overlap, are never valid, or have an unknown `actor_type`; "
    "or it has no rows, or none matches an actor.",
    "roster": "Rows of the roster are never valid; or it has no rows, or none matches a person with usage.",
}
"""What each check finds, in one sentence."""


def markdown_table() -> list[str]:
    """Return the checks as the lines of a Markdown table."""
    return ["| check | finds |", "|---|---|", *(f"| `{name}` | {finds} |" for name, finds in CHECKS.items())]
