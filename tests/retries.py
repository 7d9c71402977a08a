"""Fewer retries than in production, and no waiting for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import tenacity

from airflow_provider_claude_code.api import client


@contextmanager
def few_attempts(attempts: int = 2) -> Iterator[None]:
    """
    Let each request be repeated at once, and not more often than so many attempts.

    What a server asks for beyond the budget is still refused.
    """
    real = client.retry_arguments

    def arguments(subject: str, budget: float, describe: Callable[[BaseException], str]) -> dict[str, Any]:
        given = real(subject, budget, describe)

        def wait(state: tenacity.RetryCallState) -> float:
            seconds: float = given["wait"](state)
            return seconds if seconds >= budget else 0.0

        return given | {"wait": wait, "stop": given["stop"] | tenacity.stop_after_attempt(attempts)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "retry_arguments", arguments)
        yield
