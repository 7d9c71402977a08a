"""The sensor that waits for a day of Claude Code usage to be complete."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jinja2
from airflow.sdk import BaseSensorOperator
from airflow.triggers.base import StartTriggerArgs
from jinja2 import meta

from airflow_provider_claude_code.days import DEFAULT_DAY, FRESHNESS_DELAY, parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook, fail_without_retry
from airflow_provider_claude_code.streams.registry import find_stream
from airflow_provider_claude_code.templates import true_or_false
from airflow_provider_claude_code.triggers.freshness import NOT_COMPLETE, ClaudeCodeFreshnessTrigger
from airflow_provider_claude_code.version_compat import (
    AIRFLOW_V_3_3_PLUS,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    conf,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


# Names that workers and the triggerer know. The dates are also filters.
_DATES = frozenset({"ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"})
_NAMES_OF_THE_RUN = _DATES | {
    "dag_run",
    "run_id",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "partition_key",
    "macros",
}


class ClaudeCodeFreshnessSensor(BaseSensorOperator):
    """
    Wait until the data of a UTC day is complete in the Claude Code Analytics API.

    The API includes usage once it is an hour old, so a day is complete at 01:00 UTC of the next one. The charges of a
    day (``cost``) are complete once the API has refreshed them at least 24 hours after the day ended, or after 48 hours
    if the API does not say when it refreshed them. For a past day the sensor succeeds at once. With ``deferrable`` or
    ``start_from_trigger`` no worker slot is held while waiting; ``mode="reschedule"`` frees it between pokes.

    :param day: the UTC day, ``YYYY-MM-DD`` (templated). The default is ``day`` in the configuration of the run, else
        its partition key, else the day before the run.
    :param freshness_delay: how long after its end a day is complete: at least one hour, the delay of the API. The load
        operators refuse the day before that.
    :param require_records: also wait until the API has a record of the day. There may be none on a weekend, so set
        ``timeout`` and ``soft_fail`` accordingly. If all people use seats of a Team or Enterprise plan, there are never
        any. Snapshots (streams that describe the current state) refuse it.
    :param stream: the stream whose day must be complete.
    :param claude_code_conn_id: the Connection (templated). It is read at each look. The API is only called with
        ``require_records`` and for ``cost``. In other cases, a refused key is not noticed before the load.
    :param deferrable: wait in the triggerer, after a first look in a worker.
    :param start_from_trigger: wait in the triggerer from the start, without a worker. Needs Airflow 3.3; on older
        versions the sensor warns, and defers from a worker. It also defers from a worker, without a warning, if the
        triggerer cannot render its arguments: for mapped tasks, and if ``day`` or the id of the Connection is a
        template that uses more than the run, such as results of other tasks, Variables or macros of the Dag.
    :raises AirflowFailException: the day or the Connection cannot be used, so no retry would help. It is raised also
        with ``soft_fail`` and ``never_fail``.
    :raises AirflowSensorTimeout: ``timeout`` is over; with ``soft_fail`` the task is skipped instead.
    :raises AirflowTaskTimeout: ``execution_timeout`` is over. In ``mode="reschedule"`` it limits each poke separately.
    :raises ClaudeCodeError: something that a retry may fix. With ``never_fail`` the task is skipped instead; with
        ``silent_fail`` it continues to wait.
    """

    template_fields: Sequence[str] = ("day", "claude_code_conn_id")
    ui_color = "#f0e4dc"

    def __init__(
        self,
        *,
        day: str = DEFAULT_DAY,
        freshness_delay: timedelta = FRESHNESS_DELAY,
        require_records: bool = False,
        stream: str = "usage",
        claude_code_conn_id: str = ClaudeCodeHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(freshness_delay, timedelta) or freshness_delay < FRESHNESS_DELAY:
            raise ClaudeCodeConfigurationError(
                f"freshness_delay is {freshness_delay!r}; a timedelta of at least {FRESHNESS_DELAY} was expected: "
                "the API includes usage once it is that old."
            )
        self.day = day
        self.freshness_delay = freshness_delay
        self.require_records = true_or_false("require_records", require_records)
        self.stream = find_stream(stream).name
        if require_records and find_stream(stream).is_snapshot:
            raise ClaudeCodeConfigurationError(
                f"require_records cannot be used with the stream {stream}, which describes the current "
                "state and has no records of a day."
            )
        self.claude_code_conn_id = claude_code_conn_id
        start_from_trigger = true_or_false("start_from_trigger", start_from_trigger)
        # If a worker still gets the task, it must not hold its slot.
        self.deferrable = true_or_false("deferrable", deferrable) or start_from_trigger
        if start_from_trigger and not AIRFLOW_V_3_3_PLUS:
            # The scheduler of 3.0 would start the trigger without rendering the template; 3.1 and 3.2 would start none.
            warnings.warn(
                "start_from_trigger needs Airflow 3.3; the sensor defers from the worker.", UserWarning, stacklevel=2
            )
            start_from_trigger = False
        # Set on the instance, since mapped tasks would use the arguments of the class.
        self.start_from_trigger = start_from_trigger and all(map(_triggerer_renders, (day, claude_code_conn_id)))
        if self.start_from_trigger:
            trigger_cls, trigger_kwargs = self._trigger(day).serialize()
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=trigger_cls,
                trigger_kwargs=trigger_kwargs,
                next_method="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )

    def poke(self, context: Context) -> bool:
        """Return whether the day is complete and, with ``require_records``, has a record."""
        with fail_without_retry():
            day = parse_day(self.day)
            # Each poke reads the Connection, whose key may be replaced while the sensor waits.
            hook = ClaudeCodeHook(self.claude_code_conn_id)
            # Fail now if the Connection is missing or unusable, and not in the load after a long wait.
            _ = hook.settings
            moment = self._complete_from(day)
            if datetime.now(UTC) < moment:
                self.log.info("%s will be complete at %s", day, f"{moment:%Y-%m-%d %H:%M} UTC")
                return False
            if (as_of := hook.as_of(day, self.stream)) < moment:
                self.log.info(NOT_COMPLETE, day, as_of, moment)
                return False
            if self.require_records and not hook.has_records(day, self.stream):
                self.log.info("The API has no record of %s yet", day)
                return False
            self._log_complete()
            return True

    def execute(self, context: Context) -> None:
        """Poke, and wait in the triggerer when deferrable."""
        began = time.monotonic()
        with self._same_in_every_mode():
            if not self.deferrable:
                super().execute(context)
            elif not self._first_look(context):
                timeout = timedelta(seconds=self.timeout)
                if self.execution_timeout is not None:
                    left = self.execution_timeout - timedelta(seconds=time.monotonic() - began)
                    timeout = min(timeout, max(left, timedelta()))
                self.defer(
                    trigger=self._trigger(str(parse_day(self.day))), method_name="execute_complete", timeout=timeout
                )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral.

        :raises AirflowTaskTimeout: ``execution_timeout`` ended it, which a retry may fix.
        :raises AirflowSensorTimeout: ``timeout`` ended it, unless ``soft_fail`` makes that a skip.
        """
        with self._same_in_every_mode():
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except (AirflowSensorTimeout, AirflowSkipException) as error:
                limit = self.execution_timeout
                timed_out = AirflowSensorTimeout in (type(error), type(error.__cause__))
                if not timed_out or limit is None or limit.total_seconds() >= self.timeout:
                    if self.soft_fail and isinstance(error, AirflowSensorTimeout):
                        # Airflow 3.0 forgets it here.
                        raise AirflowSkipException("Skipping due to soft_fail is set to True.") from error
                    raise
                raise AirflowTaskTimeout(f"The execution_timeout of {limit} is over.") from None

    @contextmanager
    def _same_in_every_mode(self) -> Iterator[None]:
        """
        Handle errors in the same way in a worker and in the triggerer.

        ``soft_fail`` and ``never_fail`` are for days that are not complete yet. They must not hide an error that needs
        somebody to act.
        """
        try:
            yield
        except AirflowSkipException as skip:
            if not isinstance(skip.__cause__, AirflowFailException | TaskDeferralError):
                raise
            failure = skip.__cause__
        except ClaudeCodeError as error:
            if not self.never_fail:
                raise
            raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
        else:
            return
        raise failure

    def _first_look(self, context: Context) -> bool:
        try:
            return self.poke(context)
        except ClaudeCodeError as error:
            if not self.silent_fail:
                raise
            self.log.error("%s", error)
            return False

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """
        Take the trigger's event.

        :raises AirflowFailException: the trigger met a permanent error; the task does not retry.
        :raises ClaudeCodeError: the trigger met an error that a retry may fix.
        """
        if event is None or event["status"] != "success":
            message = event["message"] if event else "The freshness trigger ended without an event."
            raise (ClaudeCodeError(message) if event is None or event["retryable"] else AirflowFailException(message))
        self._log_complete()

    def _complete_from(self, day: date) -> datetime:
        return find_stream(self.stream).complete_from(day, self.freshness_delay)

    def _log_complete(self) -> None:
        day = parse_day(self.day)
        moment = self._complete_from(day)
        self.log.info(
            "%s has been complete since %s%s",
            day,
            f"{moment:%Y-%m-%d %H:%M} UTC",
            ", and the API has records of it" if self.require_records else "",
        )

    def _trigger(self, day: str) -> ClaudeCodeFreshnessTrigger:
        return ClaudeCodeFreshnessTrigger(
            day=day,
            claude_code_conn_id=self.claude_code_conn_id,
            freshness_delay=self.freshness_delay,
            require_records=self.require_records,
            stream=self.stream,
            poke_interval=self.poke_interval,
            silent_fail=self.silent_fail,
        )


def _triggerer_renders(value: object) -> bool:
    """
    Return whether Airflow's triggerer renders an argument as a worker does.

    The triggerer does not render results of other tasks and arguments of mapped task groups. It waits forever for
    XComs, Variables and Connections, and does not have the macros and filters of the Dag.
    """
    if value == DEFAULT_DAY:
        return True
    if not isinstance(value, str):
        return False
    environment = jinja2.Environment(autoescape=True)
    environment.filters.update(dict.fromkeys(_DATES, str))
    try:
        template = environment.parse(value)
        names = meta.find_undeclared_variables(template)
    except jinja2.TemplateSyntaxError:  # Also unknown filters.
        return False
    return names <= _NAMES_OF_THE_RUN and not any(meta.find_referenced_templates(template))
