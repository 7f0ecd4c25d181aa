"""Several sources for one blob, and what the engine says of them, with a real engine."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hfaria.engine.daemon import ManagedDaemon
from hfaria.engine.mover import Mover, MoveRequest
from hfaria.engine.tunables import load_tunables
from hfaria.errors import EngineLost
from hfaria.rules.deliveries import BEFORE
from hfaria.rules.plan import Transfer
from hfaria.rules.transfers import Arrived, Cancelled, Event, Failed, Progressed
from integration.engines import BLOB_NAME, installed_engines, random_bytes, wait_until
from integration.range_server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.aria2

MIB = 1 << 20
SIZE = 24 * MIB
CONTENT = random_bytes(SIZE)
TRANSFER = Transfer(BLOB_NAME, SIZE, "model.safetensors", is_lfs=True)
ENGINE = installed_engines()[0]


@contextmanager
def moving(
    tmp_path: Path, *, connections: int = 2, answer_seconds: float = 10.0, **options: object
) -> Iterator[tuple[Mover, ManagedDaemon]]:
    """Yield a mover into ``tmp_path`` and its daemon."""
    partials = tmp_path / "partial"
    partials.mkdir(exist_ok=True)
    daemon = ManagedDaemon(
        ENGINE,
        tunables=load_tunables().options,
        environ=os.environ,
        runtime_parent=tmp_path,
        answer_seconds=answer_seconds,
    )

    def start() -> ManagedDaemon:
        daemon.start()
        return daemon

    mover = Mover(partials, start, connections, "test", **options)  # type: ignore[arg-type]
    try:
        yield mover, daemon
    finally:
        daemon.kill()
        daemon.stop()


def server(number: int, *, bytes_per_second: int = 0) -> RangeServer:
    """Make a server at a host of its own."""
    return RangeServer(
        {"file": CONTENT}, bytes_per_second=bytes_per_second, host=f"127.0.0.{number}"
    )


def follow(mover: Mover, is_enough: Callable[[Event], bool]) -> Event:
    """Poll until an event is what the test waits for."""
    found: list[Event] = []

    def look() -> bool:
        found.extend(event for event in mover.poll() if is_enough(event))
        return bool(found)

    wait_until(look)
    return found[0]


def has_arrived(event: Event) -> bool:
    return isinstance(event, Arrived)


def at_least(held: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Progressed) and event.held_bytes >= held


def test_a_source_that_is_added_sends_beside_the_first_one(tmp_path: Path) -> None:
    with moving(tmp_path) as (mover, _), server(2, bytes_per_second=2 * MIB) as first:
        mover.move([MoveRequest(TRANSFER, first.url("file"), sources=2)])
        progressed = follow(mover, at_least(MIB))
        assert isinstance(progressed, Progressed)
        assert progressed.connections == 2
        with server(3, bytes_per_second=2 * MIB) as second:
            mover.add_source(TRANSFER, second.url("file"))
            both = frozenset({f"127.0.0.2:{first.port}", f"127.0.0.3:{second.port}"})
            seen = follow(
                mover, lambda event: isinstance(event, Progressed) and event.hosts == both
            )
            assert isinstance(seen, Progressed)
            assert seen.connections == 4
            # Limited still: what sockets' buffers hold of a range that is cut short counts as sent.
            first.bytes_per_second = second.bytes_per_second = 6 * MIB
            follow(mover, has_arrived)
            assert second.bytes_sent > MIB
        assert first.bytes_sent + second.bytes_sent <= 1.1 * SIZE
    assert (tmp_path / "partial" / BLOB_NAME).read_bytes() == CONTENT


def test_a_source_of_a_transfer_that_has_ended_is_ignored(tmp_path: Path) -> None:
    with moving(tmp_path) as (mover, _), server(2) as first:
        mover.add_source(TRANSFER, first.url("file"))
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        follow(mover, has_arrived)
        mover.add_source(TRANSFER, first.url("file"))
        assert mover.poll() == []


def test_connections_to_a_source_can_be_capped(tmp_path: Path) -> None:
    with (
        moving(tmp_path, connections=8) as (mover, _),
        server(2, bytes_per_second=MIB) as first,
    ):
        mover.move([MoveRequest(TRANSFER, first.url("file"), sources=3, connections=1)])
        progressed = follow(mover, at_least(MIB))
        assert isinstance(progressed, Progressed)
        assert progressed.connections == 1
        assert len(first.requests) == 1


def test_the_order_of_arrival_outlives_the_attempt(tmp_path: Path) -> None:
    with moving(tmp_path) as (mover, _), server(2, bytes_per_second=4 * MIB) as first:
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        follow(mover, at_least(SIZE // 3))
        assert mover.cancel([TRANSFER]) == [Cancelled(BLOB_NAME)]
        before = mover.deliveries(TRANSFER)
        first.bytes_per_second = 0
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        follow(mover, has_arrived)
        runs = mover.deliveries(TRANSFER)
        assert [run.start for run in runs[: len(before)]] == [run.start for run in before]
        assert before[0].start == 0
        assert before[1].start == SIZE // 2
        assert sum(run.end - run.start for run in runs) == SIZE
        mover.forget_deliveries(TRANSFER)
        assert mover.deliveries(TRANSFER) == ()


def test_what_an_earlier_process_brought_counts_as_the_oldest(tmp_path: Path) -> None:
    with server(2, bytes_per_second=4 * MIB) as first:
        with moving(tmp_path) as (mover, _):
            mover.move([MoveRequest(TRANSFER, first.url("file"))])
            follow(mover, at_least(SIZE // 3))
        with moving(tmp_path) as (mover, _):
            mover.move([MoveRequest(TRANSFER, first.url("file"))])
            old = [run for run in mover.deliveries(TRANSFER) if run.first_seen == BEFORE]
            assert sum(run.end - run.start for run in old) >= SIZE // 3


def test_a_transfer_that_moves_away_loses_no_byte(tmp_path: Path) -> None:
    with (
        moving(tmp_path, connections=8) as (mover, _),
        server(2, bytes_per_second=MIB) as first,
        server(3, bytes_per_second=MIB) as second,
    ):
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        follow(mover, at_least(SIZE // 2))
        assert mover.cancel([TRANSFER]) == [Cancelled(BLOB_NAME)]
        second.bytes_per_second = 2 * MIB
        mover.move([MoveRequest(TRANSFER, second.url("file"))])
        follow(mover, has_arrived)
        # Sockets held some of what the first one sent; the half that was here would be 1.5.
        assert first.bytes_sent + second.bytes_sent <= 1.15 * SIZE
    assert (tmp_path / "partial" / BLOB_NAME).read_bytes() == CONTENT


def test_everybody_hanging_up_shows_as_no_connection(tmp_path: Path) -> None:
    with moving(tmp_path) as (mover, _):
        with server(2, bytes_per_second=MIB) as first:
            mover.move([MoveRequest(TRANSFER, first.url("file"))])
            follow(mover, at_least(MIB))
            first.hang_up()
        # Refused connections end the attempt; while the engine waits to try again, there is none.
        follow(
            mover,
            lambda event: (
                isinstance(event, Failed)
                or (isinstance(event, Progressed) and event.connections == 0)
            ),
        )


def test_an_engine_that_is_stopped_counts_as_lost(tmp_path: Path) -> None:
    with (
        moving(tmp_path, answer_seconds=0.3) as (mover, daemon),
        server(2, bytes_per_second=MIB) as first,
    ):
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        follow(mover, at_least(1))
        assert daemon.pid is not None
        os.kill(daemon.pid, signal.SIGSTOP)
        with pytest.raises(EngineLost, match="did not answer"):
            mover.poll()
        # And another one goes on from there.
        daemon.kill()
        daemon.stop()
        mover.forget_all()
        first.bytes_per_second = 0
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        follow(mover, has_arrived)
    assert (tmp_path / "partial" / BLOB_NAME).read_bytes() == CONTENT


def test_an_engine_that_slept_with_the_machine_is_asked_again(tmp_path: Path) -> None:
    slept = 0.0

    def wall_clock() -> float:
        return time.time() + slept

    with (
        moving(tmp_path, answer_seconds=0.3, wall_clock=wall_clock) as (mover, daemon),
        server(2, bytes_per_second=MIB) as first,
    ):
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        follow(mover, at_least(1))
        assert daemon.pid is not None
        os.kill(daemon.pid, signal.SIGSTOP)
        slept = 3600.0
        awake = threading.Timer(0.45, os.kill, (daemon.pid, signal.SIGCONT))
        awake.start()
        assert mover.poll()
        awake.join()
