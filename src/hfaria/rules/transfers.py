"""The scheduler's vocabulary: routes and locations, events in, commands out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.failures import Failure
    from hfaria.rules.plan import Transfer


@dataclass(frozen=True, slots=True, eq=False)
class Holdings:
    """Which blobs an endpoint has, and the path below the endpoint at which each is asked for.

    For an endpoint that is behind, or has its own API. Compared by identity: it can be large.
    """

    paths: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint to ask for bytes.

    ``is_private``: the bytes are refused without the token. ``is_fallback``: used only where the
    others fail, never beside them. ``connections`` caps those to it, over all transfers.
    ``holdings`` of None: it is taken to have every file at the plan's commit. ``down`` is why it
    could not be asked when the pull began, which the user was told.
    """

    endpoint: Endpoint
    is_private: bool = False
    is_fallback: bool = False
    connections: int | None = None
    holdings: Holdings | None = None
    down: Failure | None = None

    def has(self, blob_name: str) -> bool:
        """Tell whether the blob can be asked for here."""
        return self.holdings is None or blob_name in self.holdings.paths


@dataclass(frozen=True, slots=True)
class Location:
    """Where the bytes of a blob really come from.

    ``needs_token``: only a request with the token gets them, so the engine can't fetch it.
    ``is_signed``: the URL may expire and then has to be asked for again.
    """

    url: str
    needs_token: bool = False
    is_signed: bool = False


# --- events ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Located:
    """The route's endpoint said where the bytes are."""

    blob_name: str
    route: Route
    location: Location


@dataclass(frozen=True, slots=True)
class NotLocated:
    """The route's endpoint did not say where the bytes are."""

    blob_name: str
    route: Route
    failure: Failure


@dataclass(frozen=True, slots=True)
class Progressed:
    """So many bytes are held now, those that an earlier run brought among them.

    ``connections`` are open for it now, and ``hosts`` those that send its bytes; None where that
    is not known. ``is_queued``: the daemon lets it wait for others, which may be the user's own.
    ``share`` is what a rate limit leaves it, in bytes a second.
    """

    blob_name: str
    held_bytes: int
    connections: int | None = None
    hosts: frozenset[str] | None = None
    is_queued: bool = False
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """All bytes are said to be here; nothing is verified."""

    blob_name: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt ended without the bytes."""

    blob_name: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The engine let go of a transfer, as it was told to."""

    blob_name: str


@dataclass(frozen=True, slots=True)
class Published:
    """Verified and visible."""

    blob_name: str


@dataclass(frozen=True, slots=True)
class Mismatched:
    """The digest is wrong.

    ``was_salvaged``: blocks that were taken on trust have been dropped. ``can_be_mended``: the
    bytes have the right number, so that comparing them with others' makes sense.
    """

    blob_name: str
    detail: str
    was_salvaged: bool
    can_be_mended: bool = True


@dataclass(frozen=True, slots=True)
class Mended:
    """Another source's bytes were compared with what failed verification, and replaced it.

    ``replaced`` are the ranges that differed; none, and the two sources agree on wrong bytes.
    """

    blob_name: str
    replaced: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """An answer told how many more requests the route's endpoint takes until it counts anew."""

    route: Route
    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Reachable:
    """A connection to the route's endpoint succeeded, after none did."""

    route: Route


@dataclass(frozen=True, slots=True)
class EngineDied:
    """The daemon is gone; what it moved stays where it is."""

    detail: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One more transfer: a copy on this disk turned out to be no good."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time went by."""


Event: TypeAlias = (
    Located
    | NotLocated
    | Progressed
    | Arrived
    | Failed
    | Cancelled
    | Published
    | Mismatched
    | Mended
    | Allowed
    | Reachable
    | EngineDied
    | Wanted
    | Ticked
)


# --- commands --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Locate:
    """Ask the route's endpoint where the bytes are; answered by `Located` or `NotLocated`.

    ``silence_seconds``: how long to wait for the answer.
    """

    transfer: Transfer
    route: Route
    silence_seconds: float = field(default=30.0, compare=False)


@dataclass(frozen=True, slots=True)
class Move:
    """Give a blob to the engine; answered by `Progressed`, `Arrived` or `Failed`.

    With ``connections`` to each host; ``sources`` counts the hosts that may come to serve it.
    """

    transfer: Transfer
    route: Route
    location: Location
    connections: int = 8
    sources: int = 1


@dataclass(frozen=True, slots=True)
class AddSource:
    """Let the engine take bytes of a transfer that is moving from here, too; not answered."""

    transfer: Transfer
    route: Route
    location: Location


@dataclass(frozen=True, slots=True)
class Mend:
    """Compare what failed verification with this source and take what differs from it.

    Begins with what is most suspect and ends as soon as the digest is right; answered by
    `Progressed`, and by `Mended` or `Failed`.
    """

    transfer: Transfer
    route: Route
    location: Location | None
    silence_seconds: float = field(default=30.0, compare=False)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Quarantine what failed verification; not answered."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Watch:
    """Try to connect to the route's endpoint now and then; answered by `Reachable`, once.

    Not before ``after_seconds`` have gone by.
    """

    route: Route
    after_seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the user what changed, in one line."""

    message: str


@dataclass(frozen=True, slots=True)
class MoveDirect:
    """Fetch a blob with our own client; answered like `Move`.

    Without a location the route's endpoint is asked, and its redirect followed. It fails when
    nothing came for ``silence_seconds``.
    """

    transfer: Transfer
    route: Route
    location: Location | None
    silence_seconds: float = field(default=30.0, compare=False)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Take the transfer from the engine, keeping its partial; answered by `Cancelled`."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Discard:
    """Delete the transfer's partial; not answered."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Check:
    """Verify and publish; answered by `Published`, or by `Mismatched` and the bytes left alone."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class RestartEngine:
    """Start a new daemon; not answered."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This transfer has ended without success."""

    transfer: Transfer
    failure: Failure


@dataclass(frozen=True, slots=True)
class Stop:
    """The whole pull can't go on: the disk refuses, or no engine stays alive."""

    failure: Failure | None
    detail: str


Command: TypeAlias = (
    Locate
    | Move
    | AddSource
    | MoveDirect
    | Mend
    | SetAside
    | Watch
    | Say
    | Cancel
    | Discard
    | Check
    | RestartEngine
    | GiveUp
    | Stop
)
