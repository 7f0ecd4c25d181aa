from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hfaria.rules import transfers as t
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.scheduler import Scheduler, Waiting, Window
from unit.scheduler_world import LARGE, SMALL, TRANSIENT, route, transfer

if TYPE_CHECKING:
    from hfaria.rules.plan import Transfer

ORIGIN = route("origin")
MIRROR = route("mirror")
OTHER = route("other")
FALLBACK = route("origin", is_fallback=True)
POLICY = RetryPolicy(patience_seconds=300.0, stall_seconds=20.0, tries=3)
LOST = Failure(Reason.TRANSPORT)


def scheduler(
    *transfers: Transfer,
    routes: tuple[t.Route, ...] = (ORIGIN,),
    policy: RetryPolicy = POLICY,
    window: Window | None = None,
) -> Scheduler:
    return Scheduler(transfers, routes, policy, window or Window(jobs=2), now=0.0)


def location(name: str = "a", **facts: bool) -> t.Location:
    return t.Location(f"https://bytes.example/{name}", **facts)


def start(run: Scheduler, name: str = "a", now: float = 0.0, by: t.Route = ORIGIN) -> None:
    """Bring a large transfer to where the engine moves it."""
    run.handle([t.Ticked()], now)
    commands = run.handle([t.Located(name, by, location(name))], now)
    assert any(isinstance(c, t.Move) and c.transfer.blob_name == name for c in commands)


def arrive(run: Scheduler, name: str = "a", now: float = 0.0) -> None:
    assert run.handle([t.Arrived(name)], now)[0] == t.Check(transfer(name))


def locates(commands: list[t.Command]) -> list[str]:
    return [each.transfer.blob_name for each in commands if isinstance(each, t.Locate)]


def moved(commands: list[t.Command]) -> list[str]:
    return [each.transfer.blob_name for each in commands if isinstance(each, t.Move)]


# --- the good way ----------------------------------------------------------------------------


def test_a_large_transfer_is_located_moved_checked_and_done() -> None:
    a = transfer("a")
    run = scheduler(a)
    assert run.handle([t.Ticked()], 0.0) == [t.Locate(a, ORIGIN)]
    assert run.handle([t.Located("a", ORIGIN, location())], 1.0) == [t.Move(a, ORIGIN, location())]
    assert run.handle([t.Progressed("a", 5)], 2.0) == []
    assert run.handle([t.Arrived("a")], 3.0) == [t.Check(a)]
    assert run.handle([t.Published("a")], 4.0) == []
    assert run.is_done
    assert run.retries == 0
    assert run.wake_at() is None
    assert run.waiting(4.0) is None


def test_nothing_to_do_is_done_at_once() -> None:
    run = scheduler()
    assert run.is_done
    assert run.handle([t.Ticked()], 0.0) == []


def test_a_small_transfer_goes_to_our_own_client_without_being_located() -> None:
    a = transfer("a", SMALL)
    run = scheduler(a)
    assert run.handle([t.Ticked()], 0.0) == [t.MoveDirect(a, ORIGIN, None)]
    assert run.wake_at() is None  # our own client has time-outs of its own


def test_what_only_the_token_opens_never_goes_to_the_engine() -> None:
    a = transfer("a")
    private = route(is_private=True)
    run = scheduler(a, routes=(private,))
    run.handle([t.Ticked()], 0.0)
    secret = location(needs_token=True)
    commands = run.handle([t.Located("a", private, secret)], 0.0)
    assert commands == [t.MoveDirect(a, private, secret)]
    assert run.handle([t.Ticked()], 1000.0) == []  # nor is it cancelled there


def test_only_so_many_large_ones_move_and_as_many_again_are_located_ahead() -> None:
    run = scheduler(*(transfer(f"{n}") for n in range(9)), window=Window(jobs=2))
    assert locates(run.handle([t.Ticked()], 0.0)) == ["0", "1", "2", "3"]
    commands = run.handle([t.Located(f"{n}", ORIGIN, location()) for n in range(4)], 1.0)
    assert [type(each) for each in commands] == [t.Move, t.Move]
    assert run.handle([t.Ticked()], 2.0) == []
    commands = run.handle([t.Arrived("0")], 3.0)
    assert [type(each) for each in commands] == [t.Check, t.Move, t.Locate]


def test_the_next_one_begins_beside_the_last_bytes_of_another() -> None:
    run = scheduler(*(transfer(f"{n}") for n in range(9)), window=Window(jobs=2))
    run.handle([t.Ticked()], 0.0)
    commands = run.handle([t.Located(f"{n}", ORIGIN, location()) for n in range(4)], 1.0)
    assert moved(commands) == ["0", "1"]
    nearly = LARGE - 2 * 2**20
    assert not moved(run.handle([t.Progressed("0", nearly - 1)], 2.0))
    assert moved(run.handle([t.Progressed("0", nearly)], 3.0)) == ["2"]
    # However many are ending: only one more.
    assert not moved(run.handle([t.Progressed("1", nearly), t.Progressed("2", nearly)], 4.0))
    assert moved(run.handle([t.Arrived("0")], 5.0)) == ["3"]


