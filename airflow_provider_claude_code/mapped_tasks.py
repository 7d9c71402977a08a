"""Mapped tasks, whose operators Airflow creates as the task runs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from airflow.sdk.bases.operator import BaseOperatorMeta

from airflow_provider_claude_code.hooks.claude_code import fail_without_retry


class RefusingArguments(BaseOperatorMeta):
    """
    The class of operators that refuse arguments in ``__init__``.

    A mapped task then fails without retries, as one whose templates render to such arguments does.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Create an operator."""
        with fail_without_retry() if "_airflow_from_mapped" in kwargs else nullcontext():
            return super().__call__(*args, **kwargs)
