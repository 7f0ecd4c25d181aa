"""Where an endpoint's commit stands beside the newest one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from hfaria.rules.staleness import HistoryEntry
from hfaria.rules.standing import Age, History, Standing, standing_of
from hfaria.rules.words import Head

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
HOUR = 3600.0
A, B, C = ("a" * 40, "b" * 40, "c" * 40)


def head(commit: str, hours: float | None = 0) -> Head:
    made_at = None if hours is None else NOON + timedelta(hours=hours)
    return Head(commit, is_gated=False, is_private=False, last_modified=made_at)


def history(*commits: tuple[str, float], is_whole: bool = True) -> History:
    entries = (HistoryEntry(commit, NOON + timedelta(hours=hours)) for commit, hours in commits)
    return History(tuple(entries), is_whole)


def test_the_same_commit_is_the_same_whatever_the_dates_say() -> None:
    assert standing_of(head(A), head(A, 5)) == Standing(Age.SAME, 0, 0.0)


def test_what_is_unknown_can_not_be_compared() -> None:
    assert standing_of(None, head(A)).age is Age.UNKNOWN
    assert standing_of(head(A), None).age is Age.UNKNOWN


def test_commits_are_counted_in_the_history_of_the_newest() -> None:
    standing = standing_of(head(A), head(C, 3), history=history((C, 3), (B, 1), (A, 0)))
    assert standing == Standing(Age.BEHIND, 2, 3 * HOUR)
    assert str(standing) == "2 commits behind (3 h)"


def test_a_commit_that_the_newest_does_not_know_is_ahead_if_it_comes_from_there() -> None:
    own = history((C, 1), (B, 0), (A, -1))
    standing = standing_of(head(C, 1), head(B), history=history((B, 0), (A, -1)), own_history=own)
    assert standing == Standing(Age.AHEAD, 1, HOUR)
    assert str(standing) == "1 commit ahead (1 h)"


def test_dates_decide_where_no_history_is_known() -> None:
    assert standing_of(head(A), head(C, 2.5)) == Standing(Age.BEHIND, None, 2.5 * HOUR)
    assert str(standing_of(head(A), head(C, 2.5))) == "2 h 30 min behind"
    assert standing_of(head(C, 1), head(A)).age is Age.AHEAD


@pytest.mark.parametrize("hours", [0, None])
def test_another_commit_of_the_same_moment_or_of_none_is_just_another(hours: float | None) -> None:
    standing = standing_of(head(A, hours), head(C))
    assert standing == Standing(Age.OTHER)
    assert str(standing) == "other commit"


def test_dates_that_contradict_the_history_tell_nothing() -> None:
    standing = standing_of(head(A, 9), head(C), history=history((C, 0), (A, 9)))
    assert standing == Standing(Age.BEHIND, 1, None)
    assert str(standing) == "1 commit behind"
