"""What several endpoints' words about one repo are worth: who is behind, who contradicts whom."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import InconsistentListing
from hfaria.rules.sizes import count, format_seconds
from hfaria.rules.transfers import Holdings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.listing import Listing, RemoteFile
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.words import Candidate, Head


class Stale(enum.Enum):
    """What the user wants done about a first endpoint that is behind; the default is none of them.

    ``ACCEPT``: its commit, and nobody else is asked. ``ORIGIN``: the origin's commit, or none.
    ``FAIL``: end.
    """

    ACCEPT = "accept"
    ORIGIN = "origin"
    FAIL = "fail"


class ListingTrust(enum.Enum):
    """What a listing is worth, the most trusted first; the value is how a receipt says it."""

    STORED = "stored"
    """Kept here by an earlier pull."""
    ORIGIN = "origin"
    AGREED = "agreed"
    """Two endpoints list the same."""
    MIRROR = "mirror"
    """One endpoint's word alone."""


# --- which commit ----------------------------------------------------------------------------


def newest(candidates: Sequence[Candidate], origin: Endpoint) -> Candidate:
    """Return who has the newest commit: the origin if it answers, else by the last change.

    Where times are missing or equal, the first in order counts.
    """
    best = candidates[0]
    for candidate in candidates:
        if candidate.endpoint == origin:
            return candidate
        ours, theirs = best.head.last_modified, candidate.head.last_modified
        if ours is not None and theirs is not None and theirs > ours:
            best = candidate
    return best


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A commit in a repo's history, as the Hub lists it."""

    commit_hash: str
    made_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far an endpoint is behind; what is not known is None.

    ``is_unrelated``: its commit is not among the newest one's ancestors.
    """

    commits: int | None = None
    seconds: float | None = None
    is_unrelated: bool = False

    def __str__(self) -> str:
        parts = [] if self.commits is None else [count(self.commits, "commit")]
        if self.seconds is not None and self.seconds > 0:
            parts.append(format_seconds(self.seconds))
        if self.is_unrelated:
            return "at a commit that is not in the history of"
        if len(parts) == 2:  # noqa: PLR2004 - both are known
            return f"{parts[0]} ({parts[1]}) behind"
        return f"{parts[0]} behind" if parts else "at another commit than"


def measure_lag(
    behind: Head, ahead: Head, history: Sequence[HistoryEntry], *, is_whole: bool
) -> Lag:
    """Compare two heads by the history of the newer one, newest first; ``is_whole``: to its start.

    Without a history, the last changes that the endpoints name tell the time.
    """
    seconds = _seconds_between(behind.last_modified, ahead.last_modified)
    for number, entry in enumerate(history):
        if entry.commit_hash == behind.commit_hash:
            by_history = _seconds_between(entry.made_at, history[0].made_at)
            return Lag(number, by_history if by_history is not None else seconds)
    return Lag(None, seconds, is_unrelated=is_whole and bool(history))


def _seconds_between(earlier: datetime | None, later: datetime | None) -> float | None:
    if earlier is None or later is None:
        return None
    return (later - earlier).total_seconds()


# --- which listing ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """How another endpoint's listing of the same commit differs from ours, by path."""

    altered: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def compare(ours: Listing, other: Listing) -> Comparison:
    """Compare two listings of one commit: sizes and digests, and which paths there are."""
    mine = {file.path: _identity(file) for file in ours.files}
    theirs = {file.path: _identity(file) for file in other.files}
    return Comparison(
        altered=tuple(p for p, known in mine.items() if p in theirs and theirs[p] != known),
        missing=tuple(path for path in mine if path not in theirs),
        extra=tuple(path for path in theirs if path not in mine),
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """The listing that counts, whose it is, and what it is worth.

    ``lacking`` tells how many of its files each other endpoint's listing leaves out.
    """

    endpoint: Endpoint
    listing: Listing
    trust: ListingTrust
    lacking: tuple[tuple[Endpoint, Listing, int], ...] = ()


def settle(listings: Sequence[tuple[Endpoint, Listing]], origin: Endpoint) -> Settled:
    """Decide which of several listings of one commit counts; raises `InconsistentListing`.

    Some mirrors drop files by keyword or size: a listing that merely lacks entries is less than
    the other's, no contradiction. Anything else that differs is one. A listing of the origin has
    the last word, so an entry that it does not have was put in by somebody.
    """
    ordered = sorted(listings, key=lambda each: each[0] != origin)
    endpoint, listing = ordered[0]
    trust = ListingTrust.ORIGIN if endpoint == origin else ListingTrust.MIRROR
    lacking: list[tuple[Endpoint, Listing, int]] = []
    for other_endpoint, other in ordered[1:]:
        found = compare(listing, other)
        path = next(iter((*found.altered, *(found.extra if endpoint == origin else ()))), None)
        if path is None and found.missing and found.extra:
            path = found.extra[0]
        if path is not None:
            raise _contradiction((endpoint, listing), (other_endpoint, other), path)
        if found.extra:  # the first one lacks them
            lacking.append((endpoint, listing, len(found.extra)))
            endpoint, listing = other_endpoint, other
        elif found.missing:
            lacking.append((other_endpoint, other, len(found.missing)))
        elif trust is ListingTrust.MIRROR:
            trust = ListingTrust.AGREED
    return Settled(endpoint, listing, trust, tuple(lacking))


def _contradiction(
    ours: tuple[Endpoint, Listing], other: tuple[Endpoint, Listing], path: str
) -> InconsistentListing:
    said = " and ".join(_said(endpoint, listing, path) for endpoint, listing in (ours, other))
    return InconsistentListing(
        f"two endpoints disagree about commit {ours[1].commit_hash[:12]}: `{path}` is {said}",
        hint="one of the two listings was altered or damaged; leave its endpoint out",
    )


def _said(endpoint: Endpoint, listing: Listing, path: str) -> str:
    file = next((file for file in listing.files if file.path == path), None)
    if file is None:
        return f"absent at {endpoint.host}"
    return f"{file.blob_name[:12]} ({file.size} bytes) at {endpoint.host}"


def _identity(file: RemoteFile) -> tuple[int, str, str | None]:
    return file.size, file.git_oid, file.sha256


# --- which bytes -----------------------------------------------------------------------------


def holdings_at(spec: RepoSpec, theirs: Listing, wanted: Listing) -> Holdings:
    """Return which contents of ``wanted`` an endpoint has at the commit that it lists itself."""
    names = {file.blob_name for file in wanted.files}
    paths: dict[str, str] = {}
    for file in theirs.files:
        if file.blob_name in names:
            paths.setdefault(file.blob_name, spec.resolve_path(theirs.commit_hash, file.path))
    return Holdings(paths)
