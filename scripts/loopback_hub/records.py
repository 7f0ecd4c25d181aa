"""What every request asked and got, kept cheaply and read from any thread."""

from __future__ import annotations

import collections
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

Kind = Literal["api", "resolve", "bytes", "other"]
TokenKind = Literal["none", "good", "no-licence", "unknown"]


@dataclass(frozen=True, slots=True)
class Record:
    """One request, and what was answered.

    ``kind`` follows the URL: a mirror that serves LFS bytes itself does so under ``resolve``.
    ``bytes_sent`` counts payload bytes handed to the network, growing until the answer ends.
    ``strays`` names where a token came along that is not its header: the URL, a cookie.
    """

    time: float
    site: str
    method: str
    path: str
    kind: Kind
    repo_id: str | None
    file_path: str | None
    blob: str | None
    range: str | None
    status: int
    bytes_sent: int
    token: TokenKind
    authorization_sha256: str | None
    user_agent: str | None
    cookie: str | None
    download_counter: str | None
    peer: str
    connection: int
    strays: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def has_token(self) -> bool:
        """Whether an Authorization header came along, good or bad."""
        return self.authorization_sha256 is not None


@dataclass(slots=True)
class RecordEntry:
    """A record in the making, written by the serving thread only."""

    time: float
    site: str
    method: str
    path: str
    peer: str
    connection: int
    range: str | None = None
    token: TokenKind = "none"
    authorization_sha256: str | None = None
    user_agent: str | None = None
    cookie: str | None = None
    download_counter: str | None = None
    kind: Kind = "other"
    repo_id: str | None = None
    file_path: str | None = None
    blob: str | None = None
    status: int = 0
    bytes_sent: int = 0
    strays: tuple[str, ...] = ()
    faults: tuple[str, ...] = field(default=())

    def frozen(self) -> Record:
        """Return what is known by now."""
        return Record(
            time=self.time,
            site=self.site,
            method=self.method,
            path=self.path,
            kind=self.kind,
            repo_id=self.repo_id,
            file_path=self.file_path,
            blob=self.blob,
            range=self.range,
            status=self.status,
            bytes_sent=self.bytes_sent,
            token=self.token,
            authorization_sha256=self.authorization_sha256,
            user_agent=self.user_agent,
            cookie=self.cookie,
            download_counter=self.download_counter,
            peer=self.peer,
            connection=self.connection,
            strays=self.strays,
            faults=self.faults,
        )


class RecordQueries(ABC):
    """Questions about records, the same for a hub in this process and in another."""

    @property
    @abstractmethod
    def records(self) -> tuple[Record, ...]:
        """All records since the start or the last reset, in order of arrival."""

    def requests(
        self,
        *,
        site: str | None = None,
        kind: str | None = None,
        method: str | None = None,
        status: int | None = None,
        blob: str | None = None,
    ) -> tuple[Record, ...]:
        """Return the records that match all that is given."""
        wanted = {"site": site, "kind": kind, "method": method, "status": status, "blob": blob}
        checks = [(name, value) for name, value in wanted.items() if value is not None]
        return tuple(
            record
            for record in self.records
            if all(getattr(record, name) == value for name, value in checks)
        )

    def bytes_sent(self, *, site: str | None = None, blob: str | None = None) -> int:
        """Sum up the payload bytes sent, of listings too unless a blob is named."""
        return sum(record.bytes_sent for record in self.requests(site=site, blob=blob))

    def file_bytes_sent(self, *, site: str | None = None) -> int:
        """Sum up the bytes of files sent, listings and errors left out."""
        return sum(r.bytes_sent for r in self.requests(site=site) if r.blob is not None)

    def requests_with_token(self, site: str | None = None) -> tuple[Record, ...]:
        """Return the requests that carried an Authorization header."""
        return tuple(record for record in self.requests(site=site) if record.has_token)

    def leaks(self, *, trusted: Collection[str] = ("origin",)) -> tuple[Record, ...]:
        """Return the requests by which a token got to a site that is not trusted, or into a URL."""
        return tuple(
            record
            for record in self.records
            if record.strays or (record.has_token and record.site not in trusted)
        )

    def statuses(
        self, *, site: str | None = None, kind: str | None = None
    ) -> collections.Counter[int]:
        """Count the answers by their status; 0 is none."""
        return collections.Counter(record.status for record in self.requests(site=site, kind=kind))

    def sent_share(self, size: int) -> float:
        """Return the bytes of files that all sites sent, as a share of ``size``."""
        return self.file_bytes_sent() / size
