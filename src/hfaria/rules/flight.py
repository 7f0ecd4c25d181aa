"""One transfer on its way, as the scheduler keeps it in mind."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfaria.rules.failures import Failure
    from hfaria.rules.plan import Transfer
    from hfaria.rules.transfers import Location, Progressed


_LAST_BYTES = 2 * 2**20
_SPARED_BYTES = 2**20
"""What a rate limit may take from one transfer in favour of others before that is a stall: the
engine shares out unevenly."""


class Phase(enum.Enum):
    """Where a flight is: locating → located → moving → checking; from any of them to waiting."""

    LOCATING = enum.auto()
    LOCATED = enum.auto()
    MOVING = enum.auto()
    CANCELLING = enum.auto()
    CHECKING = enum.auto()
    WAITING = enum.auto()


@dataclass(slots=True)
class Source:
    """A host that the engine takes bytes of a transfer from, and when it was last seen to."""

    host: str
    seen_at: float


@dataclass(slots=True)
class Flight:
    """A transfer that is past pending. Routes are named by their index.

    ``excluded``: routes that said a final no.
    ``avoided``: until when another route is preferred. ``served``: who brought the bytes that are
    staged. ``sources``: whom the engine has; ``asking``: whom it may get next.
    """

    transfer: Transfer
    is_large: bool
    ready_at: float
    stall_seconds: float
    has_begun: bool = False
    """Whether it was with a mover, and did not have to wait since."""
    phase: Phase = Phase.WAITING
    route: int = 0
    location: Location | None = None
    located_at: float = 0.0
    known: tuple[int, Location] | None = None
    """Where a route led before its connections broke: it may lead there still."""
    has_own_client: bool = False
    is_mending: bool = False
    excluded: set[int] = field(default_factory=set)
    wrong_at: dict[int, int] = field(default_factory=dict)
    """How often the bytes of a route were wrong; those of a mixture are nobody's."""
    served: set[int] = field(default_factory=set)
    avoided: dict[int, float] = field(default_factory=dict)
    failures_at: dict[int, int] = field(default_factory=dict)
    stalls_at: dict[int, int] = field(default_factory=dict)
    """How often bytes of a route stopped; bytes in between don't make up for that."""
    useless_at: dict[int, int] = field(default_factory=dict)
    """How often in a row a route answered, but not with the file."""
    last_failures: dict[int, Failure] = field(default_factory=dict)
    lone_failures: int = 0
    """Failures in a row, without a byte in between, while others got on."""
    failed_at: float = 0.0
    refused_at: dict[int, int] = field(default_factory=dict)
    """How often fresh signed URLs of a route were refused."""
    mismatches: int = 0
    is_unmixed: bool = False
    """Whether its bytes have to come from one route alone, since a mixture was wrong."""
    connections: int = 0
    sources: dict[int, Source] = field(default_factory=dict)
    asking: set[int] = field(default_factory=set)
    ask_again_at: dict[int, float] = field(default_factory=dict)
    switch_to: tuple[int, Location] | None = None
    held_bytes: int = -1
    most_held_bytes: int | None = None
    has_moved: bool = False
    """Whether this attempt brought bytes that were never held before."""
    was_connected: bool = False
    hung_up_at: float | None = None
    queued_since: float | None = None
    """Since when the daemon lets it wait for others."""
    slack_seconds: float = 0.0
    """How much longer it may be silent since a rate limit holds."""
    began_at: float = 0.0
    moved_at: float = 0.0
    stalled_at: float = 0.0
    checked_at: float = 0.0
    reuses: int = 0
    waits_for: tuple[int, Failure] | None = None
    after_cancel: Failure | None = None

    @property
    def missing_bytes(self) -> int:
        """Bytes that are not held yet, as far as is known."""
        held = self.held_bytes if self.held_bytes >= 0 else self.most_held_bytes
        return self.transfer.size - (held or 0)

    @property
    def lacks_little(self) -> bool:
        """Whether the last bytes of a large one are missing: too few to fill a line."""
        return self.is_large and self.missing_bytes <= _LAST_BYTES

    @property
    def liars(self) -> set[int]:
        """Routes whose bytes were wrong."""
        return set(self.wrong_at)

    @property
    def keeps_place(self) -> bool:
        """Whether nobody else may take its place in the window, though it doesn't move now."""
        is_between = self.phase in {Phase.WAITING, Phase.LOCATING, Phase.LOCATED}
        return self.has_begun and is_between

    def note_progress(self, event: Progressed, now: float) -> bool:
        """Take in what is held now; return whether it is more than ever before.

        Only that is progress: a server that breaks off at the same place each time, or an engine
        that reads its control file late, would be tried for ever.
        """
        self.slack_seconds = 0.0 if event.share is None else _SPARED_BYTES / max(1.0, event.share)
        if event.is_queued or self.queued_since is not None:
            self.moved_at = now  # the clock for its first byte starts when it has left the queue
        self.queued_since = (self.queued_since or now) if event.is_queued else None
        if event.connections:
            self.was_connected = True
            self.hung_up_at = None
        elif event.connections == 0 and self.was_connected and self.hung_up_at is None:
            self.hung_up_at = now
        held = event.held_bytes
        if held == self.held_bytes:
            return False
        self.held_bytes = held
        self.moved_at = now
        if self.most_held_bytes is None:  # what an earlier run or attempt brought
            self.most_held_bytes = held
        elif held > self.most_held_bytes:
            self.most_held_bytes = held
            self.has_moved = True
            if not self.is_mending:
                self.served |= {self.route, *self.sources}
            return True
        return False

    def take_route(self, index: int, *, is_back: bool) -> None:
        """Go by a route; one that just came back is tried where it led to before, unasked."""
        if self.route != index:
            self.location = None
        if self.location is None and is_back and self.known is not None:
            at, location = self.known
            self.known = None
            self.location = location if at == index else None
        self.route = index

    def leave_location(self, failure: Failure | None) -> None:
        """Ask for another location; the old one is kept in mind if only the line broke."""
        if failure is not None and not failure.reason.is_of_the_line:
            self.known = None
        elif self.location is not None:
            self.known = self.route, self.location
        self.location = None

    def leave_engine(self) -> None:
        """Forget what was true of this attempt alone."""
        self.sources.clear()
        self.switch_to = None
        self.after_cancel = None
        self.hung_up_at = self.queued_since = None
        self.slack_seconds = 0.0
        self.was_connected = False
        self.held_bytes = -1
        self.has_moved = False

    def got_on(self) -> None:
        """Bytes that were never held before: what failed until now counts no more."""
        self.lone_failures = 0
        self.refused_at.clear()
        self.failures_at.clear()
        self.avoided.clear()
