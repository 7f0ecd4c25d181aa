"""What a preload did: a receipt over several repos, and the error that carries one."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import ExitCode, HfariaError
from hfaria.rules.sizes import count

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.rules.receipt import Receipt
    from hfaria.rules.spec import RepoSpec


class RepoState(enum.Enum):
    """How a repo's part of a preload ended."""

    PRESENT = "present"
    """Nothing was to be done."""
    FETCHED = "fetched"
    """Made complete, from the network or from this disk."""
    INCOMPLETE = "incomplete"
    """Some files could not be had."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RepoOutcome:
    """One repo's part: a receipt, an error, or both where some files could not be had."""

    spec: RepoSpec
    state: RepoState
    receipt: Receipt | None = None
    error: HfariaError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether everything that was wanted of the repo is in place, verified."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class PreloadReceipt:
    """What was done for each repo, the most urgent first.

    ``digest`` is the one over all of them, by which two machines prove that they hold the same;
    None unless everything is in place.
    """

    manifest: Path
    lock: Path
    repos: tuple[RepoOutcome, ...]
    digest: str | None
    bytes_fetched: int
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether every repo is."""
        return all(repo.is_complete for repo in self.repos)

    @property
    def changed(self) -> bool:
        """Whether anything was done to the destination."""
        return any(repo.state is not RepoState.PRESENT for repo in self.repos)

    @property
    def files(self) -> int:
        """Selected files of all repos that got as far as being listed."""
        return sum(repo.receipt.files for repo in self.repos if repo.receipt is not None)

    @property
    def size(self) -> int:
        """Bytes of these files; what two repos share is counted for both."""
        return sum(repo.receipt.size for repo in self.repos if repo.receipt is not None)


class IncompletePreload(HfariaError):
    """Some repos are not in place; those that are stay, and what arrived is kept.

    Its exit code is the repos' own where all that failed agree; else 4 if one of them met bytes or
    a listing that are not what was promised; else 3.
    """

    exit_code = ExitCode.INCOMPLETE
    hint = "rerun the same command: it does what is left, and nothing that is done"

    def __init__(self, receipt: PreloadReceipt) -> None:
        failed = [repo for repo in receipt.repos if not repo.is_complete]
        verb = "is" if len(failed) == 1 else "are"
        of = count(len(receipt.repos), "repo")
        super().__init__(f"{len(failed)} of {of} {verb} not in place")
        self.receipt = receipt
        codes = {repo.error.exit_code for repo in failed if repo.error is not None}
        if len(codes) == 1:
            self.exit_code = codes.pop()
        elif ExitCode.INTEGRITY in codes:
            self.exit_code = ExitCode.INTEGRITY
