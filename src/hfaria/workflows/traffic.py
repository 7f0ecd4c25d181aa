"""The loop over the lanes: begin each repo when there is room, and see it to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.errors import AlreadyRunning, HfariaError
from hfaria.rules.preload import RepoState
from hfaria.workflows.bandwidth import Bandwidth
from hfaria.workflows.lanes import Fleet, Lane, Prepared, next_to_begin

if TYPE_CHECKING:
    from hfaria.hub.client import HubClient
    from hfaria.hub.limits import Allowance
    from hfaria.report.reporter import Reporter
    from hfaria.rules.endpoints import Endpoint
    from hfaria.settings import Settings
    from hfaria.workflows.tally import Tally

_LONGEST_WAIT_SECONDS = 0.2
_SHARED_WAIT_SECONDS = 0.02
_HELD_SECONDS = 1.0


@dataclass(slots=True)
class Traffic:
    """Carries out the repos of ``todo``, which is emptied; what comes of them is in the tally."""

    todo: list[Prepared]
    tally: Tally
    settings: Settings
    client: HubClient
    reporter: Reporter
    _lanes: list[Lane] = field(init=False, default_factory=list)
    _fleet: Fleet = field(init=False, default_factory=Fleet)
    _bandwidth: Bandwidth = field(init=False)
    _held_since: dict[str, float] = field(init=False, default_factory=dict)
    _held_until: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        schedule = self.settings.rate_schedule
        self._bandwidth = Bandwidth(schedule, self._fleet, self.client.pace, self.reporter)

    def run(self) -> None:
        """Do it; whatever ends it early lets every lane save its state."""
        self.client.on_allowance = self._allow
        try:
            while self.todo or self._lanes:
                self._begin_next()
                self._fleet.divide()
                is_alone = len(self._lanes) == 1
                wait = _LONGEST_WAIT_SECONDS if is_alone else _SHARED_WAIT_SECONDS
                self._lanes = [lane for lane in self._lanes if not self._is_over(lane, wait)]
                self.tally.show()
        finally:
            for lane in self._lanes:
                lane.abandon()

    def _allow(self, endpoint: Endpoint, allowance: Allowance) -> None:
        for lane in tuple(self._lanes):
            lane.run.allow(endpoint, allowance)

    def _begin_next(self) -> None:
        now = time.monotonic()
        ready = [each for each in self.todo if self._held_until.get(each.name, now) <= now]
        upcoming = next_to_begin(ready, self._lanes, now)
        if upcoming is not None:
            self.todo.remove(upcoming)
            self._begin(upcoming)
        elif not self._lanes:
            time.sleep(_LONGEST_WAIT_SECONDS)  # others fetch all that is left

    def _begin(self, prepared: Prepared) -> None:
        """Open a lane for a repo; one that another process fetches is tried again later."""
        try:
            self._lanes.append(Lane(prepared, self._fleet, self._bandwidth))
        except AlreadyRunning as exc:
            now = time.monotonic()
            if prepared.name not in self._held_since:
                prepared.reporter.note("another pull is fetching it; waiting for its end")
            since = self._held_since.setdefault(prepared.name, now)
            if now - since > self.settings.patience_seconds:
                self.tally.note_failure(prepared.spec, exc)
            else:
                self._held_until[prepared.name] = now + _HELD_SECONDS
                self.todo.append(prepared)
        except HfariaError as exc:
            self.tally.note_failure(prepared.spec, exc)

    def _is_over(self, lane: Lane, wait: float) -> bool:
        """Do one turn of a lane; if it was the last one, note how it ended."""
        prepared = lane.prepared
        try:
            is_over = lane.run.step(longest_wait=wait)
        except HfariaError as exc:
            lane.abandon()
            self.tally.bytes_fetched += lane.run.outcome().bytes_fetched
            self.tally.note_failure(prepared.spec, exc)
            return True
        if prepared.reporter.progress is not None:
            self.tally.note(prepared.spec, prepared.reporter.progress)
        if not is_over:
            return False
        self.tally.bytes_fetched += lane.run.outcome().bytes_fetched
        try:
            receipt = lane.end()
        except HfariaError as exc:
            self.tally.note_failure(prepared.spec, exc)
            return True
        self.tally.note_end(RepoState.PRESENT if lane.found_it_done else RepoState.FETCHED, receipt)
        return True
