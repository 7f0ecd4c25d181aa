"""The plan: everything that is decided before any byte moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.spec import RepoSpec


@dataclass(frozen=True, slots=True)
class View:
    """What the destination already holds of the selected files.

    ``linked`` are paths whose published place is right; ``blobs`` names contents that are
    published here already; ``elsewhere`` says where the same content lies on this disk, in another
    repo or revision: it is not verified yet. ``partial_bytes`` is what earlier runs staged.
    """

    linked: frozenset[str] = frozenset()
    blobs: frozenset[str] = frozenset()
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    partial_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One blob to fetch; ``path`` is one of its places, for messages and for its URL."""

    blob_name: str
    size: int
    path: str
    is_lfs: bool

    @property
    def label(self) -> str:
        """What a progress line calls it."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which blobs to fetch or to copy, which paths to link, and what that costs.

    ``transfers`` are ordered: the largest first among large ones, then the small ones. Every file
    of ``files`` is in place once its blob is published and linked.
    """

    spec: RepoSpec
    commit_hash: str
    files: tuple[RemoteFile, ...]
    transfers: tuple[Transfer, ...]
    reused: tuple[tuple[Transfer, Path], ...]
    to_link: tuple[RemoteFile, ...]
    ref: str | None
    partial_bytes: int

    @property
    def size(self) -> int:
        """Bytes of the selected files, each content counted once."""
        return sum({file.blob_name: file.size for file in self.files}.values())

    @property
    def missing(self) -> tuple[Transfer, ...]:
        """Every content that is not published here yet, to be fetched or to be copied."""
        return (*self.transfers, *(transfer for transfer, _ in self.reused))

    @property
    def bytes_to_fetch(self) -> int:
        """Bytes still missing here, less what earlier runs staged."""
        return sum(transfer.size for transfer in self.transfers) - self.partial_bytes

    @property
    def bytes_reused(self) -> int:
        """Bytes that need not be fetched because this disk has them, verified or staged."""
        return self.size - self.bytes_to_fetch

    @property
    def is_complete(self) -> bool:
        """Whether every file is in place; the ref may still have to move."""
        return not (self.transfers or self.reused or self.to_link)

    @property
    def cached_paths(self) -> frozenset[str]:
        """Paths of files whose content is not fetched."""
        fetched = {transfer.blob_name for transfer in self.transfers}
        return frozenset(file.path for file in self.files if file.blob_name not in fetched)


def make_plan(
    spec: RepoSpec,
    commit_hash: str,
    files: tuple[RemoteFile, ...],
    view: View,
    *,
    ref: str | None,
    refetch: bool = False,
) -> Plan:
    """Decide which blobs to fetch and which entries to link.

    Two paths with the same content cost one transfer. With ``refetch`` nothing that is published
    counts, only what is staged.
    """
    linked: Collection[str] = frozenset() if refetch else view.linked
    blobs: Collection[str] = frozenset() if refetch else view.blobs
    elsewhere: Mapping[str, Path] = {} if refetch else view.elsewhere
    transfers: dict[str, Transfer] = {}
    reused: dict[str, tuple[Transfer, Path]] = {}
    to_link: list[RemoteFile] = []
    for file in files:
        name = file.blob_name
        if file.path in linked:
            continue
        to_link.append(file)
        if name in blobs or name in transfers or name in reused:
            continue
        transfer = Transfer(name, file.size, file.path, is_lfs=file.sha256 is not None)
        if name in elsewhere:
            reused[name] = (transfer, elsewhere[name])
        else:
            transfers[name] = transfer
    return Plan(
        spec=spec,
        commit_hash=commit_hash,
        files=files,
        transfers=tuple(_in_order(transfers.values())),
        reused=tuple(reused.values()),
        to_link=tuple(to_link),
        ref=ref,
        partial_bytes=sum(
            min(view.partial_bytes.get(name, 0), transfer.size)
            for name, transfer in transfers.items()
        ),
    )


def _in_order(transfers: Iterable[Transfer]) -> list[Transfer]:
    # Largest first keeps every connection busy until the end; ties in the listing's order.
    return sorted(transfers, key=lambda transfer: -transfer.size)
