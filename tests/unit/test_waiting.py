"""Whether another pull could use the line: nothing moves, and nothing will for a while."""

from __future__ import annotations

import pytest

from hfaria.rules.failures import Failure, Reason
from hfaria.rules.flight import Flight, Phase
from hfaria.rules.pending import Pending
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.route_health import RouteBook
from hfaria.rules.waiting import leaves_line_idle
from hfaria.rules.window import Window
from unit.scheduler_world import route, transfer

POLICY = RetryPolicy()
NOW = 100.0


def flight(phase: Phase, *, ready_in: float = 0.0, moved_ago: float = 0.0) -> Flight:
    made = Flight(transfer("blob"), is_large=True, ready_at=NOW + ready_in, stall_seconds=60.0)
    made.phase = phase
    made.moved_at = NOW - moved_ago
    if phase is Phase.WAITING:
        made.waits_for = (0, Failure(Reason.SERVER_ERROR, status=503))
    return made


def is_idle(*flights: Flight, pending: int = 0) -> bool:
    queue = Pending(Window(), POLICY)
    queue.add(transfer(f"pending-{number}") for number in range(pending))
    return leaves_line_idle(list(flights), queue, RouteBook((route(),), POLICY), NOW)


@pytest.mark.parametrize(
    "phase", [Phase.LOCATING, Phase.LOCATED, Phase.MOVING, Phase.CANCELLING], ids=lambda p: p.name
)
def test_what_moves_or_is_about_to_needs_the_line(phase: Phase) -> None:
    assert not is_idle(flight(phase))
    assert not is_idle(flight(Phase.CHECKING), flight(phase))


def test_hashing_leaves_the_line_idle() -> None:
    assert is_idle()
    assert is_idle(flight(Phase.CHECKING), flight(Phase.CHECKING))
    assert not is_idle(flight(Phase.CHECKING), pending=1)


def test_a_long_wait_leaves_the_line_idle_and_a_hiccup_does_not() -> None:
    assert is_idle(flight(Phase.WAITING, ready_in=30.0))
    assert is_idle(flight(Phase.WAITING, ready_in=30.0), pending=5)
    assert not is_idle(flight(Phase.WAITING, ready_in=2.0))
    assert not is_idle(flight(Phase.WAITING, ready_in=30.0), flight(Phase.WAITING, ready_in=1.0))


def test_a_silent_source_leaves_the_line_idle() -> None:
    assert is_idle(flight(Phase.MOVING, moved_ago=20.0))
    assert not is_idle(flight(Phase.MOVING, moved_ago=1.0))