def test_one_that_fails_at_its_last_bytes_has_its_place_still() -> None:
    run = scheduler(*(transfer(f"{n}") for n in range(9)), window=Window(jobs=1))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Located(f"{n}", ORIGIN, location()) for n in range(2)], 1.0)
    assert moved(run.handle([t.Progressed("0", LARGE - 1)], 2.0)) == ["1"]
    expired = t.Failed("0", Failure(Reason.EXPIRED))
    assert "0" in locates(run.handle([expired], 3.0))
    assert not moved(run.handle([t.Located("2", ORIGIN, location())], 3.1))
    assert moved(run.handle([t.Located("0", ORIGIN, location())], 3.2)) == ["0"]
    assert not moved(run.handle([t.Progressed("1", LARGE // 2)], 4.0))


def test_small_ones_do_not_take_the_places_of_large_ones() -> None:
    small = [transfer(f"small-{n}", SMALL) for n in range(200)]
    window = Window(jobs=1)
    run = scheduler(*small, transfer("large"), window=window)
    commands = run.handle([t.Ticked()], 0.0)
    assert locates(commands) == ["large"]
    # Sixteen requests in all, until the endpoint has answered once.
    assert sum(isinstance(each, t.MoveDirect) for each in commands) == 15
    commands = run.handle([t.Located("large", ORIGIN, location())], 0.1)
    assert sum(isinstance(each, t.MoveDirect) for each in commands) == window.small_queue - 15 == 17


def test_a_heap_of_unverified_ones_stops_new_ones() -> None:
    run = scheduler(*(transfer(f"{n}") for n in range(20)), window=Window(jobs=1))
    started = set(locates(run.handle([t.Ticked()], 0.0)))
    for _ in range(10):
        for name in sorted(started):
            commands = run.handle([t.Located(name, ORIGIN, location()), t.Arrived(name)], 1.0)
            started |= set(locates(commands))
    assert len(started) == 5  # four wait for the disk, and one is past locating
    assert locates(run.handle([t.Published("0"), t.Published("1")], 2.0))


def test_events_about_transfers_that_ended_or_never_were_are_ignored() -> None:
    run = scheduler(transfer("a"), transfer("b"))
    start(run)
    arrive(run)
    run.handle([t.Published("a")], 0.0)
    for event in (
        t.Arrived("a"),
        t.Failed("a", LOST),
        t.Progressed("a", 5),
        t.Located("x", ORIGIN, location()),
        t.Mismatched("b", "", was_salvaged=False),
        t.Arrived("b"),
        t.Failed("b", LOST),
        t.Cancelled("b"),
        t.Progressed("b", 3),
    ):
        assert run.handle([event], 0.0) == []
    run.handle([t.Located("b", ORIGIN, location("b"))], 0.0)
    assert run.handle([t.Located("b", ORIGIN, location("other"))], 0.0) == []
    assert run.handle([t.NotLocated("b", ORIGIN, LOST)], 0.0) == []


def test_one_more_can_be_wanted_at_any_time() -> None:
    run = scheduler()
    assert run.handle([t.Wanted(transfer("b"))], 5.0) == [t.Locate(transfer("b"), ORIGIN)]
    assert not run.is_done


# --- failures --------------------------------------------------------------------------------


def test_a_failed_attempt_waits_longer_each_time() -> None:
    run = scheduler(transfer("a"))
    now, waits = 0.0, []
    for _ in range(3):
        start(run, now=now)
        run.handle([t.Failed("a", LOST)], now)
        waiting = run.waiting(now)
        assert waiting is not None
        assert waiting.reason == "connection lost (origin.example)"
        waits.append(waiting.seconds)
        wake_at = run.wake_at()
        assert wake_at is not None
        assert run.handle([t.Ticked()], wake_at - 0.01) == []
        now = wake_at
    assert waits == [0.5, 1.0, 2.0]
    assert run.retries == 3


def test_bytes_in_between_start_the_count_anew() -> None:
    run = scheduler(transfer("a"), transfer("b"), routes=(ORIGIN, MIRROR))
    start(run, "b")
    now, held = 0.0, 0
    refused = Failure(Reason.SERVER_ERROR, status=503)
    for _ in range(10):
        start(run, now=now)
        run.handle([t.Progressed("a", held)], now)
        held += 100
        run.handle([t.Progressed("a", held)], now)
        commands = run.handle([t.Failed("a", refused), t.Progressed("b", held)], now)
        assert commands == [t.Locate(transfer("a"), ORIGIN)]  # at once, and not elsewhere
        now += 1.0


def test_connections_that_broke_go_on_at_the_location_that_is_known() -> None:
    a = transfer("a")
    run = scheduler(a)
    start(run)
    run.handle([t.Progressed("a", 0), t.Progressed("a", 5)], 1.0)
    assert run.handle([t.Failed("a", LOST)], 2.0) == [t.Move(a, ORIGIN, location())]
    run.handle([t.Progressed("a", 5), t.Progressed("a", 6)], 3.0)
    assert run.handle([t.Failed("a", LOST)], 4.0) == [t.Move(a, ORIGIN, location())]
    run.handle([t.Progressed("a", 6), t.Progressed("a", 7)], 5.0)
    assert run.handle([t.Failed("a", LOST)], 6.0) == [t.Locate(a, ORIGIN)]  # not for ever


def test_bytes_that_were_held_before_are_no_progress() -> None:
    # Each attempt says zero first, then what is in the partial, and brings nothing.
    run = scheduler(transfer("a"))
    now = 0.0
    answers: list[t.Event] = []
    while not run.is_done and now < 1000:
        commands = run.handle([*answers, t.Ticked()], now)
        answers = []
        for command in commands:
            if isinstance(command, t.Locate):
                answers.append(t.Located("a", ORIGIN, location()))
            if isinstance(command, t.Move):
                answers += [t.Progressed("a", 0), t.Progressed("a", 500), t.Failed("a", LOST)]
        now += 0.0 if answers else 1.0
    assert abs(now - POLICY.patience_seconds) <= POLICY.longest_wait_seconds


def test_a_route_that_fails_is_left_for_the_next_one_and_tried_again_later() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    assert run.handle([t.Ticked()], 0.0) == [t.Locate(a, MIRROR)]
    assert run.handle([t.NotLocated("a", MIRROR, LOST)], 0.0) == [t.Locate(a, ORIGIN)]
    assert run.handle([t.NotLocated("a", ORIGIN, LOST)], 1.0) == [t.Locate(a, MIRROR)]


def test_a_fall_back_is_not_taken_for_the_sake_of_a_second() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, FALLBACK))
    now, asked = 0.0, []
    for _ in range(4):
        commands = run.handle([t.Ticked()], now)
        asked += [
            (now, each.route.endpoint.host) for each in commands if isinstance(each, t.Locate)
        ]
        run.handle([t.NotLocated("a", MIRROR, Failure(Reason.SERVER_ERROR))], now)
        wake_at = run.wake_at()
        if wake_at is None:
            break
        now = wake_at
    assert [host for _, host in asked] == ["mirror.example"] * 3
    assert run.handle([t.Ticked()], now) == []
    assert run.handle([t.Located("a", FALLBACK, location())], now) != []


def test_the_last_route_is_tried_until_patience_ends_when_nobody_gets_on() -> None:
    run = scheduler(transfer("a"), transfer("b"), transfer("c"), window=Window(jobs=1))
    now = 0.0
    ended: list[str] = []
    while not run.is_done:
        commands = run.handle([t.Ticked()], now)
        while located := locates(commands):
            ended += [c.transfer.blob_name for c in commands if isinstance(c, t.GiveUp)]
            commands = run.handle([t.NotLocated(name, ORIGIN, LOST) for name in located], now)
        ended += [c.transfer.blob_name for c in commands if isinstance(c, t.GiveUp)]
        now += 1.0
    assert sorted(ended) == ["a", "b", "c"]
    assert POLICY.patience_seconds - 40 < now < POLICY.patience_seconds + 40


def test_what_was_never_asked_for_ends_too_when_patience_ends() -> None:
    few = RetryPolicy(patience_seconds=1.0)
    run = scheduler(*(transfer(f"{n}") for n in range(100)), policy=few, window=Window(jobs=1))
    run.handle([t.Ticked()], 0.0)
    commands = run.handle([t.NotLocated("0", ORIGIN, LOST)], 5.0)
    ended = [each.transfer.blob_name for each in commands if isinstance(each, t.GiveUp)]
    assert len(ended) == 99  # one more is being located
    assert "1" not in ended


def test_one_that_fails_alone_is_given_up_after_its_tries() -> None:
    calm = replace(POLICY, quick_stall_seconds=1000.0, stall_seconds=1000.0)
    run = scheduler(transfer("a"), transfer("b"), policy=calm)
    start(run, "b")
    failures = 0
    commands: list[t.Command] = []
    while not any(isinstance(each, t.GiveUp) for each in commands):
        now = failures * 100.0
        start(run, now=now)
        commands = run.handle([t.Failed("a", LOST)], now)
        failures += 1
        run.handle([t.Progressed("b", failures)], now + 50)
    # The first of b's bytes count from the second failure on.
    assert POLICY.tries < failures <= POLICY.tries + 3


def test_those_that_wait_leave_room_for_others() -> None:
    run = scheduler(*(transfer(f"{n}") for n in range(30)), window=Window(jobs=1))
    asked: set[str] = set()
    for second in range(30):
        events: list[t.Event] = [t.Ticked()]
        while events:
            names = locates(run.handle(events, float(second)))
            asked |= set(names)
            events = [t.NotLocated(name, ORIGIN, LOST) for name in names]
    assert asked == {"0", "1", "2", "3"}  # though two fill the window


@pytest.mark.parametrize(
    "reason", [Reason.DENIED, Reason.NOT_FOUND, Reason.REFUSED, Reason.UNTRUSTED]
)
def test_a_final_answer_is_asked_for_once_at_each_route(reason: Reason) -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    run.handle([t.Ticked()], 0.0)
    failure = Failure(reason)
    assert run.handle([t.NotLocated("a", MIRROR, failure)], 0.0) == [t.Locate(a, ORIGIN)]
    [ended] = run.handle([t.NotLocated("a", ORIGIN, failure)], 0.0)
    assert isinstance(ended, t.GiveUp)
    assert ended.failure.reason is reason
    assert ended.failure.detail == "at mirror.example and origin.example"
    assert run.is_done


def test_an_expired_url_is_asked_for_again_at_once_then_later_then_no_more() -> None:
    a = transfer("a")
    expired = Failure(Reason.EXPIRED, status=403)
    run = scheduler(a, policy=RetryPolicy())
    start(run)
    assert run.handle([t.Failed("a", expired)], 0.0) == [t.Locate(a, ORIGIN)]
    now = 0.0
    for _ in range(2):
        run.handle([t.Located("a", ORIGIN, location())], now)
        assert run.handle([t.Failed("a", expired)], now) == []
        now += 30.0
        assert run.handle([t.Ticked()], now) == [t.Locate(a, ORIGIN)]
    run.handle([t.Located("a", ORIGIN, location())], now)
    assert run.handle([t.Failed("a", expired)], now) == [t.GiveUp(a, expired)]


def test_urls_that_one_route_signs_in_vain_are_no_reason_to_leave_another() -> None:
    expired = Failure(Reason.EXPIRED, status=403)
    run = scheduler(transfer("a"), routes=(MIRROR, ORIGIN), policy=RetryPolicy())
    tried: list[t.Route] = []
    answers: list[t.Event] = []
    for second in range(300):
        commands = run.handle([*answers, t.Ticked()], float(second))
        answers = []
        for each in commands:
            if isinstance(each, t.Locate):
                answers.append(t.Located("a", each.route, location()))
            elif isinstance(each, t.Move):
                tried.append(each.route)
                answers.append(t.Failed("a", expired if each.route == MIRROR else LOST))
    assert tried.count(MIRROR) == 4
    assert tried[-5:] == [ORIGIN] * 5
    assert not run.is_done


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("failure", TRANSIENT, ids=str)
def test_an_endpoint_that_fails_at_once_each_time_is_not_asked_without_a_pause(
    failure: Failure, size: int
) -> None:
    begins = 1000.0
    run = Scheduler([transfer("a", size)], (ORIGIN,), RetryPolicy(), Window(), now=begins)
    events: list[t.Event] = []
    asked = 0
    for step in range(1000):
        commands = run.handle([*events, t.Ticked()], begins + 0.01 * step)
        events = []
        for each in commands:
            if isinstance(each, t.Locate):
                asked += 1
                events.append(t.Located("a", ORIGIN, location()))
            elif isinstance(each, t.Move | t.MoveDirect):
                asked += isinstance(each, t.MoveDirect)
                events.append(t.Failed("a", failure))
    assert asked <= 10  # in ten seconds


def test_bytes_in_between_make_an_expired_url_fresh_news() -> None:
    a = transfer("a")
    expired = Failure(Reason.EXPIRED, status=403)
    run = scheduler(a)
    start(run)
    for held in range(0, 100, 10):
        run.handle([t.Progressed("a", held)], 0.0)
        run.handle([t.Progressed("a", held + 5)], 0.0)
        assert run.handle([t.Failed("a", expired)], 0.0) == [t.Locate(a, ORIGIN)]
        run.handle([t.Located("a", ORIGIN, location())], 0.0)


@pytest.mark.parametrize("reason", [Reason.RANGE_IGNORED, Reason.WRONG_LENGTH])
def test_what_is_staged_goes_when_it_can_not_be_continued_twice_in_a_row(reason: Reason) -> None:
    a = transfer("a")
    run = scheduler(a)
    start(run)
    assert run.handle([t.Failed("a", Failure(reason))], 0.0) == []
    start(run, now=10.0)
    assert run.handle([t.Failed("a", Failure(reason))], 10.0) == [t.Discard(a)]


def test_a_full_disk_stops_everything_at_once() -> None:
    run = scheduler(transfer("a"), transfer("b"))
    start(run)
    full = Failure(Reason.DISK, "no space left")
    commands = run.handle([t.Failed("a", full), t.Located("b", ORIGIN, location("b"))], 0.0)
    assert commands == [t.Stop(full, "no space left")]
    assert run.is_done
    assert run.handle([t.Ticked(), t.Wanted(transfer("c"))], 1.0) == []


def test_a_location_that_lay_about_too_long_is_no_refusal() -> None:
    # Two are located ahead; their URLs are too old when their turn comes.
    run = scheduler(*(transfer(name) for name in "abcd"))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Located(name, ORIGIN, location(name)) for name in "abcd"], 0.0)
    expired = Failure(Reason.EXPIRED, status=403)
    now = 60.0
    for first, late in (("a", "c"), ("b", "d")):
        run.handle([t.Arrived(first), t.Published(first)], now)
        for _ in range(5):
            assert t.Locate(transfer(late), ORIGIN) in run.handle([t.Failed(late, expired)], now)
            now += 2.0  # as long as the answer is on its way, its place is kept
            run.handle([t.Located(late, ORIGIN, location(late)), t.Progressed(late, -1)], now)
            now += 60.0
            run.handle([t.Progressed(late, int(now))], now)
    assert not run.is_done


