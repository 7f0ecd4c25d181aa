"""What came of each repo of a set so far, and the one view over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules.manifest import title_of
from hfaria.rules.preload import RepoOutcome, RepoState
from hfaria.rules.progress import Progress, join
from hfaria.rules.receipt import PartialPull

if TYPE_CHECKING:
    from hfaria.errors import HfariaError
    from hfaria.report.reporter import Reporter
    from hfaria.rules.receipt import Receipt
    from hfaria.rules.spec import RepoSpec


@dataclass(slots=True)
class Tally:
    """Outcomes by repo, progress by name, and bytes over all."""

    reporter: Reporter
    outcomes: dict[RepoSpec, RepoOutcome] = field(default_factory=dict)
    bytes_fetched: int = 0
    _progress: dict[str, Progress] = field(default_factory=dict)

    @property
    def listed(self) -> int:
        """How many repos got as far as being listed."""
        return len(self._progress)

    def note(self, spec: RepoSpec, progress: Progress) -> None:
        """Take in a moment of one repo."""
        self._progress[title_of(spec)] = progress

    def note_end(self, state: RepoState, receipt: Receipt) -> None:
        """Take in that a repo is complete."""
        spec = receipt.spec
        self.outcomes[spec] = RepoOutcome(spec, state, receipt)
        self.note(spec, Progress(receipt.files, receipt.files, receipt.size, receipt.size, 0))

    def note_failure(self, spec: RepoSpec, error: HfariaError) -> None:
        """Take in that a repo is not complete, and say it."""
        if isinstance(error, PartialPull):
            outcome = RepoOutcome(spec, RepoState.INCOMPLETE, error.receipt, error)
        else:
            outcome = RepoOutcome(spec, RepoState.FAILED, None, error)
        self.outcomes[spec] = outcome
        self.reporter.note(f"{title_of(spec)}: {error.message}")

    def show(self) -> None:
        """Show the moment of all repos together."""
        done = sum(1 for each in self.outcomes.values() if each.is_complete)
        self.reporter.show(join(self._progress, repos_done=done))
