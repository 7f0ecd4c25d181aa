from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import UsageError
from hfaria.rules.rate_limit import (
    UNLIMITED,
    RateSchedule,
    RateWindow,
    format_rate,
    parse_rate_schedule,
    shares,
)

OFFICE = "2M@08:00-19:00,0@19:00-08:00"


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-01T{clock}")


def parse(text: str) -> RateSchedule:
    return parse_rate_schedule(text, named_by="--limit-rate")


@pytest.mark.parametrize(
    ("text", "limit"),
    [("2M", 2_000_000), ("2MB/s", 2_000_000), ("1MiB", 1 << 20), ("1500", 1500), ("0", None)],
)
def test_one_limit_holds_all_day(text: str, limit: int | None) -> None:
    schedule = parse(text)
    assert schedule == RateSchedule((), limit)
    assert schedule.at(at("00:00")) == schedule.at(at("13:37")) == limit
    assert schedule.next_change(at("13:37")) is None
    assert schedule.is_unlimited is (limit is None)


@pytest.mark.parametrize(
    ("clock", "limit"),
    [
        ("07:59:59", None),
        ("08:00", 2_000_000),
        ("18:59:59", 2_000_000),
        ("19:00", None),
        ("00:00", None),
    ],
)
def test_a_window_holds_from_its_first_to_before_its_last_minute(
    clock: str, limit: int | None
) -> None:
    assert parse(OFFICE).at(at(clock)) == limit
    assert parse("2M@08:00-19:00").at(at(clock)) == limit


def test_a_window_may_go_over_midnight() -> None:
    schedule = parse("500k@22:30-06:00")
    limits = {
        clock: schedule.at(at(clock)) for clock in ("22:29", "22:30", "00:00", "05:59", "06:00")
    }
    assert limits == {
        "22:29": None,
        "22:30": 500_000,
        "00:00": 500_000,
        "05:59": 500_000,
        "06:00": None,
    }


def test_the_rest_of_the_day_may_have_a_limit_too() -> None:
    schedule = parse("10M, 1M@08:00-12:00, 0@23:00-24:00")
    assert [schedule.at(at(clock)) for clock in ("07:00", "08:30", "12:00", "23:30")] == [
        10_000_000,
        1_000_000,
        10_000_000,
        None,
    ]
    assert not schedule.is_unlimited


def test_the_next_change_is_told() -> None:
    schedule = parse(OFFICE)
    assert schedule.next_change(at("07:00")) == at("08:00")
    assert schedule.next_change(at("08:00")) == at("19:00")
    assert schedule.next_change(at("19:00")) == at("08:00") + timedelta(days=1)
    assert parse("1M@08:00-12:00,1M@12:00-13:00").next_change(at("09:00")) == at("13:00")
    assert parse("1M@00:00-12:00,1M@12:00-24:00").next_change(at("09:00")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`` is not a rate"),
        ("fast", "`fast` is not a rate"),
        ("2M@", "`` is not a window like"),
        ("2M@8-19", "`8-19` is not a window like"),
        ("2M@08:00-25:00", "`08:00-25:00` is not a time of day"),
        ("2M@24:00-08:00", "`24:00-08:00` is not a time of day"),
        ("2M@08:60-09:00", "`08:60-09:00` is not a time of day"),
        ("2M@08:00-08:00", "the window `08:00-08:00` is empty"),
        ("2M,3M", "two limits for the whole day"),
        ("2M@08:00-12:00,1M@11:59-13:00", "two limits for 11:59"),
        ("2M@22:00-02:00,1M@01:00-03:00", "two limits for 01:00"),
        ("2", "2 bytes a second is too little"),
        ("-1M", "`-1M` is not a rate"),
    ],
)
def test_what_is_no_schedule_is_told_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.message.startswith("--limit-rate: ")
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_schedule_is_written_as_it_is_read() -> None:
    for text in (OFFICE, "2M", "0", "500k@22:30-06:00,3M"):
        assert parse(str(parse(text))) == parse(text)
    assert str(UNLIMITED) == "0"


def test_limits_are_said_in_words() -> None:
    assert format_rate(None) == "no limit"
    assert format_rate(2_000_000) == "2.00 MB/s"


@given(st.integers(0, 1439), st.integers(1, 1439), st.integers(0, 1439))
def test_a_window_covers_as_many_minutes_as_it_is_long(start: int, length: int, now: int) -> None:
    window = RateWindow(start, start + length, 1000)
    assert sum(window.covers(minute) for minute in range(1440)) == length
    schedule = RateSchedule((window,))
    local = at("00:00") + timedelta(minutes=now)
    change = schedule.next_change(local)
    assert change is not None
    assert local < change <= local + timedelta(days=1)
    assert schedule.at(change) != schedule.at(local)
    assert schedule.at(change - timedelta(minutes=1)) == schedule.at(local)


@given(
    st.integers(1000, 10**10),
    st.floats(0, 1e11),
    st.booleans(),
)
def test_shares_leave_the_limit_and_each_other_room(limit: int, direct: float, busy: bool) -> None:
    engine, client = shares(limit, direct_rate=direct, is_engine_busy=busy)
    assert engine >= limit // 10 > 0
    assert client >= limit // 10
    if busy:
        assert engine + client <= limit + limit // 10


def test_the_engine_gets_what_the_client_leaves() -> None:
    assert shares(1000, direct_rate=0, is_engine_busy=True) == (1000, 100)
    assert shares(1000, direct_rate=200, is_engine_busy=True) == (750, 250)
    assert shares(1000, direct_rate=900, is_engine_busy=True) == (500, 500)
    assert shares(1000, direct_rate=900, is_engine_busy=False) == (100, 1000)