def test_a_transfer_that_is_located_anew_keeps_its_place() -> None:
    run = scheduler(*(transfer(name) for name in "abcd"))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Located(name, ORIGIN, location(name)) for name in "abc"], 0.0)
    expired = Failure(Reason.EXPIRED, status=403)
    assert run.handle([t.Failed("a", expired)], 1.0) == [t.Locate(transfer("a"), ORIGIN)]
    assert run.handle([t.Located("a", ORIGIN, location())], 1.1) == [
        t.Move(transfer("a"), ORIGIN, location())
    ]


def test_a_route_whose_bytes_stop_again_and_again_is_left() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, FALLBACK), policy=RetryPolicy())
    start(run, by=MIRROR)
    now, held = 0.0, 0
    asked: list[t.Command] = []
    while not asked and now < 600:
        run.handle([t.Progressed("a", held)], now)
        held += 100_000  # each time a little comes
        run.handle([t.Progressed("a", held)], now)
        wake_at = run.wake_at()
        assert wake_at is not None
        now = wake_at
        run.handle([t.Ticked()], now)
        commands = run.handle([t.Cancelled("a")], now)
        asked = [each for each in commands if each == t.Locate(a, FALLBACK)]
    assert now < 30


@pytest.mark.parametrize("reason", [Reason.WRONG_CONTENT, Reason.WRONG_LENGTH])
def test_one_that_has_something_else_is_asked_after_all_others(reason: Reason) -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, FALLBACK))
    run.handle([t.Ticked()], 0.0)
    commands = run.handle([t.NotLocated("a", MIRROR, Failure(reason))], 0.0)
    asked = ["mirror.example"]
    now = 0.0
    while now < 100:
        answers: list[t.Event] = []
        for command in commands:
            assert isinstance(command, t.Locate)
            asked.append(command.route.endpoint.host)
            failure = LOST if command.route == FALLBACK else Failure(reason)
            answers.append(t.NotLocated("a", command.route, failure))
        if not answers:
            now = max(now + 0.01, run.wake_at() or now)
        commands = [
            each
            for each in run.handle([*answers, t.Ticked()], now)
            if not isinstance(each, t.Watch | t.Say)
        ]
    # Once may be chance; then the other one is asked first, though it fails, and both in turn.
    assert asked[:6] == [*["mirror.example"] * 2, *["origin.example"] * 4]
    assert {"mirror.example", "origin.example"} == set(asked[6:])


