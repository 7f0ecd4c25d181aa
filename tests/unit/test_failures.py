from __future__ import annotations

import pytest

from hfaria.rules.failures import Failure, Reason, failure_from_status


@pytest.mark.parametrize(
    ("status", "at_endpoint", "at_cdn"),
    [
        (401, Reason.DENIED, Reason.EXPIRED),
        (403, Reason.DENIED, Reason.EXPIRED),
        (404, Reason.NOT_FOUND, Reason.EXPIRED),
        (410, Reason.NOT_FOUND, Reason.EXPIRED),
        (408, Reason.TIMEOUT, Reason.TIMEOUT),
        (416, Reason.RANGE_IGNORED, Reason.RANGE_IGNORED),
        (429, Reason.RATE_LIMITED, Reason.RATE_LIMITED),
        (500, Reason.SERVER_ERROR, Reason.SERVER_ERROR),
        (503, Reason.SERVER_ERROR, Reason.SERVER_ERROR),
        (599, Reason.SERVER_ERROR, Reason.SERVER_ERROR),
        (400, Reason.REFUSED, Reason.REFUSED),
        (302, Reason.REFUSED, Reason.REFUSED),
    ],
)
def test_a_status_means_different_things_at_an_endpoint_and_at_a_cdn(
    status: int, at_endpoint: Reason, at_cdn: Reason
) -> None:
    assert failure_from_status(status, at_cdn=False).reason is at_endpoint
    assert failure_from_status(status, at_cdn=True).reason is at_cdn


def test_every_status_is_some_failure_that_keeps_what_was_said() -> None:
    for status in range(100, 600):
        failure = failure_from_status(status, at_cdn=False, detail="x", retry_after_seconds=3.0)
        assert (failure.status, failure.detail, failure.retry_after_seconds) == (status, "x", 3.0)


def test_only_an_answer_that_will_not_change_is_final() -> None:
    assert {reason for reason in Reason if reason.is_final_here} == {
        Reason.DENIED, Reason.NOT_FOUND, Reason.REFUSED, Reason.UNTRUSTED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (Failure(Reason.STALLED), "no bytes for too long"),
        (Failure(Reason.SERVER_ERROR, status=503), "server error, HTTP 503"),
        (Failure(Reason.DENIED, "blocked", 403), "access denied, HTTP 403, blocked"),
    ],
)
def test_a_failure_is_said_in_a_few_words(failure: Failure, text: str) -> None:
    assert str(failure) == text
