from __future__ import annotations

from pathlib import Path

import pytest

from hfaria import errors
from hfaria.errors import ExitCode, HfariaError, PreflightFailed, StoreError
from hfaria.rules.receipt import CorruptPull, FailedFile, PartialPull, Receipt
from hfaria.rules.spec import RepoSpec
from unit.builders import COMMIT


def family(base: type[HfariaError]) -> set[type[HfariaError]]:
    return {base}.union(*(family(each) for each in base.__subclasses__()))


TREE = sorted(
    (each for each in family(HfariaError) if each.__module__ == errors.__name__),
    key=lambda each: each.__name__,
)
EXIT_CODES: dict[type[HfariaError], ExitCode] = {
    errors.UsageError: ExitCode.USAGE,
    errors.HubError: ExitCode.HUB,
    errors.IntegrityError: ExitCode.INTEGRITY,
    errors.EngineError: ExitCode.ENGINE,
    errors.DestinationError: ExitCode.DESTINATION,
    errors.MissingContent: ExitCode.INCOMPLETE,
    errors.BundleIncomplete: ExitCode.INCOMPLETE,
    errors.JobBusy: ExitCode.INCOMPLETE,
    errors.BundleRefused: ExitCode.POLICY,
}


def receipt(*failed: FailedFile) -> Receipt:
    return Receipt(
        spec=RepoSpec("org/name"),
        commit_hash=COMMIT,
        path=Path("snapshot"),
        files=2,
        size=10,
        bytes_fetched=5,
        bytes_reused=5,
        endpoints=("https://origin.example",),
        retries=0,
        seconds=1.0,
        failed=failed,
    )


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_each_exit_code_has_a_meaning_of_one_line(code: ExitCode) -> None:
    assert code.meaning
    assert "\n" not in code.meaning
    assert not code.meaning.endswith(".")


def test_exit_codes_are_those_that_are_documented() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0, "BUG": 1, "USAGE": 2, "INCOMPLETE": 3, "INTEGRITY": 4, "HUB": 5,
        "ENGINE": 6, "DESTINATION": 7, "POLICY": 8, "INTERRUPTED": 130,
    }  # fmt: skip
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_each_error_has_its_familys_exit_code_and_a_hint_of_one_line(
    kind: type[HfariaError],
) -> None:
    bases = [base for base in EXIT_CODES if issubclass(kind, base)]
    assert kind.exit_code is (EXIT_CODES[bases[0]] if bases else ExitCode.BUG)
    assert len(bases) == (kind is not HfariaError)
    hint = kind.hint or "none"
    assert "\n" not in hint
    assert not hint.endswith(".")
    assert kind.__doc__


@pytest.mark.parametrize("kind", [each for each in TREE if each is not PreflightFailed])
def test_the_message_is_what_is_printed(kind: type[HfariaError]) -> None:
    error = kind("`a` is not b")
    assert str(error) == error.message == "`a` is not b"
    assert error.hint == kind.hint


def test_a_hint_at_the_raise_wins_over_the_classs_own() -> None:
    error = StoreError("no", hint="try this")
    assert error.hint == "try this"
    assert StoreError.hint != "try this"


def test_a_failed_preflight_carries_every_problem() -> None:
    error = PreflightFailed("2 problems", ("one", "two"), hint="fix both")
    assert error.problems == ("one", "two")
    assert error.exit_code is ExitCode.DESTINATION
    assert error.hint == "fix both"


def test_a_partial_pull_carries_its_receipt_and_says_rerun() -> None:
    done = receipt()
    assert done.is_complete
    part = receipt(FailedFile("a", "connection lost"))
    assert not part.is_complete
    error = PartialPull("1 of 2 files are missing", part)
    assert error.receipt is part
    assert error.exit_code is ExitCode.INCOMPLETE
    assert error.hint is not None
    assert "rerun" in error.hint


def test_wrong_bytes_are_an_integrity_error() -> None:
    error = CorruptPull("no", receipt(FailedFile("a", "wrong bytes", is_integrity=True)))
    assert error.exit_code is ExitCode.INTEGRITY
    assert isinstance(error, PartialPull)
