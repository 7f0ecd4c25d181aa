"""The receipt: what a pull did, and the errors that carry one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import ExitCode, HfariaError
from hfaria.rules.staleness import ListingTrust

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.rules.spec import RepoSpec


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that is not in place, with the reason in a few words."""

    path: str
    reason: str
    is_integrity: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """How long nothing moved, for one reason, in all."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the transfers."""

    failed: tuple[FailedFile, ...]
    bytes_fetched: int
    retries: int
    endpoints: tuple[str, ...]
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a pull did; ``bytes_fetched`` counts what came over the network in this run."""

    spec: RepoSpec
    commit_hash: str
    path: Path
    files: int
    size: int
    bytes_fetched: int
    bytes_reused: int
    endpoints: tuple[str, ...]
    retries: int
    seconds: float
    failed: tuple[FailedFile, ...] = ()
    waits: tuple[Wait, ...] = ()
    """What nothing moved for, the longest first."""
    listing_trust: ListingTrust = ListingTrust.STORED
    listing_endpoint: str | None = None
    """Who listed the repo in this run."""

    @property
    def is_complete(self) -> bool:
        """Whether every selected file is in place, verified."""
        return not self.failed


class PartialPull(HfariaError):
    """Some files are not in place; everything that arrived is kept, and the ref did not move.

    ``receipt`` says what was done and which files failed, with the reasons.
    """

    exit_code = ExitCode.INCOMPLETE
    hint = "rerun the same command to resume; what is verified is not fetched again"

    def __init__(self, message: str, receipt: Receipt, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.receipt = receipt


class CorruptPull(PartialPull):
    """Some files stayed wrong however often they were fetched; none of it is visible."""

    exit_code = ExitCode.INTEGRITY
    hint = "nothing wrong was published; another endpoint may have the right bytes: `--endpoint`"
