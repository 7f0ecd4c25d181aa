"""Routes that could not be asked when the pull began: watched or held, not tried by every file."""

from __future__ import annotations

from dataclasses import replace

from hfaria.rules import transfers as t
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.scheduler import Scheduler, Window
from unit.scheduler_world import route, transfer

REFUSED = Failure(Reason.UNREACHABLE, "Connection refused")
LIMITED = Failure(Reason.RATE_LIMITED, "", 429, retry_after_seconds=60.0)
ORIGIN = route("origin", is_fallback=True)
DOWN = replace(route("mirror"), down=REFUSED)
HELD = replace(route("mirror"), down=LIMITED)


def scheduler(*names: str, routes: tuple[t.Route, ...]) -> Scheduler:
    policy = RetryPolicy(patience_seconds=300.0)
    return Scheduler([transfer(n) for n in names], routes, policy, Window(jobs=2), now=0.0)


def asked(commands: list[t.Command]) -> list[t.Route]:
    return [each.route for each in commands if isinstance(each, t.Locate)]


def test_one_that_is_down_is_watched_and_left_to_itself() -> None:
    run = scheduler("a", "b", routes=(DOWN, ORIGIN))
    commands = run.handle([t.Ticked()], 0.0)
    assert [each.route for each in commands if isinstance(each, t.Watch)] == [DOWN]
    assert asked(commands) == [ORIGIN, ORIGIN]
    assert not any(isinstance(each, t.Say) for each in commands)  # the catalogue said it
    assert not any(isinstance(each, t.Watch) for each in run.handle([t.Ticked()], 0.1))


def test_it_is_tried_by_one_transfer_once_it_can_be_connected_to() -> None:
    run = scheduler("a", "b", "c", "d", "e", routes=(DOWN, ORIGIN))
    run.handle([t.Ticked()], 0.0)
    location = t.Location("https://bytes.example/a")
    run.handle([t.Located("a", ORIGIN, location), t.Located("b", ORIGIN, location)], 0.2)
    commands = run.handle([t.Reachable(DOWN), t.Arrived("a"), t.Published("a")], 0.3)
    assert asked(commands) == [DOWN]


def test_one_that_named_a_time_is_asked_from_then_on() -> None:
    run = scheduler("a", routes=(HELD, ORIGIN))
    commands = run.handle([t.Ticked()], 0.0)
    assert asked(commands) == [ORIGIN]
    assert not any(isinstance(each, t.Watch) for each in commands)
    later = scheduler("a", "b", routes=(HELD,))
    assert asked(later.handle([t.Ticked()], 0.0)) == []
    assert asked(later.handle([t.Ticked()], 59.0)) == []
    assert HELD in asked(later.handle([t.Ticked()], 60.5))
