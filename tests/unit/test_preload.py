from __future__ import annotations

from pathlib import Path

import pytest

from hfaria.errors import (
    AlreadyRunning,
    EndpointUnreachable,
    ExitCode,
    HfariaError,
    InconsistentListing,
    RepoNotFound,
)
from hfaria.rules.preload import IncompletePreload, PreloadReceipt, RepoOutcome, RepoState
from hfaria.rules.spec import RepoSpec


def receipt(*errors: HfariaError | None) -> PreloadReceipt:
    outcomes = tuple(
        RepoOutcome(
            RepoSpec(f"org/repo-{number}"),
            RepoState.PRESENT if error is None else RepoState.FAILED,
            error=error,
        )
        for number, error in enumerate(errors)
    )
    return PreloadReceipt(Path("hfaria.toml"), Path("hfaria.lock"), outcomes, None, 0, 1.0)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([RepoNotFound("x")], ExitCode.HUB),
        ([RepoNotFound("x"), EndpointUnreachable("y"), None], ExitCode.HUB),
        ([RepoNotFound("x"), AlreadyRunning("y")], ExitCode.INCOMPLETE),
        ([RepoNotFound("x"), InconsistentListing("y")], ExitCode.INTEGRITY),
        ([AlreadyRunning("y")], ExitCode.DESTINATION),
    ],
)
def test_the_exit_code_is_that_of_all_failures_or_the_gravest(
    errors: list[HfariaError | None], code: ExitCode
) -> None:
    assert IncompletePreload(receipt(*errors)).exit_code is code


def test_the_message_counts() -> None:
    one = IncompletePreload(receipt(RepoNotFound("x"), None))
    assert one.message == "1 of 2 repos is not in place"
    two = IncompletePreload(receipt(RepoNotFound("x"), RepoNotFound("y")))
    assert two.message == "2 of 2 repos are not in place"


def test_a_preload_of_what_is_there_changed_nothing() -> None:
    assert receipt(None, None).is_complete
    assert not receipt(None, None).changed
    assert receipt(None, RepoNotFound("x")).changed