# --- rate limits -------------------------------------------------------------------------------


def test_a_rate_limit_holds_back_others_at_that_endpoint() -> None:
    run = scheduler(*(transfer(f"{n}", SMALL) for n in range(100)), window=Window(jobs=1))
    assert len(run.handle([t.Ticked()], 0.0)) == 16
    limit = Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=60)
    assert run.handle([t.Failed("0", limit), t.Published("1")], 1.0) == []
    assert run.handle([t.Ticked()], 60.0) == []
    assert run.wake_at() == 61.0
    assert run.handle([t.Ticked()], 61.0) != []


def test_a_shorter_rate_limit_does_not_shorten_a_longer_one() -> None:
    run = scheduler(*(transfer(f"{n}", SMALL) for n in range(100)), window=Window(jobs=1))
    run.handle([t.Ticked()], 0.0)
    long = Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=60)
    short = Failure(Reason.RATE_LIMITED, status=429)
    run.handle([t.Failed("0", long), t.Failed("1", short)], 0.0)
    for second in range(1, 60):
        assert run.handle([t.Ticked()], float(second)) == []
    run.handle([t.Failed(f"{n}", short) for n in range(2, 16)], 59.0)
    assert run.handle([t.Ticked()], 59.75) == []
    assert run.waiting(59.75) == Waiting(0.25, "rate limit of origin.example")


def test_the_wait_of_a_new_transfer_names_the_rate_limit() -> None:
    run = scheduler(transfer("a", SMALL))
    limit = Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=60)
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Failed("a", limit), t.Wanted(transfer("b", SMALL))], 0.0)
    assert run.waiting(10.0) == Waiting(50.0, "rate limit of origin.example")


def test_a_rate_limit_beyond_patience_ends_the_wait_at_once() -> None:
    run = scheduler(*(transfer(f"{n}", SMALL) for n in range(1000)), window=Window(jobs=1))
    run.handle([t.Ticked()], 0.0)
    forever = Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=86400)
    commands = run.handle([t.Failed("0", forever)], 1.0)
    assert len(commands) > 0  # those past pending but not under way
    while not run.is_done:
        commands += run.handle([t.Failed(f"{n}", forever) for n in range(1, 16)], 1.0)
    assert {type(each) for each in commands} == {t.GiveUp}  # nobody else asks for the same answer
    assert len(commands) == 1000


