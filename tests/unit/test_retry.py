from __future__ import annotations

import pytest

from hfaria.rules.retry import Attempts, RetryPolicy


def test_waits_double_from_the_first_to_the_longest() -> None:
    policy = RetryPolicy(first_wait_seconds=1.0, longest_wait_seconds=10.0)
    assert [policy.wait_seconds(n) for n in (-1, 0, 1, 2, 3, 4, 5, 5000)] == [
        0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0,
    ]  # fmt: skip


def test_attempts_end_after_their_tries() -> None:
    attempts = Attempts(RetryPolicy(tries=3), started_at=0.0)
    waits = [attempts.wait_after_failure(0.0, None) for _ in range(5)]
    assert waits == [0.5, 1.0, 2.0, None, None]


def test_attempts_wait_as_long_as_the_server_asks_but_not_shorter_than_their_own() -> None:
    attempts = Attempts(RetryPolicy(), started_at=0.0)
    assert attempts.wait_after_failure(0.0, 7.0) == 7.0
    assert attempts.wait_after_failure(0.0, 0.0) == 1.0


def test_the_last_attempt_comes_when_patience_ends() -> None:
    attempts = Attempts(RetryPolicy(patience_seconds=10.0), started_at=0.0)
    assert attempts.wait_after_failure(9.8, None) == pytest.approx(0.2)
    assert attempts.wait_after_failure(10.0, None) is None


def test_attempts_end_when_the_server_asks_for_more_than_patience() -> None:
    attempts = Attempts(RetryPolicy(patience_seconds=60.0), started_at=100.0)
    assert attempts.wait_after_failure(100.0, 60.0) == 60.0
    assert attempts.wait_after_failure(101.0, 60.0) is None
