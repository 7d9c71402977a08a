"""Checks of loaded usage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeDataQualityError
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.operators.analytics import ClaudeCodeAnalyticsOperator
from airflow_provider_claude_code.quoting import quoted

if TYPE_CHECKING:
    from airflow.sdk import Context

CHECKS = (
    "sums",
    "missing_days",
    "volume_drop",
    "freshness",
    "repeated_keys",
    "lost_records",
    "out_of_range",
    "mapping",
    "roster",
)
"""The checks that there are, as in the model ``data_quality``."""

# How old the newest day is, and what tables of users say, is of no day of the period.
_OF_NO_DAY = ("freshness", "mapping", "roster")

# A message and an XCom are for people; a long outage says the same many times.
_LISTED = 20


class ClaudeCodeDataQualityOperator(ClaudeCodeAnalyticsOperator):
    """
    Check loaded usage, and fail the task when something is wrong.

    ``sums``: the tables of a day agree with each other and with ``loads``. ``missing_days``: every day of the period,
    from the first loaded one on, was loaded after it was complete. ``volume_drop``: no day has far fewer records than
    the median of the same weekdays in the 28 days before. ``freshness``: there is a complete day, and it did not end
    too long ago. ``repeated_keys``: no two records of a day's newest load have the same key. ``lost_records``: that
    load has no fewer records than an earlier one. ``out_of_range``: the numbers of a day do not add up to more than a
    load accepts, which may fit no sum. ``mapping``: no two rows of the mapping share an actor's day, and
    they match some actor. ``roster``: it names somebody who has usage.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.operators.analytics.ClaudeCodeAnalyticsOperator`.

    :param checks: which of them.
    :param warn_only: those that warn in the log and do not fail the task.
    :param max_drop: share of the usual records, 0 to 1, whose lack is a volume drop.
    :param max_age_hours: hours after the end of the newest complete day from which it is too old. A day is loaded from
        1 hour after its end on, so with a daily load this is up to 26 hours and the time of a load.
    :param mapping: the mapping of actors to groups (templated), a table or a file.
    :param roster: the eligible people (templated), a table or a file.
    :raises AirflowFailException: a check found something, or it cannot be made.
    """

    template_fields: Sequence[str] = (*ClaudeCodeAnalyticsOperator.template_fields, "mapping", "roster")

    def __init__(
        self,
        *,
        checks: Iterable[str] = CHECKS,
        warn_only: Iterable[str] = (),
        max_drop: float = 0.5,
        max_age_hours: float = 48,
        mapping: str | None = None,
        roster: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.checks = _checked("checks", checks)
        self.warn_only = _checked("warn_only", warn_only)
        self.max_drop = max_drop
        self.max_age_hours = max_age_hours
        self.mapping = mapping
        self.roster = roster

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the checks, and return how often each found something."""
        with fail_without_retry():
            first_day, last_day = self.period()
            settings = Settings(
                since=parse_day(self.since),
                first_day=first_day,
                last_day=last_day,
                max_drop=self.max_drop,
                max_age_hours=self.max_age_hours,
            )
            with self.open_source(context, settings, roster=self.roster, mapping=self.mapping) as source:
                rows = source.read("data_quality").to_pylist()
                # Nothing can be wrong with nothing, but the place may be.
                if not rows and source.read("load_health").num_rows == 0:
                    raise ClaudeCodeConfigurationError(
                        f"There are no loaded days since {settings.since}, so there is nothing to check. Are these the "
                        "dataset and the table_prefix that the days are loaded to?"
                    )
            findings = [
                row
                for row in rows
                if row["check_name"] in self.checks
                and (row["check_name"] in _OF_NO_DAY or first_day <= row["date"] <= last_day)
            ]
            failures = [row for row in findings if row["check_name"] not in self.warn_only]
            for row in findings:
                level = logging.WARNING if row["check_name"] in self.warn_only else logging.ERROR
                self.log.log(level, "%s", _sentence(row))
            if failures:
                more = f" And {len(failures) - _LISTED} more, in the log." if len(failures) > _LISTED else ""
                raise ClaudeCodeDataQualityError(
                    f"The usage from {first_day} to {last_day} has {len(failures)} problem"
                    f"{'s' if len(failures) > 1 else ''}. "
                    + " ".join(_sentence(row) for row in failures[:_LISTED])
                    + more
                )
            self.log.info("Nothing to fail for from %s to %s: %s", first_day, last_day, ", ".join(self.checks))
            return {
                "first_day": first_day.isoformat(),
                "last_day": last_day.isoformat(),
                "findings": {check: sum(row["check_name"] == check for row in findings) for check in self.checks},
            }


def _checked(argument: str, names: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(names)
    if isinstance(names, str) or (argument == "checks" and not chosen) or set(chosen) - set(CHECKS):
        raise ClaudeCodeConfigurationError(f"{argument} is {names!r}; a list of {', '.join(CHECKS)} was expected.")
    return chosen


def _sentence(row: dict[str, Any]) -> str:
    where = " ".join(str(row[name]) for name in ("date", "organization_id", "table_name") if row[name] is not None)
    return quoted(f"{row['check_name']}: {where}: {row['finding']}", 500)
