"""The findings of a check-up, and what they mean together for a pull."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfaria.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


LAST_STEP = "bytes"
"""Name of an endpoint's last check."""


class Verdict(enum.Enum):
    """How a check ended. Only `FAIL` keeps a pull from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding, in a line. ``subject`` is whose it is, such as an endpoint's host.

    ``remedy`` is the next step. ``exit_code`` is what a pull would end with if it failed for this.
    """

    name: str
    verdict: Verdict
    text: str
    subject: str = ""
    remedy: str | None = None
    exit_code: ExitCode = ExitCode.DONE


def ok(name: str, text: str, *, subject: str = "") -> Check:
    """Return a finding that is as it should be."""
    return Check(name, Verdict.OK, text, subject)


def warn(name: str, text: str, *, subject: str = "", remedy: str | None = None) -> Check:
    """Return a finding that a pull may live with."""
    return Check(name, Verdict.WARN, text, subject, remedy)


def fail(
    name: str,
    text: str,
    *,
    exit_code: ExitCode,
    subject: str = "",
    remedy: str | None = None,
) -> Check:
    """Return a finding that keeps a pull from working."""
    return Check(name, Verdict.FAIL, text, subject, remedy, exit_code)


def last_words(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return the checks with the last word on each: a later one of that name and subject counts."""
    latest: dict[tuple[str, str], Check] = {}
    for check in checks:
        latest[check.name, check.subject] = check
    return tuple(latest.values())


def with_spare_endpoints(chains: Sequence[Sequence[Check]]) -> tuple[Check, ...]:
    """Return the checks of all endpoints, one chain each; one that serves excuses the others.

    One serves if its chain came to the end, the bytes of a file, without a failure.
    """
    excused = any(
        any(check.name == LAST_STEP for check in chain) and not any(map(is_failure, chain))
        for chain in chains
    )
    checks = [check for chain in chains for check in chain]
    if not excused:
        return tuple(checks)
    return tuple(
        replace(check, verdict=Verdict.WARN, exit_code=ExitCode.DONE)
        if is_failure(check)
        else check
        for check in checks
    )


def is_failure(check: Check) -> bool:
    """Tell whether a check keeps a pull from working."""
    return check.verdict is Verdict.FAIL


def first_failure(checks: Iterable[Check]) -> Check | None:
    """Return what a pull would end with: the first failure, in the order of the checks."""
    return next((check for check in checks if is_failure(check)), None)