def test_a_rate_limit_beyond_patience_leads_to_the_next_route() -> None:
    a, b = transfer("a", SMALL), transfer("b", SMALL)
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    run.handle([t.Ticked()], 0.0)
    forever = Failure(Reason.RATE_LIMITED, status=429, retry_after_seconds=86400)
    commands = run.handle([t.Failed("a", forever), t.Wanted(b)], 1.0)
    assert commands == [t.MoveDirect(a, ORIGIN, None), t.MoveDirect(b, ORIGIN, None)]


# --- stalls and the engine ---------------------------------------------------------------------


def test_a_transfer_without_a_first_byte_is_taken_from_the_engine_and_tried_again() -> None:
    a = transfer("a")
    run = scheduler(a)
    start(run)
    run.handle([t.Progressed("a", 7)], 5.0)  # what was staged before
    assert run.wake_at() == 25.0
    assert run.handle([t.Ticked()], 24.9) == []
    assert run.handle([t.Ticked()], 25.0) == [t.Cancel(a)]
    assert run.handle([t.Ticked()], 26.0) == []
    assert run.handle([t.Cancelled("a")], 26.0) == []
    waiting = run.waiting(26.0)
    assert waiting is not None
    assert waiting.reason == "no bytes for too long, 20 s (origin.example)"


def test_bytes_that_stop_are_asked_for_anew_soon_and_ever_more_patiently() -> None:
    a = transfer("a")
    run = scheduler(a)
    start(run)
    now, held, waits = 0.0, 0, []
    for _ in range(5):
        run.handle([t.Progressed("a", held)], now)
        held += 5
        run.handle([t.Progressed("a", held)], now)
        wake_at = run.wake_at()
        assert wake_at is not None
        waits.append(wake_at - now)
        now = wake_at
        assert run.handle([t.Ticked()], now) == [t.Cancel(a)]
        commands = run.handle([t.Cancelled("a")], now)
        if locates(commands):
            run.handle([t.Located("a", ORIGIN, location())], now)
    assert waits == [2.5, 5.0, 10.0, 20.0, 20.0]


def test_a_transfer_that_lost_all_its_connections_is_asked_for_anew_within_a_second() -> None:
    a = transfer("a")
    run = scheduler(a)
    start(run)
    run.handle([t.Progressed("a", 0, connections=0)], 0.0)  # none yet
    run.handle([t.Progressed("a", 5, connections=8)], 1.0)
    run.handle([t.Progressed("a", 5, connections=0)], 1.5)
    assert run.handle([t.Progressed("a", 5, connections=0), t.Ticked()], 2.4) == []
    assert run.handle([t.Ticked()], 2.5) == [t.Cancel(a)]
    # Its location is not used again: a refusal says at once that nobody is there.
    assert run.handle([t.Cancelled("a")], 2.5) == [t.Locate(a, ORIGIN)]


@pytest.mark.parametrize(
    ("event", "expected"),
    [(t.Arrived("a"), [t.Check(transfer("a"))]), (t.Failed("a", LOST), [])],
)
def test_an_end_that_crosses_the_cancel_counts(event: t.Event, expected: list[t.Command]) -> None:
    run = scheduler(transfer("a"))
    start(run)
    run.handle([t.Ticked()], 20.0)
    assert run.handle([event], 20.0) == expected
    assert run.handle([t.Cancelled("a")], 20.0) == []


def test_after_the_engines_death_what_it_moved_is_located_again() -> None:
    a, b, small = transfer("a"), transfer("b"), transfer("small", SMALL)
    run = scheduler(a, b, small)
    start(run, "a")
    commands = run.handle([t.EngineDied("killed")], 1.0)
    assert commands == [t.RestartEngine(), t.Locate(a, ORIGIN)]
    assert run.retries == 0


def test_an_engine_that_keeps_dying_stops_the_pull() -> None:
    run = scheduler(transfer("a"))
    for now in range(3):
        start(run, now=float(now))
        assert t.RestartEngine() in run.handle([t.EngineDied("killed")], float(now))
    start(run, now=3.0)
    assert run.handle([t.EngineDied("killed"), t.Ticked()], 3.0) == [t.Stop(None, "killed")]
    assert run.is_done


def test_new_bytes_forgive_the_engine_its_deaths() -> None:
    run = scheduler(transfer("a"))
    for now in range(20):
        start(run, now=float(now))
        run.handle([t.Progressed("a", now * 10)], float(now))
        run.handle([t.Progressed("a", now * 10 + 5)], float(now))
        assert t.RestartEngine() in run.handle([t.EngineDied("killed")], float(now))


# --- wrong bytes -------------------------------------------------------------------------------


def mismatch(name: str = "a") -> t.Mismatched:
    return t.Mismatched(name, "got b", was_salvaged=False)


def test_wrong_bytes_are_compared_with_those_of_another_route() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    start(run, by=MIRROR)
    arrive(run)
    assert run.handle([mismatch()], 0.0) == [t.Locate(a, ORIGIN)]
    there = location("there")
    assert run.handle([t.Located("a", ORIGIN, there)], 0.0) == [t.Mend(a, ORIGIN, there)]
    assert run.handle([t.Progressed("a", 5), t.Progressed("a", 9)], 5.0) == []
    assert run.handle([t.Ticked()], 500.0) == []  # our own client has time-outs of its own
    assert run.handle([t.Mended("a", ((0, 16),))], 500.0) == [t.Check(a)]
    assert run.handle([t.Published("a")], 501.0) == []
    assert run.is_done


def test_a_comparison_that_breaks_off_is_taken_up_at_the_best_route() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    start(run, by=MIRROR)
    arrive(run)
    run.handle([mismatch(), t.Located("a", ORIGIN, location())], 0.0)
    run.handle([t.Located("a", ORIGIN, location())], 0.0)
    run.handle([t.Failed("a", LOST)], 1.0)
    commands = run.handle([t.Ticked()], 2.0)
    assert commands == [t.Locate(a, ORIGIN)]  # the mirror lied: rather this one again


def test_bytes_of_the_wrong_number_are_set_aside_and_fetched_anew() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    start(run, by=MIRROR)
    arrive(run)
    short = t.Mismatched("a", "got 5 bytes", was_salvaged=False, can_be_mended=False)
    assert run.handle([short], 0.0) == [t.SetAside(a), t.Locate(a, ORIGIN)]
    assert run.handle([t.Located("a", ORIGIN, location())], 0.0) == [t.Move(a, ORIGIN, location())]


