"""How a version is compared with the newest one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from hfaria.rules.lag import Age, Lag, Version, lag_between

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
A, B, C = ("a" * 40, "b" * 40, "c" * 40)


def version(commit: str, hours: float = 0) -> Version:
    return Version(commit, NOON + timedelta(hours=hours))


def test_the_same_commit_is_the_same_whatever_the_dates_say() -> None:
    assert lag_between(version(A), version(A, 5)) == Lag(Age.SAME, 0, 0.0)


def test_what_is_unknown_can_not_be_compared() -> None:
    assert lag_between(None, version(A)).age is Age.UNKNOWN
    assert lag_between(version(A), None).age is Age.UNKNOWN


def test_commits_are_counted_in_the_history_of_the_newest() -> None:
    lag = lag_between(version(A), version(C, 3), history=(C, B, A))
    assert lag == Lag(Age.BEHIND, 2, 3.0)
    assert str(lag) == "2 commits behind (3 h)"


def test_a_commit_that_the_newest_does_not_know_is_ahead_if_it_comes_from_there() -> None:
    lag = lag_between(version(C, 1), version(B), history=(B, A), own_history=(C, B, A))
    assert lag == Lag(Age.AHEAD, 1, 1.0)
    assert str(lag) == "1 commit ahead (1 h)"


def test_dates_decide_where_no_history_is_known() -> None:
    assert lag_between(version(A), version(C, 2.5)) == Lag(Age.BEHIND, None, 2.5)
    assert str(lag_between(version(A), version(C, 2.5))) == "2 h 30 min behind"
    assert lag_between(version(C, 1), version(A)).age is Age.AHEAD


@pytest.mark.parametrize("mine", [version(A), Version(A)])
def test_another_commit_of_the_same_moment_or_of_none_is_just_another(mine: Version) -> None:
    lag = lag_between(mine, version(C))
    assert lag == Lag(Age.OTHER)
    assert str(lag) == "other commit"


def test_dates_that_contradict_the_history_tell_nothing() -> None:
    assert lag_between(version(A, 9), version(C), history=(C, A)) == Lag(Age.BEHIND, 1, None)
    assert str(Lag(Age.BEHIND, 1, None)) == "1 commit behind"
