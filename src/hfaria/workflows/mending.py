"""Mend the wrong blobs of one repo: set aside, put right from a source, verified, published."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.cache import records
from hfaria.cache.digest import file_digest
from hfaria.cache.files import store_errors
from hfaria.hub.locate import locate
from hfaria.hub.mend import Source
from hfaria.hub.patch import Patching, patch
from hfaria.hub.wrong_file import WrongFile
from hfaria.rules.control_file import merge
from hfaria.rules.failures import Failure
from hfaria.rules.plan import Transfer
from hfaria.rules.progress import Progress, RateMeter
from hfaria.rules.records import MARK_SPACING, marks_by_blob
from hfaria.rules.repairs import SMALLEST_MENDED, Mended, WrongBlob
from hfaria.rules.sizes import count, format_range, format_size
from hfaria.rules.suspicion import order_of_suspicion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hfaria.cache.hub_cache import HubCache
    from hfaria.hub.client import HubClient
    from hfaria.report.reporter import Reporter
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.transfers import Route

_SHOW_SECONDS = 0.2


@dataclass(slots=True)
class Mender:
    """Mends blobs of one repo. The caller holds its pull lock."""

    spec: RepoSpec
    store: HubCache
    client: HubClient
    reporter: Reporter
    _marks: dict[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._marks = marks_by_blob(records.load(self.store.workspace).values())

    def waiting(self) -> frozenset[str]:
        """Return the names of blobs that a run that was cut left half mended."""
        try:
            return frozenset(os.listdir(self.store.workspace.mending))  # noqa: PTH208 - names
        except OSError:
            return frozenset()

    def set_aside(self, blob: WrongBlob) -> Path:
        """Move wrong bytes to where no reader looks, and return where they are now.

        Entries stay, and lead nowhere meanwhile: a reader gets an error instead of wrong bytes.
        """
        aside = self.store.workspace.mending / blob.blob_name
        if blob.place is None:
            return aside
        source = self.store.layout.repo / blob.place
        with store_errors("setting aside"):
            aside.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink() or source.stat().st_nlink > 1:
                # Others hold the same file: what is changed must be a file of our own.
                shutil.copyfile(source, aside)
                source.unlink()
            else:
                os.replace(source, aside)  # noqa: PTH105 - the atomic one, by its name
        return aside

    def tidy(self) -> None:
        """Remove folders of which nothing is left."""
        for folder in (self.store.workspace.mending, self.store.workspace.staging):
            with suppress(OSError):
                folder.rmdir()

    def mend(self, blob: WrongBlob, aside: Path, routes: Iterable[Route]) -> Mended | None:
        """Put right and publish what is set aside; None if it has to be fetched anew."""
        if blob.size < SMALLEST_MENDED or abs(aside.stat().st_size - blob.size) > blob.size // 4:
            return None
        file = blob.files[0][1][0]
        transfer = Transfer(blob.blob_name, blob.size, file.path, is_lfs=file.sha256 is not None)
        ranges: list[tuple[int, int]] = []
        fetched = 0
        for route, source in self._sources(blob, transfer, routes):
            done = self._once(blob, aside, source)
            ranges += done.replaced
            fetched += done.bytes_fetched
            if done.is_right:
                self._publish(blob, aside)
                return Mended(file.path, merge(ranges), fetched, route.endpoint.host)
            self.reporter.note(f"`{file.path}` at {route.endpoint.host}: {done.failure}")
        return None

    def _sources(
        self, blob: WrongBlob, transfer: Transfer, routes: Iterable[Route]
    ) -> Iterator[tuple[Route, Source]]:
        commit_hash = blob.files[0][0]
        for route in routes:
            if not route.has(blob.blob_name):
                continue
            location = locate(self.client, self.spec, commit_hash, transfer, route)
            if isinstance(location, Failure):
                self.reporter.note(f"`{transfer.path}` at {route.endpoint.host}: {location}")
            else:
                yield route, Source(location.url, route.endpoint)

    def _once(self, blob: WrongBlob, aside: Path, source: Source) -> Patching:
        marks = self._marks.get(blob.blob_name, ())
        host = source.endpoint.host
        if len(marks) == blob.size // MARK_SPACING:
            self.reporter.note(f"`{blob.label}`: fetching from {host} what its marks call wrong")
            return patch(
                self.client,
                source,
                aside,
                blob_name=blob.blob_name,
                size=blob.size,
                marks=marks,
                on_bytes=self._shower(blob),
            )
        self.reporter.note(
            f"`{blob.label}`: nothing tells where it is wrong; comparing it with {host}'s "
            f"{format_size(blob.size)}"
        )
        return self._compare(blob, aside, source)

    def _compare(self, blob: WrongBlob, aside: Path, source: Source) -> Patching:
        """Search by comparing: what differs first ends it, and the digest decides."""
        if aside.stat().st_size != blob.size:
            with store_errors("lengthening"), aside.open("r+b") as file:
                file.truncate(blob.size)
        wrong = WrongFile(
            aside,
            blob.size,
            order_of_suspicion(blob.size, ()),
            is_right=lambda: file_digest(aside, blob_name=blob.blob_name) == blob.blob_name,
        )
        show = self._shower(blob)
        done = wrong.compare(self.client, source, on_bytes=lambda held: show(held, held))
        return Patching(done.is_right, done.replaced, wrong.bytes_compared, done.failure)

    def _publish(self, blob: WrongBlob, aside: Path) -> None:
        marks: list[str] = []
        if file_digest(aside, blob_name=blob.blob_name, marks=marks) != blob.blob_name:
            raise AssertionError(f"{aside} was right and is not any more")
        (commit_hash, files), *others = blob.files
        self.store.publish(aside, files, commit_hash, replace=True, marks=marks)
        for other_commit, same in others:
            self.store.link(same, other_commit)

    def _shower(self, blob: WrongBlob) -> _Shower:
        return _Shower(self.reporter, blob.size)


class _Shower:
    """Shows how far the mending of one blob has got."""

    def __init__(self, reporter: Reporter, size: int) -> None:
        self._reporter = reporter
        self._size = size
        self._rate = RateMeter()
        self._next_at = 0.0

    def __call__(self, held: int, fetched: int) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _SHOW_SECONDS
            rate = self._rate.add(now, fetched)
            self._reporter.show(Progress(0, 1, min(held, self._size), self._size, rate))


def describe(mended: Mended) -> str:
    """Say what was wrong and what it took."""
    shown = ", ".join(format_range(start, end) for start, end in mended.ranges[:3])
    more = len(mended.ranges) - 3
    where = shown + (f" and {count(more, 'range')} more" if more > 0 else "")
    return (
        f"`{mended.path}`: {where or 'its length'} put right with "
        f"{format_size(mended.bytes_fetched)} from {mended.source}"
    )
