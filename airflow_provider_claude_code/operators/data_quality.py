"""The operator that checks loaded data."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.queries.checks import CHECKS
from airflow_provider_claude_code.days import consecutive_days, day_range, days_between
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeDataQualityError
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.operators.analytics import ClaudeCodeAnalyticsOperator
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.streams.registry import find_stream
from airflow_provider_claude_code.templates import is_template, listed

if TYPE_CHECKING:
    from airflow.sdk import Context

# These findings do not belong to a day of the period.
_OF_NO_DAY = ("freshness", "mapping", "roster")

_LISTED = 20
_MOST_RANGES = 8

# As in the part check_volume_drop.
_LEAST_WEEKDAYS = 2


class ClaudeCodeDataQualityOperator(ClaudeCodeAnalyticsOperator):
    """
    Check loaded data, and fail the task if a check finds something.

    The page *Checks and alerts* of the documentation says what each check finds. The checks are ``sums``,
    ``missing_days``, ``volume_drop``, ``freshness``, ``repeated_keys``, ``lost_records``, ``out_of_range``,
    ``cost_total``, ``request_changed``, ``budget``, ``mapping`` and ``roster``.

    The result has the period (``first_day``, ``last_day``); ``checked``, the number of loaded days and of rows per
    table; ``findings``, the number of findings per check; and ``nothing_to_check``, the checks that had no data, such
    as ``roster`` without a roster.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.operators.analytics.ClaudeCodeAnalyticsOperator`.

    :param checks: the checks to run (templated); default: all.
    :param warn_only: checks that log a warning instead of failing the task (templated); default: ``budget``.
    :param max_drop: ``volume_drop`` reports a table if this fraction of its usual rows is missing, above 0 and up to 1.
    :param max_age_hours: ``freshness`` reports a stream if its newest complete day ended more than this many hours ago.
        The default fits a daily load of usage. The limit is 23 hours longer for ``cost``, whose days are complete
        later, and 25 hours shorter for ``members``, whose snapshots are complete at once.
    :param budget_percents: percentages of the budget that are reported.
    :raises AirflowFailException: a check found something, or cannot be made.
    """

    template_fields: Sequence[str] = (*ClaudeCodeAnalyticsOperator.template_fields, "checks", "warn_only")
    template_fields_renderers: ClassVar[dict[str, str]] = {"checks": "json", "warn_only": "json"}

    checks: list[str]
    warn_only: list[str]

    def __init__(
        self,
        *,
        checks: Iterable[str] = CHECKS,
        warn_only: Iterable[str] = ("budget",),
        max_drop: float = 0.5,
        max_age_hours: float = 48,
        budget_percents: Iterable[int] = (80, 100),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.checks = checks  # type: ignore[assignment]
        self.warn_only = warn_only  # type: ignore[assignment]
        self._settle_checks(is_rendered=False)
        self.max_drop = max_drop
        self.max_age_hours = max_age_hours
        if isinstance(budget_percents, str) or not isinstance(budget_percents, Iterable):
            raise ClaudeCodeConfigurationError(f"budget_percents is {budget_percents!r}; a list was expected.")
        self.budget_percents = tuple(budget_percents)
        self._settings = Settings(max_drop=max_drop, max_age_hours=max_age_hours, budget_percents=self.budget_percents)

    def _settle_checks(self, *, is_rendered: bool = True) -> None:
        """Check which checks are named. Those in templates are known when they are rendered, as the task runs."""
        if is_rendered or not is_template(self.checks):
            self.checks = listed("checks", self.checks, CHECKS)
        if is_rendered or not is_template(self.warn_only):
            self.warn_only = listed("warn_only", self.warn_only, CHECKS, may_be_empty=True)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the checks, and return what was checked and the number of findings per check."""
        with fail_without_retry():
            self._settle_checks()
            settings = self.rendered_settings()
            with self.open_source(context, settings) as source:
                rows, health = (source.read(model).to_pylist() for model in ("data_quality", "load_health"))
            # Without data, no check can fail, but the location may be wrong.
            if not rows and not health:
                raise ClaudeCodeConfigurationError(
                    f"There are no loaded days since {settings.since}, so there is nothing to check. Load the table "
                    f"usage, or pass {'the path' if self.path else 'the dataset and the table_prefix'} to which the "
                    "days are loaded."
                )
            first_day, last_day = settings.period
            findings = sorted(
                (
                    row
                    for row in rows
                    if row["check_name"] in self.checks
                    and (row["check_name"] in _OF_NO_DAY or first_day <= row["date"] <= last_day)
                ),
                key=_order,
            )
            possible = self._possible_checks(health, settings)
            result: dict[str, Any] = {
                "first_day": first_day.isoformat(),
                "last_day": last_day.isoformat(),
                "checked": _checked_rows(health, first_day, last_day),
                "findings": {check: sum(row["check_name"] == check for row in findings) for check in self.checks},
                "nothing_to_check": [check for check in self.checks if check not in possible],
            }
            self._log_result(result, findings)
            if failures := [row for row in findings if row["check_name"] not in self.warn_only]:
                problems = _problems(failures)
                more = f" And {len(problems) - _LISTED} more, in the log." if len(problems) > _LISTED else ""
                raise ClaudeCodeDataQualityError(
                    f"The usage from {first_day} to {last_day} has {len(problems)} problem"
                    f"{'s' if len(problems) > 1 else ''}. {' '.join(problems[:_LISTED])}{more}"
                )
            clean = [check for check, count in result["findings"].items() if check in possible and not count]
            self.log.info("No check failed. Without findings: %s", ", ".join(clean) or "none")
            return result

    def _log_result(self, result: dict[str, Any], findings: Iterable[dict[str, Any]]) -> None:
        """Log what was checked, and each finding."""
        checked = result["checked"]
        self.log.log(
            logging.INFO if checked["days"] else logging.WARNING,
            "Checked %s to %s: %d loaded days; %s. Nothing to check for: %s",
            result["first_day"],
            result["last_day"],
            checked["days"],
            f"{', '.join(f'{count} {table}' for table, count in checked['rows'].items())} rows"
            if checked["rows"]
            else "no tables",
            ", ".join(result["nothing_to_check"]) or "none",
        )
        for row in findings:
            level = logging.WARNING if row["check_name"] in self.warn_only else logging.ERROR
            self.log.log(level, "%s", *_problems([row]))

    def _possible_checks(self, health: Iterable[dict[str, Any]], settings: Settings) -> set[str]:
        """Return the checks that have something to look at in the period; freshness has if anything was ever loaded."""
        first_day, last_day = settings.period
        possible = {"freshness"}
        oldest: dict[str, date] = {}
        for row in health:
            if row["state"] != "missing":
                oldest[row["stream"]] = min(row["date"], oldest.get(row["stream"], row["date"]))
        for row in health:
            if not first_day <= row["date"] <= last_day:
                continue
            if not find_stream(row["stream"]).is_snapshot:
                possible.add("missing_days")
            if row["state"] == "missing":
                continue
            possible.add("sums")
            if row["weekdays_compared"] >= _LEAST_WEEKDAYS:
                possible.add("volume_drop")
            if row["stream"] == "usage":
                possible |= {"out_of_range", "repeated_keys"}
                if row["loads"] > 1:
                    possible.add("lost_records")
            if row["table_name"] == "cost_totals":
                possible.add("cost_total")
            if row["stream"] in ("usage", "cost") and settings.monthly_budget_cents:
                possible.add("budget")
            if oldest[row["stream"]] < row["date"]:
                possible.add("request_changed")
        return possible | {name for name in ("mapping", "roster") if getattr(self, name)}


def _checked_rows(health: Iterable[dict[str, Any]], first_day: date, last_day: date) -> dict[str, Any]:
    """Return how many days of the period are loaded, and how many rows each table has in them."""
    loaded = [row for row in health if first_day <= row["date"] <= last_day and row["state"] != "missing"]
    rows: Counter[str] = Counter()
    for row in loaded:
        rows[row["table_name"]] += row["row_count"]
    return {"days": len({row["date"] for row in loaded}), "rows": dict(sorted(rows.items()))}


def _order(row: dict[str, Any]) -> tuple[int, str, str]:
    """Return what findings are sorted by: their check, then their day."""
    return list(CHECKS).index(row["check_name"]), str(row["date"]), str(row["table_name"])


def _problems(findings: Iterable[dict[str, Any]]) -> list[str]:
    """Write findings. Those that differ only in their day or table, as after an outage, are one problem."""
    tables: dict[tuple[Any, ...], list[str]] = {}
    for row in findings:
        alike = (row["check_name"], row["organization_id"], row["finding"])
        tables.setdefault((*alike, row["date"]), []).append(row["table_name"])
    days: dict[tuple[Any, ...], list[date | None]] = {}
    for (*same, day), names in tables.items():
        days.setdefault((*same, *names), []).append(day)
    problems = []
    for (check, organization, finding, *names), dates in days.items():
        ranges = consecutive_days(filter(None, dates))
        named = [day_range(*ends) for ends in ranges[:_MOST_RANGES]]
        if left := sum(len(days_between(*ends)) for ends in ranges[_MOST_RANGES:]):
            named.append(f"and {left} more in the log")
        where = " ".join(filter(None, (", ".join(named), organization, ", ".join(filter(None, names)))))
        problems.append(quoted(f"{check}: {where}: {finding}", 500))
    return problems