def test_after_a_mixture_was_wrong_all_bytes_come_from_one_route() -> None:
    a = transfer("a", SMALL)
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Failed("a", LOST)], 0.0)  # after a part
    run.handle([t.Arrived("a")], 0.0)  # the rest, from the origin
    assert run.handle([mismatch()], 10.0) == [t.SetAside(a)]
    assert run.handle([t.Ticked()], 12.0) == [t.MoveDirect(a, MIRROR, None)]
    # It breaks off again: what it brought must not be mixed with the other's.
    commands = run.handle([t.Failed("a", LOST)], 12.0)
    assert commands == [t.Discard(a), t.MoveDirect(a, ORIGIN, None)]


def test_two_sources_that_agree_on_wrong_bytes_are_both_asked_once_more() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, ORIGIN), policy=RetryPolicy(refetches=1))
    start(run, by=MIRROR)
    arrive(run)
    run.handle([mismatch()], 0.0)
    run.handle([t.Located("a", ORIGIN, location())], 0.0)
    assert run.handle([t.Mended("a", ())], 1.0) == [t.Locate(a, MIRROR)]
    run.handle([t.Located("a", MIRROR, location())], 1.0)
    aside, ended = run.handle([t.Mended("a", ())], 2.0)
    assert aside == t.SetAside(a)
    assert isinstance(ended, t.GiveUp)
    assert ended.failure.reason is Reason.MISMATCH
    assert "mirror.example" in ended.failure.detail
    assert "origin.example" in ended.failure.detail


def test_wrong_bytes_of_a_small_file_are_set_aside_and_fetched_elsewhere() -> None:
    a = transfer("a", SMALL)
    run = scheduler(a, routes=(MIRROR, ORIGIN))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Arrived("a")], 0.0)
    commands = run.handle([mismatch()], 0.0)
    assert commands == [t.SetAside(a), t.MoveDirect(a, ORIGIN, None)]


def test_wrong_bytes_from_the_only_route_are_compared_so_often_and_no_more() -> None:
    a = transfer("a")
    run = scheduler(a, policy=RetryPolicy(refetches=2))
    start(run)
    arrive(run)
    now = 0.0
    for _ in range(2):
        assert run.handle([mismatch()], now) == []
        now += 10.0
        assert run.handle([t.Ticked()], now) == [t.Locate(a, ORIGIN)]
        run.handle([t.Located("a", ORIGIN, location())], now)
        assert run.handle([t.Mended("a", ((0, 1),))], now) == [t.Check(a)]
    aside, ended = run.handle([mismatch()], now)
    assert aside == t.SetAside(a)
    failure = Failure(Reason.MISMATCH, "got b, from origin.example")
    assert ended == t.GiveUp(a, failure)


def test_salvage_that_was_wrong_is_nobodys_fault() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(MIRROR, ORIGIN), policy=RetryPolicy(refetches=0))
    for _ in range(5):
        start(run, by=MIRROR)
        arrive(run)
        commands = run.handle([t.Mismatched("a", "", was_salvaged=True)], 0.0)
        assert commands == [t.Locate(a, MIRROR)]
    assert not run.is_done


def test_bytes_fetched_anew_after_a_mismatch_are_progress_again() -> None:
    run = scheduler(transfer("a"), policy=RetryPolicy(patience_seconds=100.0))
    start(run)
    run.handle([t.Progressed("a", 0), t.Progressed("a", LARGE)], 0.0)
    arrive(run)
    run.handle([mismatch()], 0.0)
    run.handle([t.Ticked()], 1.0)
    run.handle([t.Located("a", ORIGIN, location())], 1.0)
    run.handle([t.Progressed("a", 0)], 2.0)
    run.handle([t.Progressed("a", 50)], 99.0)
    assert run.handle([t.Failed("a", LOST)], 190.0) == [t.Mend(transfer("a"), ORIGIN, location())]


def test_a_long_verification_does_not_use_up_patience() -> None:
    run = scheduler(transfer("a"), transfer("b"), policy=RetryPolicy(patience_seconds=100.0))
    start(run)
    arrive(run)
    run.handle([t.Published("a")], 5000.0)
    assert run.handle([t.NotLocated("b", ORIGIN, LOST)], 5001.0) == []


# --- time ----------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_changes_nothing() -> None:
    run = scheduler(transfer("a"))
    start(run, now=10.0)
    assert run.handle([t.Ticked()], 5.0) == []
    assert run.wake_at() == 30.0


def test_what_is_waited_for_is_said_while_another_is_located() -> None:
    run = scheduler(transfer("a"), transfer("b"))
    run.handle([t.Ticked()], 0.0)
    assert run.waiting(0.0) is None
    run.handle([t.NotLocated("b", ORIGIN, LOST)], 0.0)
    assert run.waiting(0.0) == Waiting(0.5, "connection lost (origin.example)")


def test_nothing_is_said_while_something_moves() -> None:
    run = scheduler(transfer("a"), transfer("b"))
    start(run)
    run.handle([t.NotLocated("b", ORIGIN, LOST)], 0.0)
    assert run.waiting(0.1) is None


def test_a_silence_is_said_before_it_counts_as_a_stall() -> None:
    run = scheduler(transfer("a"), transfer("b"))
    start(run, "a")
    start(run, "b")
    run.handle([t.Progressed("b", 5)], 2.0)
    assert run.waiting(4.0) is None
    silence = run.waiting(19.0)
    assert silence == Waiting(17.0, "no bytes by way of origin.example", is_over=True)
    run.handle([t.Progressed("a", 5)], 19.0)
    assert run.waiting(19.5) is None


def test_a_verification_is_no_silence() -> None:
    run = scheduler(transfer("a"), transfer("b"))
    start(run, "a")
    start(run, "b")
    arrive(run, "b")
    assert run.waiting(19.0) is None


# --- routes that go down and come back -----------------------------------------------------------

UNREACHABLE = Failure(Reason.UNREACHABLE)


def said(commands: list[t.Command]) -> list[str]:
    return [each.message for each in commands if isinstance(each, t.Say)]


