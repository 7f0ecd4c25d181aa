"""The scheduler's vocabulary: routes and locations, events in, commands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.failures import Failure
    from hfaria.rules.plan import Transfer


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint to ask for bytes; ``is_private``: the bytes are refused without the token."""

    endpoint: Endpoint
    is_private: bool = False


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
    """The endpoint said where the bytes are."""

    blob_name: str
    location: Location


@dataclass(frozen=True, slots=True)
class NotLocated:
    """The endpoint did not say where the bytes are."""

    blob_name: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Progressed:
    """So many bytes are held now; not counting bytes that salvage or an earlier run brought."""

    blob_name: str
    held_bytes: int


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
    """The digest is wrong. ``was_salvaged``: blocks that were taken on trust have been dropped."""

    blob_name: str
    detail: str
    was_salvaged: bool


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
    | EngineDied
    | Wanted
    | Ticked
)


# --- commands --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Locate:
    """Ask the route's endpoint where the bytes are; answered by `Located` or `NotLocated`."""

    transfer: Transfer
    route: Route


@dataclass(frozen=True, slots=True)
class Move:
    """Give a blob to the engine; answered by `Progressed`, `Arrived` or `Failed`."""

    transfer: Transfer
    route: Route
    location: Location


@dataclass(frozen=True, slots=True)
class MoveDirect:
    """Fetch a blob with our own client; answered like `Move`.

    Without a location the route's endpoint is asked, and its redirect followed.
    """

    transfer: Transfer
    route: Route
    location: Location | None


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
    """Verify and publish; answered by `Published` or `Mismatched`."""

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
    Locate | Move | MoveDirect | Cancel | Discard | Check | RestartEngine | GiveUp | Stop
)
