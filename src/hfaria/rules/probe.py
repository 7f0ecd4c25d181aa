"""What one endpoint was found to be, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules.standing import Standing

if TYPE_CHECKING:
    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.words import Head

SHORTEST_SAMPLE = 1 << 16
LONG_ENOUGH_SECONDS = 1.0
"""A rate is told of so many bytes, or after so long: the first packets say little."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of the largest file, fetched to see how that goes; sizes in bytes.

    ``url_path`` is where the endpoint has it. ``blob_name`` names the content, and ``digest`` what
    came of it, once all that was asked for had come: equal contents have equal samples.
    """

    path: str
    size: int
    blob_name: str
    url_path: str
    received: int = 0
    seconds: float = 0.0
    digest: str | None = None

    @property
    def rate(self) -> float | None:
        """Bytes a second, if there was enough to tell."""
        if self.received < SHORTEST_SAMPLE and self.seconds < LONG_ENOUGH_SECONDS:
            return None
        if self.received == 0:
            return None
        return self.received / max(self.seconds, 1e-4)


@dataclass(frozen=True, slots=True)
class Probe:
    """One endpoint, asked about one repo. None is what could not be found out.

    ``problem`` is why it can't serve the repo, and ``remedy`` what may help. ``location_host`` is
    where it sends for bytes, None if they are its own. ``keeps_listings``: its listings go on at
    itself, and not at another host. ``rate_limits`` are the headers, by the kind of request.
    ``files`` are those of the listing's first page. ``held`` counts, for a source of bytes that is
    no Hub, the LFS files that it has, and those of the listing.
    """

    endpoint: Endpoint
    is_origin: bool
    problem: str | None = None
    remedy: str | None = None
    is_reachable: bool = False
    latency_seconds: float | None = None
    head: Head | None = None
    standing: Standing = field(default_factory=Standing)
    needs_login: bool | None = None
    keeps_listings: bool | None = None
    sample: Sample | None = None
    honours_ranges: bool | None = None
    location_host: str | None = None
    rate_limits: tuple[tuple[str, str], ...] = ()
    files: tuple[RemoteFile, ...] = field(default=(), repr=False)
    held: tuple[int, int] | None = None

    @property
    def can_serve(self) -> bool:
        """Whether a pull of the repo can get its listing and bytes here."""
        return self.problem is None

    @property
    def accepts_anonymous(self) -> bool | None:
        """Whether it serves the repo to somebody without a token."""
        if self.needs_login is None:
            return None
        return self.can_serve if not self.needs_login else False

    @property
    def rate(self) -> float | None:
        """Bytes a second of the sample, if there was enough of it."""
        return None if self.sample is None else self.sample.rate
