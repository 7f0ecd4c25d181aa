"""Ask an endpoint again while that may help, under the one retry policy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from hfaria.hub.failed_requests import RequestFailed
from hfaria.rules.failures import Reason
from hfaria.rules.retry import Attempts
from hfaria.rules.sizes import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfaria.report.reporter import Reporter
    from hfaria.rules.retry import RetryPolicy

_T = TypeVar("_T")
_WORTH_SAYING_SECONDS = 3.0


def patiently(
    call: Callable[[], _T],
    *,
    policy: RetryPolicy,
    reporter: Reporter,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return what ``call`` returns, calling again after failures that may pass.

    Used for single requests, such as a page of the listing; transfers have the scheduler.
    """
    attempts = Attempts(policy, started_at=time.monotonic())
    while True:
        try:
            return call()
        except RequestFailed as exc:
            if exc.failure.reason.is_final_here or exc.failure.reason is Reason.MISMATCH:
                raise
            wait = attempts.wait_after_failure(time.monotonic(), exc.failure.retry_after_seconds)
            if wait is None:
                raise
            if wait >= _WORTH_SAYING_SECONDS:
                reporter.note(f"waiting {format_seconds(wait)}: {exc.message}")
            sleep(wait)
