"""Several repos over one line: each in a lane, the next one as soon as there is room for it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.cache.pull_lock import hold_pull_lock
from hfaria.rules.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.engine.mover import Mover
    from hfaria.report.naming import NamingReporter
    from hfaria.rules.plan import Plan
    from hfaria.rules.receipt import Receipt
    from hfaria.rules.spec import RepoSpec
    from hfaria.workflows.bandwidth import Bandwidth
    from hfaria.workflows.catalogue import Catalogue
    from hfaria.workflows.repo_pull import RepoPull
    from hfaria.workflows.transfer import TransferRun

MOST_LANES = 3
"""Repos begun at once: one that moves bytes, the others verifying, or waiting for their source."""
_STUCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A repo whose listing is known and whose plan is made, by the cache as it was then."""

    name: str
    pull: RepoPull
    reporter: NamingReporter
    catalogue: Catalogue
    plan: Plan

    @property
    def spec(self) -> RepoSpec:
        """The repo, as the manifest names it."""
        return self.pull.request.spec

    def progress(self) -> Progress:
        """Return the moment before anything moved."""
        plan = self.plan
        missing = {each.blob_name for each in plan.transfers}
        missing |= {each.blob_name for each, _ in plan.reused}
        files = sum(1 for file in plan.to_link if file.blob_name in missing)
        return Progress(len(plan.files) - files, len(plan.files), plan.bytes_reused, plan.size, 0)


@dataclass(slots=True)
class Fleet:
    """The movers of all lanes, held to one rate together."""

    _movers: list[Mover] = field(default_factory=list)
    _limit: int | None = None
    _busy: tuple[bool, ...] = ()

    @property
    def is_busy(self) -> bool:
        """Whether any of them has something to move."""
        return any(mover.is_busy for mover in self._movers)

    def add(self, mover: Mover) -> None:
        """Hold one more to the rate."""
        self._movers.append(mover)
        self.divide()

    def remove(self, mover: Mover) -> None:
        """Leave its part to the others."""
        self._movers.remove(mover)
        self.divide()

    def limit_rate(self, bytes_per_second: int | None) -> None:
        """Hold all of them together to a rate; None is no limit."""
        self._limit = bytes_per_second
        self._busy = ()
        self.divide()

    def divide(self) -> None:
        """Give each that has something to move its part, if that changed."""
        busy = tuple(mover.is_busy for mover in self._movers)
        if busy == self._busy:
            return
        self._busy = busy
        part = None if self._limit is None else max(1, self._limit // max(1, sum(busy)))
        for mover in self._movers:
            mover.limit_rate(part)


class Lane:
    """One repo's transfers, from their begin under the repo's lock to the ref that is moved."""

    def __init__(self, prepared: Prepared, fleet: Fleet, bandwidth: Bandwidth) -> None:
        self.prepared = prepared
        pull = prepared.pull
        pull.begin_clock()
        with ExitStack() as stack:
            stack.enter_context(hold_pull_lock(pull.store))
            self._plan = pull.plan(prepared.catalogue)  # another repo may share what it fetched

            self.found_it_done = pull.is_in_place(self._plan)
            """Whether another process did all of it meanwhile."""

            def share(mover: Mover) -> Bandwidth:
                fleet.add(mover)
                stack.callback(fleet.remove, mover)
                return bandwidth

            inner = stack.enter_context(ExitStack())
            transfers = pull.transfers(self._plan, prepared.catalogue, share)
            self.run: TransferRun = inner.enter_context(transfers)
            inner.callback(self.run.close)
            self.run.begin()
            self._inner = inner
            self._stack = stack.pop_all()

    @property
    def folder(self) -> str:
        """The repo's folder, which two lanes can't share."""
        return self.prepared.spec.folder_name

    def is_stuck(self, now: float) -> bool:
        """Tell whether it has been waiting for its source for so long that others should not."""
        since = self.run.waits_since
        return since is not None and now - since > _STUCK_SECONDS

    def end(self) -> Receipt:
        """Let the ref name the commit; raises `PartialPull` if files could not be had."""
        with self._stack:
            self._inner.close()
            pull, outcome = self.prepared.pull, self.run.outcome()
            return pull.finish(self._plan, self.prepared.catalogue, outcome)

    def abandon(self) -> None:
        """Put everything away, because of the error that is being handled."""
        self._stack.__exit__(*sys.exc_info())


def next_to_begin(todo: Sequence[Prepared], lanes: Sequence[Lane], now: float) -> Prepared | None:
    """Return the repo whose transfers can begin now, if any may: the most urgent that can.

    A content that a lane still fetches is waited for, as it will lie in the cache; but not if that
    lane has been stuck for long.
    """
    if len(lanes) >= MOST_LANES or not all(lane.run.leaves_room for lane in lanes):
        return None
    folders = {lane.folder for lane in lanes}
    underway = {name for lane in lanes if not lane.is_stuck(now) for name in lane.run.unfinished}
    for prepared in todo:
        wanted = {each.blob_name for each in prepared.plan.transfers}
        is_free = prepared.spec.folder_name not in folders
        if is_free and wanted.isdisjoint(underway):
            return prepared
    return None