def test_an_outage_is_watched_and_its_end_noticed_at_once() -> None:
    a, b = transfer("a"), transfer("b")
    run = scheduler(a, b)
    run.handle([t.Ticked()], 0.0)
    lost = [t.NotLocated("a", ORIGIN, UNREACHABLE), t.NotLocated("b", ORIGIN, UNREACHABLE)]
    assert run.handle(lost, 0.0) == [t.Watch(ORIGIN)]  # one alone, and nothing is said: it shows
    waiting = run.waiting(0.1)
    assert waiting is not None
    assert waiting.reason == "can't be reached (origin.example)"
    # One tries it; the other waits for its answer.
    assert run.handle([t.Reachable(ORIGIN)], 0.2) == [t.Locate(a, ORIGIN)]
    commands = run.handle([t.Located("a", ORIGIN, location())], 0.3)
    assert commands == [t.Move(a, ORIGIN, location()), t.Locate(b, ORIGIN)]


def cut_off(run: Scheduler, *names: str) -> None:
    """Let the line go while large transfers move, until their route is known to be down."""
    for name in names:
        run.handle([t.Failed(name, UNREACHABLE)], 1.0)
    # What can't be reached is asked for anew, which the endpoint doesn't hear either.
    asked = locates(run.handle([t.Ticked()], 2.0))
    assert asked == list(names)
    for name in names:
        run.handle([t.NotLocated(name, ORIGIN, UNREACHABLE)], 2.0)


def test_after_an_outage_bytes_come_from_where_they_came_before_it_unasked() -> None:
    a, b = transfer("a"), transfer("b")
    run = scheduler(a, b)
    start(run, "a")
    start(run, "b")
    cut_off(run, "a", "b")
    there = t.Move(a, ORIGIN, location("a"))
    assert run.handle([t.Reachable(ORIGIN)], 6.0) == [there]
    commands = run.handle([t.Progressed("a", 5, connections=8)], 6.1)
    commands += run.handle([t.Progressed("a", 9, connections=8)], 6.2)
    assert commands == [t.Move(b, ORIGIN, location("b"))]


def test_one_that_lacks_little_does_not_try_a_route_for_the_others() -> None:
    a, b = transfer("a"), transfer("b")
    run = scheduler(a, b)
    start(run, "a")
    start(run, "b")
    run.handle([t.Progressed("a", LARGE - 5, connections=8)], 0.5)
    cut_off(run, "a", "b")
    # It would bring an answer, and leave the line idle until the others have begun.
    assert moved(run.handle([t.Reachable(ORIGIN)], 6.0)) == ["b"]
    run.handle([t.Progressed("b", 5, connections=8)], 6.1)
    assert moved(run.handle([t.Progressed("b", 9, connections=8)], 6.2)) == ["a"]


def test_an_outage_costs_what_fails_with_the_line_neither_tries_nor_time() -> None:
    run = scheduler(transfer("a"), transfer("b"))
    start(run, "a")
    start(run, "b")
    for cut in range(20):
        now = 5.0 * cut
        run.handle([t.Failed("a", UNREACHABLE)], now + 1)
        run.handle([t.Ticked()], now + 1.5)
        run.handle([t.NotLocated("a", ORIGIN, UNREACHABLE)], now + 2)
        assert run.handle([t.Failed("b", LOST)], now + 2.1) == []
        assert moved(run.handle([t.Reachable(ORIGIN)], now + 3)) == ["a"]
        commands = run.handle([t.Progressed("a", 2 * cut, connections=8)], now + 3.1)
        commands += run.handle([t.Progressed("a", 2 * cut + 1, connections=8)], now + 3.2)
        assert moved(commands) == ["b"]


def test_what_was_known_before_an_outage_and_has_expired_is_asked_for_at_once() -> None:
    a = transfer("a")
    run = scheduler(a)
    start(run, "a")
    cut_off(run, "a")
    assert run.handle([t.Reachable(ORIGIN)], 6.0) == [t.Move(a, ORIGIN, location("a"))]
    refused = Failure(Reason.EXPIRED)
    assert run.handle([t.Failed("a", refused)], 6.1) == [t.Locate(a, ORIGIN)]
    assert run.handle([t.NotLocated("a", ORIGIN, UNREACHABLE)], 6.1) == [t.Watch(ORIGIN, 0.5)]
    assert run.handle([t.Reachable(ORIGIN)], 9.0) == [t.Locate(a, ORIGIN)]


def test_one_that_accepts_connections_and_nothing_else_is_watched_with_growing_pauses() -> None:
    run = scheduler(transfer("a"), policy=RetryPolicy())
    run.handle([t.Ticked()], 0.0)
    now, pauses = 0.0, []
    for _ in range(6):
        commands = run.handle([t.NotLocated("a", ORIGIN, UNREACHABLE)], now)
        pauses += [each.after_seconds for each in commands if isinstance(each, t.Watch)]
        now += pauses[-1] + 0.25
        assert locates(run.handle([t.Reachable(ORIGIN)], now)) == ["a"]
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_route_that_is_down_is_left_by_all_and_taken_again_when_it_is_back() -> None:
    a, b, c, d = (transfer(name) for name in "abcd")
    run = scheduler(a, b, c, d, routes=(MIRROR, FALLBACK), window=Window(jobs=1))
    assert run.handle([t.Ticked()], 0.0) == [t.Locate(a, MIRROR), t.Locate(b, MIRROR)]
    commands = run.handle([t.NotLocated("a", MIRROR, UNREACHABLE)], 0.0)
    assert t.Watch(MIRROR) in commands
    assert said(commands) == ["mirror.example: can't be reached; others go on"]
    assert t.Locate(a, FALLBACK) in commands
    assert t.Locate(c, FALLBACK) in commands
    # What was asked before it went down says nothing new.
    commands = run.handle([t.NotLocated("b", MIRROR, UNREACHABLE)], 0.5)
    assert commands == [t.Locate(b, FALLBACK)]
    run.handle([t.Reachable(MIRROR)], 1.0)
    for name in "abc":
        commands += run.handle([t.Located(name, FALLBACK, location(name))], 1.0)
        commands += run.handle([t.Arrived(name)], 1.0)
    assert t.Locate(d, MIRROR) in commands
    commands = run.handle([t.Located("d", MIRROR, location("d"))], 1.5)
    assert said(commands) == ["mirror.example is back"]


