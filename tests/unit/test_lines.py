"""Threads for endpoints: in order on one line, side by side on several, and let go of in time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint
from hfaria.workflows.lines import NotWanted, Race, Switchboard

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE, OTHER = (ConfiguredEndpoint(Endpoint(f"https://{name}.example")) for name in ("one", "other"))


@pytest.fixture
def switchboard() -> Iterator[Switchboard]:
    """Lines that are closed in the end."""
    opened = Switchboard()
    yield opened
    opened.close()


def test_a_line_asks_one_after_the_other_in_one_thread(switchboard: Switchboard) -> None:
    line = switchboard.line(ONE)
    futures = [line.ask(threading.get_ident) for _ in range(3)]
    assert len({future.result(10) for future in futures}) == 1
    assert switchboard.line(ONE) is line
    other = switchboard.line(OTHER).ask(threading.get_ident).result(10)
    assert other != futures[0].result(10)


def test_what_is_raised_on_a_line_is_raised_where_the_answer_is_read(
    switchboard: Switchboard,
) -> None:
    def fail() -> None:
        raise KeyError("x")

    line = switchboard.line(ONE)
    with pytest.raises(KeyError):
        line.ask(fail).result(10)
    assert line.ask(lambda: 5).result(10) == 5  # the line goes on


def test_closing_ends_a_pause(switchboard: Switchboard) -> None:
    line = switchboard.line(ONE)
    future = line.ask(lambda: line.pause(3600.0))
    switchboard.close()
    with pytest.raises(NotWanted):
        future.result(10)


def test_a_race_without_a_limit_waits_for_all(switchboard: Switchboard) -> None:
    gate = threading.Event()
    slow = switchboard.line(ONE).ask(lambda: gate.wait(10))
    fast = switchboard.line(OTHER).ask(lambda: True)
    race = Race([slow, fast])
    seen = []
    for future in race:
        seen.append(future)
        gate.set()
    assert seen == [fast, slow]
    assert race.is_over.is_set()


def test_a_limit_that_is_set_on_the_way_counts() -> None:
    done: Future[int] = Future()
    done.set_result(1)
    never: Future[int] = Future()
    race = Race([done, never])
    seen = []
    for future in race:
        seen.append(future)
        race.until = time.monotonic()
    assert seen == [done]
    assert race.is_over.is_set()


def test_what_is_there_counts_even_after_the_limit() -> None:
    done: Future[int] = Future()
    done.set_result(1)
    assert list(Race([done], time.monotonic() - 1.0)) == [done]
