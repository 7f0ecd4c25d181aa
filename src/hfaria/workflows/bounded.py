"""Run what may hang, all at once, and stop waiting for it in time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_T = TypeVar("_T")
_FAREWELL_SECONDS = 0.5


@dataclass(slots=True)
class Course(Generic[_T]):
    """What one of them said until it ended, failed, or was no longer waited for."""

    items: list[_T] = field(default_factory=list)
    error: Exception | None = None
    has_ended: bool = False


def run_bounded(sources: Sequence[Iterable[_T]], *, seconds: float) -> tuple[Course[_T], ...]:
    """Iterate over all ``sources``, each in a thread of its own, for ``seconds`` at most.

    A thread that is still busy then is left to itself: a name look-up, for one, can't be
    interrupted. It does not keep the process from ending, and what it says later is not heard.
    """
    courses = [Course[_T]() for _ in sources]
    threads = [
        threading.Thread(target=_follow, args=(iter(source), course), daemon=True)
        for source, course in zip(sources, courses, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        _join(threads, seconds)
    except KeyboardInterrupt:
        _join(threads, _FAREWELL_SECONDS)  # so that who is about to tidy up can
        raise
    return tuple(Course(list(one.items), one.error, one.has_ended) for one in courses)


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _follow(source: Iterator[_T], course: Course[_T]) -> None:
    try:
        for item in source:
            course.items.append(item)
    except Exception as exc:  # noqa: BLE001 - handed to whoever waits
        course.error = exc
    course.has_ended = True
