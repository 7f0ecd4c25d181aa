"""What is no stall: a rate limit that leaves little, a daemon that lets transfers queue."""

from __future__ import annotations

import random

import pytest

from hfaria.rules import transfers as t
from hfaria.rules.failures import Reason
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.scheduler import Scheduler, Window
from unit.scheduler_world import Weather, World, route, transfer

ORIGIN = route("origin")
POLICY = RetryPolicy(patience_seconds=300.0)


def moving(name: str = "a") -> Scheduler:
    run = Scheduler((transfer(name),), (ORIGIN,), POLICY, Window(jobs=2), now=0.0)
    run.handle([t.Ticked()], 0.0)
    (move,) = run.handle(
        [t.Located(name, ORIGIN, t.Location(f"https://bytes.example/{name}"))], 0.0
    )
    assert isinstance(move, t.Move)
    return run


def is_taken_back(run: Scheduler, now: float) -> bool:
    return any(isinstance(command, t.Cancel) for command in run.handle([t.Ticked()], now))


@pytest.mark.parametrize(("rate", "jobs"), [(256_000, 4), (256_000, 8), (64_000, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_a_low_limit_over_two_endpoints_is_no_stall_and_no_slow_route(
    rate: int, jobs: int, seed: int
) -> None:
    files = tuple(transfer(f"{number}") for number in range(8))
    routes = (route("mirror"), route("other"))
    world = World(
        files,
        routes,
        RetryPolicy(),
        Window(jobs=jobs),
        Weather(share=rate / jobs),
        random.Random(seed),
    ).run(most_steps=100_000)
    assert sorted(world.published) == sorted(each.blob_name for each in files)
    assert world.scheduler.retries == 0
    assert not any("others go on" in line or "Cancel(" in line for line in world.history)
    assert {asked.endpoint.host for _, asked in world.asked} == {"mirror.example"}


def test_a_limit_makes_a_stall_later_not_never() -> None:
    run = moving()
    run.handle([t.Progressed("a", 1, share=64_000.0)], 1.0)
    run.handle([t.Progressed("a", 2, share=64_000.0)], 2.0)
    assert not is_taken_back(run, 2.0 + 16.0)
    assert run.waiting(2.0 + 16.0) is None
    assert is_taken_back(run, 2.0 + 2.5 + 2**20 / 64_000)


def test_no_limit_and_a_high_one_change_little() -> None:
    for share in (None, 20e6):
        run = moving()
        run.handle([t.Progressed("a", 1, share=share)], 1.0)
        run.handle([t.Progressed("a", 2, share=share)], 2.0)
        assert is_taken_back(run, 2.0 + 2.6)


def test_what_is_queued_is_waited_for_and_said() -> None:
    run = moving()
    for now in range(1, 200):
        assert run.handle([t.Progressed("a", 0, 0, is_queued=True), t.Ticked()], float(now)) == []
    waiting = run.waiting(199.0)
    assert waiting is not None
    assert waiting.reason == "queued behind others in your aria2 daemon"
    assert waiting.seconds == 198.0
    # Out of the queue it has as long for its first byte as any other.
    run.handle([t.Progressed("a", 0, 1)], 200.0)
    assert not is_taken_back(run, 219.0)
    assert is_taken_back(run, 221.0)


def test_a_queue_that_never_moves_ends_with_patience() -> None:
    run = moving()
    run.handle([t.Progressed("a", 0, is_queued=True)], 1.0)
    commands = run.handle([t.Progressed("a", 0, is_queued=True), t.Ticked()], 301.0)
    assert commands == [t.Cancel(transfer("a"))]
    (given_up,) = run.handle([t.Cancelled("a")], 301.0)
    assert isinstance(given_up, t.GiveUp)
    assert given_up.failure.reason is Reason.TIMEOUT
    assert "the daemon lets it wait for others" in str(given_up.failure)
    assert run.is_done
