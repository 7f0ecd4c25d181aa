"""What hangs is left behind, with what it said so far."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from hfaria.workflows.bounded import run_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_everybody_is_heard_and_nobody_waited_for() -> None:
    release = threading.Event()

    def hang() -> Iterator[str]:
        yield "before"
        release.wait(30)
        yield "after"

    def stumble() -> Iterator[str]:
        yield "one"
        raise ValueError("two")

    started = time.monotonic()
    hung, failed, done = run_bounded([hang(), stumble(), iter(["a", "b"])], seconds=0.05)
    assert time.monotonic() - started < 10
    release.set()
    assert (hung.items, hung.has_ended) == (["before"], False)
    assert failed.items == ["one"]
    assert str(failed.error) == "two"
    assert (done.items, done.error, done.has_ended) == (["a", "b"], None, True)


def test_nothing_to_run_takes_no_time() -> None:
    assert run_bounded([], seconds=30) == ()
