"""The scheduler's promises, over thousands of random histories in a small simulated world.

Derandomized: each run tries the same histories, and a broken promise prints its seed.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from hfaria.rules.failures import Failure, Reason
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.scheduler import Window
from unit.scheduler_world import (
    FINAL,
    HOPELESS,
    LARGE,
    SLOWEST_ANSWER,
    SMALL,
    TRANSIENT,
    Weather,
    World,
    route,
    transfer,
)

if TYPE_CHECKING:
    from hfaria.rules.plan import Transfer
    from hfaria.rules.transfers import Route

often = settings(derandomize=True, max_examples=120, deadline=None, database=None)
very_often = settings(often, max_examples=800)
seeds = st.integers(0, 2**32 - 1)
chances = st.sampled_from([0.0, 0.0, 0.1, 0.4])
POLICY = RetryPolicy(patience_seconds=300.0, stall_seconds=20.0, tries=4)


def several(numbers: tuple[int, int]) -> tuple[Transfer, ...]:
    large, small = numbers
    return (
        *(transfer(f"large-{n}", LARGE) for n in range(large)),
        *(transfer(f"small-{n}", SMALL) for n in range(small)),
    )


amounts = st.tuples(st.integers(0, 12), st.integers(0, 60))
windows = st.sampled_from([Window(jobs=1), Window(jobs=2), Window(jobs=4)])
route_lists = st.sampled_from(
    [
        (route("origin"),),
        (route("mirror"), route("origin")),
        (route("mirror"), route("other"), route("origin", is_private=True)),
    ]
)
weathers = st.builds(
    Weather,
    locate_fails=chances,
    fails_at_once=chances,
    fails_midway=chances,
    stalls=chances,
    engine_dies=st.sampled_from([0.0, 0.0, 0.05]),
    bytes_get_lost=chances,
    mismatches=chances,
    salvage_was_wrong=st.sampled_from([0.0, 0.2]),
    failures=st.sampled_from([TRANSIENT, TRANSIENT + FINAL]),
    disk_fills_up_after=st.sampled_from([None, None, None, 5]),
    finds_more_to_fetch=st.booleans(),
)


@very_often
@given(amounts, route_lists, windows, weathers, seeds)
def test_every_history_ends_with_each_transfer_published_or_given_up(
    amount: tuple[int, int],
    routes: tuple[Route, ...],
    window: Window,
    weather: Weather,
    seed: int,
) -> None:
    world = World(several(amount), routes, POLICY, window, weather, random.Random(seed))
    world.run()
    if world.stop is None:
        assert len(world.published) + len(world.given_up) >= sum(amount)


@often
@given(amounts, windows, weathers, seeds)
def test_passing_faults_end_in_everything_published(
    amount: tuple[int, int], window: Window, weather: Weather, seed: int
) -> None:
    # Fewer faults for each than the tries it has, and none that is final.
    weather = replace(
        weather,
        faults_each=2,
        engine_dies=0.0,
        failures=TRANSIENT,
        disk_fills_up_after=None,
    )
    world = World(several(amount), (route(),), POLICY, window, weather, random.Random(seed)).run()
    assert world.given_up == {}
    assert world.stop is None
    assert len(set(world.published)) == len(world.published) >= sum(amount)


@often
@given(amounts, route_lists, windows, st.booleans(), seeds)
def test_without_a_byte_it_ends_within_patience_and_one_last_round(
    amount: tuple[int, int],
    routes: tuple[Route, ...],
    window: Window,
    can_be_final: bool,
    seed: int,
) -> None:
    weather = replace(HOPELESS, failures=TRANSIENT + FINAL if can_be_final else TRANSIENT)
    world = World(several(amount), routes, POLICY, window, weather, random.Random(seed)).run()
    assert world.published == []
    assert len(world.given_up) == sum(amount)
    one_attempt = SLOWEST_ANSWER + POLICY.stall_seconds + POLICY.longest_wait_seconds
    last_round = one_attempt * (len(routes) + 1)
    assert world.now - world.started_at <= POLICY.patience_seconds + last_round


@often
@given(amounts, windows, st.sampled_from([0.0, 1.0]), seeds)
def test_an_engine_that_dies_each_time_stops_the_pull(
    amount: tuple[int, int], window: Window, lost: float, seed: int
) -> None:
    weather = Weather(engine_dies=1.0, bytes_get_lost=lost)
    transfers = several((max(1, amount[0]), amount[1]))
    world = World(transfers, (route(),), POLICY, window, weather, random.Random(seed)).run()
    assert world.stop is not None
    assert world.stop.failure is None
    # Only bytes never held before earn an engine new lives, and a transfer has only so many.
    new_bytes = 5 if lost else 3 * 23
    assert world.deaths <= 4 * (1 + new_bytes * len(transfers))


@often
@given(amounts, windows, seeds)
def test_a_full_disk_stops_everything(amount: tuple[int, int], window: Window, seed: int) -> None:
    weather = Weather(disk_fills_up_after=0)
    transfers = several((amount[0] + 1, amount[1]))
    world = World(transfers, (route(),), POLICY, window, weather, random.Random(seed)).run()
    assert world.stop is not None
    assert world.stop.failure == Failure(Reason.DISK, "no space")
    assert world.given_up == {}
    assert world.published == []


@often
@given(amounts, route_lists, windows, seeds)
def test_bytes_that_are_always_wrong_are_fetched_from_each_route_and_then_no_more(
    amount: tuple[int, int], routes: tuple[Route, ...], window: Window, seed: int
) -> None:
    weather = Weather(mismatches=1.0)
    world = World(several(amount), routes, POLICY, window, weather, random.Random(seed)).run()
    assert {failure.reason for failure in world.given_up.values()} <= {Reason.MISMATCH}
    assert len(world.given_up) == sum(amount)
    assert all((name, each) in world.asked for name in world.given_up for each in routes)
    checks = sum("Check(" in line for line in world.history)
    assert checks == sum(amount) * (POLICY.refetches * len(routes) + 1)


@often
@given(amounts, windows, seeds)
def test_nothing_but_the_first_route_is_asked_while_all_is_well(
    amount: tuple[int, int], window: Window, seed: int
) -> None:
    routes = (route("mirror"), route("origin"))
    world = World(several(amount), routes, POLICY, window, Weather(), random.Random(seed)).run()
    assert {each for _, each in world.asked} <= {routes[0]}
    assert world.scheduler.retries == 0
    assert len(world.published) == sum(amount)


# --- several endpoints ---------------------------------------------------------------------------

NAMED = (route("first"), route("second"))
THREE = (*NAMED, route("origin", is_fallback=True))
HONEST_AND_UP = "origin.example"
outages = st.lists(
    st.tuples(
        st.sampled_from(["first.example", "second.example"]),
        st.floats(0, 60),
        st.floats(1, 400),
    ).map(lambda each: (each[0], each[1], each[1] + each[2])),
    max_size=4,
).map(tuple)
some_liars = st.sampled_from(
    [frozenset(), frozenset({"first.example"}), frozenset({"first.example", "second.example"})]
)


@settings(often, max_examples=250)
@given(amounts, windows, weathers, outages, some_liars, seeds)
def test_one_honest_endpoint_that_stays_is_enough(  # noqa: PLR0917 - what hypothesis draws
    amount: tuple[int, int],
    window: Window,
    weather: Weather,
    out: tuple[tuple[str, float, float], ...],
    liars: frozenset[str],
    seed: int,
) -> None:
    weather = replace(
        weather,
        faults_each=2,
        engine_dies=0.0,
        failures=TRANSIENT,
        disk_fills_up_after=None,
        mismatches=0.0,  # of the honest one
        outages=out,
        liars=liars,
    )
    world = World(several(amount), THREE, POLICY, window, weather, random.Random(seed)).run()
    assert world.given_up == {}
    assert world.stop is None
    assert len(set(world.published)) == len(world.published) >= sum(amount)


@often
@given(amounts, windows, st.floats(1, 250), seeds)
def test_a_total_outage_shorter_than_patience_is_waited_out(
    amount: tuple[int, int], window: Window, length: float, seed: int
) -> None:
    out = tuple((route_.endpoint.host, 0.0, length) for route_ in THREE)
    weather = Weather(outages=out)
    world = World(several(amount), THREE, POLICY, window, weather, random.Random(seed)).run()
    assert world.given_up == {}
    assert len(world.published) == sum(amount)


@often
@given(amounts, windows, seeds)
def test_a_total_outage_longer_than_patience_ends_with_it(
    amount: tuple[int, int], window: Window, seed: int
) -> None:
    out = tuple((route_.endpoint.host, 0.0, 1e9) for route_ in THREE)
    world = World(
        several(amount), THREE, POLICY, window, Weather(outages=out), random.Random(seed)
    ).run()
    assert len(world.given_up) == sum(amount)
    assert world.now - world.started_at <= POLICY.patience_seconds + POLICY.longest_wait_seconds


@often
@given(st.integers(0, 150), windows, st.sampled_from([(25, 10.0), (60, 5.0)]), seeds)
def test_what_headers_allow_is_spent_and_hardly_a_request_more(
    small: int, window: Window, allowance: tuple[int, float], seed: int
) -> None:
    weather = Weather(allowance=allowance)
    world = World(
        several((0, small)), (route(),), POLICY, window, weather, random.Random(seed)
    ).run()
    assert world.given_up == {}
    assert world.limited <= 0.02 * world.requests
    windows_needed = small // allowance[0] + 1
    slowest = 25.0  # one file of the world
    assert world.now - world.started_at <= (windows_needed + 1) * (allowance[1] + 1) + slowest


@often
@given(windows, seeds)
def test_bytes_that_all_endpoints_send_wrong_end_with_every_one_asked(
    window: Window, seed: int
) -> None:
    liars = frozenset(each.endpoint.host for each in THREE)
    weather = Weather(liars=liars)
    world = World(several((3, 3)), THREE, POLICY, window, weather, random.Random(seed)).run()
    assert world.published == []
    assert {failure.reason for failure in world.given_up.values()} == {Reason.MISMATCH}
    assert all((name, each) in world.asked for name in world.given_up for each in THREE)
