"""Which route a transfer takes: what speaks against one is weighed against waiting for another."""

from __future__ import annotations

import pytest

from hfaria.rules.choice import choose
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.flight import Flight
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.route_health import RouteBook
from unit.scheduler_world import route, transfer

NOW = 100.0
POLICY = RetryPolicy()
HALF_OF_THE_LONGEST = POLICY.longest_wait_seconds / 2
LOST = Failure(Reason.TRANSPORT)
FIRST, SECOND = 0, 1


def book(*, has_fallback: bool = False, policy: RetryPolicy = POLICY) -> RouteBook:
    return RouteBook((route("first"), route("second", is_fallback=has_fallback)), policy)


def flight(*, closed: dict[int, float] | None = None) -> Flight:
    """Return a flight that avoids some of the routes for so many seconds more."""
    made = Flight(transfer("a"), is_large=True, ready_at=NOW, stall_seconds=2.5)
    made.avoided = {at: NOW + seconds for at, seconds in (closed or {}).items()}
    made.last_failures = dict.fromkeys(made.avoided, LOST)
    return made


def chosen(made: Flight, by: RouteBook) -> int:
    choice = choose(made, by, NOW)
    assert choice is not None
    return choice.route


def go_down(health: RouteBook, at: int) -> None:
    health.failed(at, "b", Failure(Reason.UNREACHABLE), NOW - 10.0, has_moved=False)


def test_the_first_in_order_that_is_open_is_taken() -> None:
    assert chosen(flight(), book()) == FIRST
    assert chosen(flight(closed={FIRST: 0.5}), book()) == SECOND
    assert chosen(flight(closed={FIRST: 2.0, SECOND: 1.0}), book()) == SECOND


def test_what_keeps_it_closed_is_told() -> None:
    choice = choose(flight(closed={FIRST: 2.0, SECOND: 9.0}), book(), NOW)
    assert choice is not None
    assert (choice.opens_at, choice.why) == (NOW + 2.0, LOST)


@pytest.mark.parametrize(("wait", "taken"), [(2.0, FIRST), (4.0, SECOND)])
def test_a_fall_back_is_taken_for_more_than_a_little_wait(wait: float, taken: int) -> None:
    assert chosen(flight(closed={FIRST: wait}), book(has_fallback=True)) == taken


def test_a_fall_back_is_taken_sooner_where_patience_is_short() -> None:
    policy = RetryPolicy.for_patience(12.0)
    made = flight(closed={FIRST: policy.longest_wait_seconds})
    assert chosen(made, book(has_fallback=True, policy=policy)) == SECOND


@pytest.mark.parametrize("patience", [4.0, 12.0, 1800.0])
def test_a_fall_back_is_taken_before_one_that_lied(patience: float) -> None:
    made = flight()
    made.wrong_at = {FIRST: 1}
    policy = RetryPolicy.for_patience(patience)
    assert chosen(made, book(has_fallback=True, policy=policy)) == SECOND


def test_a_fall_back_is_taken_at_once_where_the_named_one_is_down() -> None:
    health = book(has_fallback=True)
    health.failed(FIRST, "b", Failure(Reason.UNREACHABLE), NOW, has_moved=False)
    assert chosen(flight(), health) == SECOND


def test_one_that_nobody_can_connect_to_is_not_tried_for_the_sake_of_a_little_wait() -> None:
    health = book()
    go_down(health, SECOND)
    assert chosen(flight(closed={FIRST: 2.0}), health) == FIRST
    assert chosen(flight(closed={FIRST: 4.0}), health) == SECOND


def test_those_that_stay_dark_are_left_for_one_that_had_something_else() -> None:
    health = book()
    made = flight()
    made.useless_at = {FIRST: 2}
    assert chosen(made, health) == SECOND
    for _ in range(12):
        go_down(health, SECOND)
        health.take(SECOND, "b")
    assert chosen(made, health) == FIRST


def test_one_that_can_be_connected_to_again_is_tried_before_others_are_waited_for() -> None:
    health = book()
    go_down(health, SECOND)
    health.reachable(SECOND, NOW)
    assert chosen(flight(closed={FIRST: 2.0}), health) == SECOND


@pytest.mark.parametrize("times", [1, 2])
def test_one_that_lied_is_asked_when_the_other_takes_longer_each_time(times: int) -> None:
    made = flight(closed={SECOND: times * HALF_OF_THE_LONGEST - 1.0})
    made.wrong_at = {FIRST: times}
    assert chosen(made, book()) == SECOND
    made.avoided[SECOND] += 2.0
    assert chosen(made, book()) == FIRST


@pytest.mark.parametrize("patience", [12.0, 1800.0])
def test_one_that_lied_once_is_asked_before_one_that_keeps_silent_for_good(patience: float) -> None:
    policy = RetryPolicy.for_patience(patience)
    made = flight()
    made.wrong_at = {SECOND: 1}
    made.is_mending = True
    made.served = {SECOND}
    made.last_failures = {FIRST: Failure(Reason.TIMEOUT)}
    silent, taken = 0.0, FIRST
    for times in range(1, 9):
        silent += policy.silence_seconds(times - 1)
        made.failures_at = {FIRST: times}
        taken = chosen(made, book(has_fallback=True, policy=policy))
        if taken == SECOND:
            break
    assert taken == SECOND
    assert silent < 0.8 * patience


def test_nobody_queues_behind_those_who_try_a_silent_one_in_vain() -> None:
    health = book(has_fallback=True)
    made = flight()
    made.wrong_at = {SECOND: 1}
    assert chosen(made, health) == FIRST
    health.failed(FIRST, "b", Failure(Reason.UNREACHABLE), NOW, has_moved=False)
    for _ in range(3):
        health.take(FIRST, "b")
        health.failed(FIRST, "b", Failure(Reason.TIMEOUT), NOW, has_moved=False)
    health.reachable(FIRST, NOW)
    assert chosen(made, health) == SECOND


@pytest.mark.parametrize(("patience", "taken"), [(1800.0, FIRST), (12.0, SECOND)])
def test_one_silence_may_be_chance_where_there_is_time_for_another(
    patience: float, taken: int
) -> None:
    made = flight()
    made.last_failures = {FIRST: Failure(Reason.TIMEOUT)}
    made.failures_at = {FIRST: 1}
    policy = RetryPolicy.for_patience(patience)
    assert chosen(made, book(has_fallback=True, policy=policy)) == taken


def test_bytes_are_compared_with_whoever_did_not_bring_them() -> None:
    made = flight(closed={SECOND: 1.0})
    made.served = {FIRST}
    assert chosen(made, book()) == FIRST
    made.is_mending = True
    assert chosen(made, book()) == SECOND


def test_one_that_has_something_else_twice_in_a_row_is_asked_last() -> None:
    made = flight(closed={SECOND: 20.0})
    made.useless_at = {FIRST: 1}
    assert chosen(made, book()) == FIRST
    made.useless_at = {FIRST: 2}
    assert chosen(made, book()) == SECOND


def test_nothing_that_speaks_against_a_route_outlasts_patience() -> None:
    policy = RetryPolicy.for_patience(4.0)
    made = flight(closed={SECOND: 5.0})
    made.wrong_at = {FIRST: 2}
    assert chosen(made, book(policy=policy)) == FIRST


def test_nobody_is_chosen_where_nobody_is_left() -> None:
    made = flight()
    made.excluded = {FIRST, SECOND}
    assert choose(made, book(), NOW) is None