def test_a_big_file_at_the_fall_back_goes_home_when_its_route_is_back() -> None:
    big = transfer("big", 500 * 2**20)
    run = scheduler(big, routes=(MIRROR, FALLBACK))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.NotLocated("big", MIRROR, UNREACHABLE)], 0.0)
    run.handle([t.Located("big", FALLBACK, location("there"))], 0.0)
    held = 0
    asked: list[t.Command] = []
    for second in range(1, 20):
        held += 2**20
        progress = t.Progressed("big", held, connections=8)
        asked += run.handle([progress, t.Ticked()], float(second))
    assert t.Locate(big, MIRROR) in asked
    home = location("home")
    assert run.handle([t.Located("big", MIRROR, home)], 20.0) == [
        t.Say("mirror.example is back"),
        t.Cancel(big),
    ]
    assert run.handle([t.Cancelled("big")], 20.5) == [t.Move(big, MIRROR, home)]
    assert run.retries == 1  # the one at the beginning


def test_a_route_that_fails_each_file_once_in_a_while_stays_up() -> None:
    run = scheduler(*(transfer(f"{n}", SMALL) for n in range(9)), routes=(MIRROR, FALLBACK))
    run.handle([t.Ticked()], 0.0)
    commands: list[t.Command] = []
    for n in range(0, 8, 2):
        commands += run.handle([t.Failed(f"{n}", LOST), t.Arrived(f"{n + 1}")], 0.1)
    assert not any(isinstance(each, t.Watch | t.Say) for each in commands)
    assert all(each.route is MIRROR for each in commands if isinstance(each, t.MoveDirect))


def test_what_an_endpoint_does_not_hold_is_not_asked_for_there() -> None:
    behind = route("behind", holdings=t.Holdings({"a": "old/a"}))
    a, b = transfer("a"), transfer("b")
    run = scheduler(a, b, routes=(behind, FALLBACK))
    assert run.handle([t.Ticked()], 0.0) == [t.Locate(a, behind), t.Locate(b, FALLBACK)]


def test_what_nobody_holds_is_given_up_at_once() -> None:
    a = transfer("a")
    run = scheduler(a, routes=(route("behind", holdings=t.Holdings({})),))
    assert run.handle([t.Ticked()], 0.0) == [t.GiveUp(a, Failure(Reason.NOT_FOUND))]


def test_a_cap_on_connections_is_kept_over_all_transfers() -> None:
    capped = route("capped", connections=10)
    a, b = transfer("a"), transfer("b")
    run = scheduler(a, b, routes=(capped,))
    run.handle([t.Ticked()], 0.0)
    commands = run.handle([t.Located(n, capped, location(n)) for n in "ab"], 0.0)
    assert [each.connections for each in commands if isinstance(each, t.Move)] == [8, 2]


# --- what headers allow --------------------------------------------------------------------------


def test_no_request_is_sent_beyond_what_the_headers_allow() -> None:
    run = scheduler(*(transfer(f"{n}", SMALL) for n in range(100)))
    run.handle([t.Ticked()], 0.0)
    commands = run.handle([t.Allowed(ORIGIN, 24, 9.0), t.Arrived("0")], 0.1)
    # The 15 that are on their way may not be counted yet.
    assert sum(isinstance(each, t.MoveDirect) for each in commands) == 9
    assert not any(
        isinstance(each, t.MoveDirect) for each in run.handle([t.Arrived("1"), t.Ticked()], 5.0)
    )
    for n in range(2, 16):
        run.handle([t.Arrived(f"{n}"), t.Published(f"{n}")], 6.0)
    for n in range(16, 25):
        run.handle([t.Arrived(f"{n}"), t.Published(f"{n}")], 6.0)
    for n in (0, 1):
        run.handle([t.Published(f"{n}")], 6.0)
    waiting = run.waiting(7.0)
    assert waiting is not None
    assert waiting.reason == "rate limit of origin.example"
    assert any(isinstance(each, t.MoveDirect) for each in run.handle([t.Ticked()], 9.2))


# --- several sources for one file ----------------------------------------------------------------

BIG = 500 * 2**20


def test_named_endpoints_share_a_big_file() -> None:
    big = transfer("big", BIG)
    run = scheduler(big, routes=(MIRROR, OTHER, FALLBACK))
    run.handle([t.Ticked()], 0.0)
    here = t.Location("https://one.example/x")
    commands = run.handle([t.Located("big", MIRROR, here)], 0.0)
    assert commands == [t.Move(big, MIRROR, here, sources=2), t.Locate(big, OTHER)]
    there = t.Location("https://two.example/x")
    commands = run.handle([t.Located("big", OTHER, there)], 0.1)
    assert commands == [t.AddSource(big, OTHER, there)]
    assert run.handle([t.Ticked()], 60.0 - 45.0) == []  # the fall-back shares nothing


def test_two_endpoints_that_lead_to_one_host_are_one_source() -> None:
    big = transfer("big", BIG)
    run = scheduler(big, routes=(MIRROR, OTHER))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Located("big", MIRROR, location())], 0.0)
    assert run.handle([t.Located("big", OTHER, location())], 0.1) == []
    assert run.handle([t.Progressed("big", 5, 8), t.Ticked()], 15.0) == []


def test_a_source_that_brings_nothing_any_more_is_asked_anew() -> None:
    big = transfer("big", BIG)
    run = scheduler(big, routes=(MIRROR, OTHER))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Located("big", MIRROR, t.Location("https://one.example/x"))], 0.0)
    run.handle([t.Located("big", OTHER, t.Location("https://two.example/x"))], 0.0)
    commands: list[t.Command] = []
    for second in range(1, 40):
        progress = t.Progressed("big", second, 8, frozenset({"one.example"}))
        commands += run.handle([progress, t.Ticked()], float(second))
    assert commands == [t.Locate(big, OTHER)]


def test_bytes_of_several_sources_that_are_wrong_are_compared_with_one_of_them() -> None:
    big = transfer("big", BIG)
    run = scheduler(big, routes=(MIRROR, OTHER))
    run.handle([t.Ticked()], 0.0)
    run.handle([t.Located("big", MIRROR, t.Location("https://one.example/x"))], 0.0)
    run.handle([t.Located("big", OTHER, t.Location("https://two.example/x"))], 0.0)
    run.handle([t.Progressed("big", 0), t.Progressed("big", BIG)], 1.0)
    assert set(run.served_by("big")) == {MIRROR, OTHER}
    run.handle([t.Arrived("big")], 1.0)
    run.handle([t.Mismatched("big", "got b", was_salvaged=False)], 1.0)
    assert run.handle([t.Ticked()], 2.0) == [t.Locate(big, MIRROR)]
