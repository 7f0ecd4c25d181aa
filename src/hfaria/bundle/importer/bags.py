"""The sticks at hand, opened and checked."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.canonical import JSON_MOST_BYTES
from hfaria.bundle.importer.console import size_text
from hfaria.bundle.importer.errors import INCOMPLETE, USAGE, BundleError
from hfaria.bundle.importer.folders import Folder
from hfaria.bundle.importer.format import (
    BUNDLE_NAME,
    IO_SIZE,
    JOURNAL_NAME,
    MINISIGN_SUFFIX,
    SSH_SUFFIX,
    STICK_NAME,
)
from hfaria.bundle.importer.reading import (
    _GONE,
    _GONE_ON_WINDOWS,
    BadPiece,
    ReadAhead,
    StickGone,
    read_now,
    reading,
)
from hfaria.bundle.importer.signatures import (
    BAD_SIGNATURE,
    SIGNATURE_MOST_BYTES,
    UNSIGNED,
    UNSUPPORTED,
    VALID,
    WRONG_KEY,
    Signature,
    TrustedKey,
    check_minisign,
    check_ssh,
)
from hfaria.bundle.importer.stick_json import parse_stick
from hfaria.bundle.importer.unfinished import rebuild_stick

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence

    from hfaria.bundle.importer.values import Bundle, Range, Stick

_MOST_BAD_IN_A_ROW = 8


class Bag:
    """One stick's folder, opened and checked."""

    def __init__(self, root: Folder, bundle: Bundle, content: bytes, stick: Stick) -> None:
        self.root = root
        self.path = root.path.replace("\\\\?\\", "")  # as people write it
        self.bundle = bundle
        self.content = content
        self.stick = stick
        self.bytes_read = 0
        self._open: tuple[str, io.FileIO] | None = None
        self._ahead: ReadAhead | None = None
        self._bad_in_a_row = 0

    @classmethod
    def at(cls, path: str, *, is_partial: bool) -> Bag:
        """Open a stick's folder. Raises `BundleError`."""
        root = Folder.root(path, fault=USAGE)
        content = root.read(BUNDLE_NAME, JSON_MOST_BYTES)
        if content is None:
            raise BundleError("E-NOBUNDLE", USAGE, f"{path} holds no {BUNDLE_NAME}")
        bundle = parse_bundle(content)
        is_unfinished = root.status(JOURNAL_NAME) is not None
        stick_content = root.read(STICK_NAME, JSON_MOST_BYTES)
        if is_partial and (is_unfinished or stick_content is None):
            return cls(root, bundle, content, rebuild_stick(root, bundle))
        if is_unfinished:
            raise BundleError(
                "E-UNFINISHED",
                INCOMPLETE,
                f"the stick at {path} was not finished (its journal is there)",
                'finish it with "hfaria bundle create", or import what is there with --partial',
            )
        if stick_content is None:
            hint = "use --partial to import what its file names tell"
            raise BundleError("E-FORMAT", USAGE, f"{path} holds no {STICK_NAME}", hint)
        return cls(root, bundle, content, parse_stick(stick_content, bundle))

    def signature(self, keys: Sequence[TrustedKey]) -> Signature:
        """Check the signatures beside bundle.json; a bad one outweighs a good one."""
        found = []
        for suffix, check in ((SSH_SUFFIX, check_ssh), (MINISIGN_SUFFIX, check_minisign)):
            with reading(self.path):
                text = self.root.read(BUNDLE_NAME + suffix, SIGNATURE_MOST_BYTES)
            if text is not None:
                found.append(check(self.content, text, keys))
        order = (BAD_SIGNATURE, VALID, WRONG_KEY, UNSUPPORTED)
        found.sort(key=lambda signature: order.index(signature.status))
        return found[0] if found else Signature(UNSIGNED, "", "")

    def open(self, path: str) -> io.FileIO:
        """Open a payload file; the one opened last stays open."""
        if self._open is None or self._open[0] != path:
            self.close()
            names = path.split("/")
            with self.root.descend(names[:-1]) as folder:
                self._open = (path, folder.open(names[-1]))
        return self._open[1]

    def close(self) -> None:
        """Read no further, and close the file opened last."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()
        if self._open is not None:
            with contextlib.suppress(OSError):  # a stick that is gone can't even be closed
                self._open[1].close()
            self._open = None

    def read_piece(
        self, held: Range, number: int, piece_size: int, *, stop: int | None = None
    ) -> Iterator[memoryview]:
        """Yield the bytes of one piece. Raises `BadPiece` or `StickGone`.

        The pieces after it, up to number `stop`, are read ahead for the calls that ask for them.
        """
        start = number * piece_size - held.offset
        length = min(piece_size, held.length - start)
        end = start + length if stop is None else min(stop * piece_size - held.offset, held.length)
        start, end = held.start + start, held.start + end
        try:
            for view in self._views(held.path, start, length, end, piece_size):
                if not view:
                    self.close()
                    raise BadPiece("the file is shorter than it should be")
                self.bytes_read += len(view)
                yield view
        except OSError as exc:
            self.close()
            raise self._judge(exc) from exc
        self._bad_in_a_row = 0

    def _views(
        self, path: str, start: int, length: int, end: int, piece_size: int
    ) -> Iterator[memoryview]:
        """Return the bytes of a piece; an empty view is where the file ends before that."""
        if self._ahead is not None and not self._ahead.is_at(start):
            self.close()  # the file, too: a thread that hangs in a read may still move about in it
        file = self.open(path)
        if self._ahead is None:
            if end - start <= IO_SIZE:
                return read_now(file, start, length)
            self._ahead = ReadAhead(file, start, end, piece_size)
        return self._ahead.read(length)

    def _judge(self, exc: OSError) -> Exception:
        """Tell a pulled stick from a bad sector: the one fails everywhere, the other here."""
        if exc.errno in (errno.EACCES, errno.EPERM):
            what = f"{self.path} can't be read: {exc.strerror}"
            return BundleError("E-NOBUNDLE", USAGE, what, "read it as a user who may")
        is_gone = exc.errno in _GONE or getattr(exc, "winerror", None) in _GONE_ON_WINDOWS
        if not is_gone:
            try:
                with Folder.root(self.path, fault=USAGE) as root:
                    is_gone = root.status(BUNDLE_NAME) is None
            except OSError:
                is_gone = True
        if exc.errno == errno.EIO:
            self._bad_in_a_row += 1
        if is_gone or self._bad_in_a_row >= _MOST_BAD_IN_A_ROW:
            return StickGone(f"errno {exc.errno}")
        return BadPiece(exc.strerror or str(exc))

    def remove(self, path: str) -> None:
        """Delete a payload file that has been moved into the cache."""
        self.close()
        names = path.split("/")
        with contextlib.suppress(OSError), self.root.descend(names[:-1]) as folder:
            folder.unlink(names[-1])


def find_bags(paths: Sequence[str]) -> list[str]:
    """Return the folders of sticks: those named, or below a mount point that was named."""
    found = []
    for path in paths:
        if os.path.lexists(os.path.join(path, BUNDLE_NAME)):
            found.append(path)
            continue
        with reading(path):
            names = sorted(os.listdir(path))
        below = [os.path.join(path, name) for name in names if name.startswith("hfb-")]
        below = [bag for bag in below if os.path.lexists(os.path.join(bag, BUNDLE_NAME))]
        if not below:
            message = f"{path} is no bundle, and holds none"
            raise BundleError("E-NOBUNDLE", USAGE, message, "name the stick's folder, hfb-...")
        found += below
    return found


def open_bags(paths: Sequence[str], *, is_partial: bool = False) -> list[Bag]:
    """Open sticks of one set. Raises `BundleError`: E-MIXED if they are of several."""
    bags = []
    for path in find_bags(paths):
        with reading(path):
            bags.append(Bag.at(path, is_partial=is_partial))
    for bag in bags[1:]:
        if bag.content != bags[0].content:
            one, other = bag.bundle.short_id, bags[0].bundle.short_id
            message = f"the stick at {bag.path} belongs to set {one}, this import is of {other}"
            if one == other:
                message = f"the sticks at {bag.path} and {bags[0].path} differ in {BUNDLE_NAME}"
            raise BundleError("E-MIXED", USAGE, message, "name the sticks of one set")
    return bags


def sources_of(bags: Sequence[Bag]) -> dict[str, list[tuple[Bag, Range]]]:
    """Return where each content's bytes are, over all sticks at hand."""
    found: dict[str, list[tuple[Bag, Range]]] = {}
    for bag in bags:
        for held in bag.stick.ranges:
            found.setdefault(held.sha256, []).append((bag, held))
    return found


def gone_error(bag: Bag, reason: str) -> BundleError:
    """Return what to say when a medium was pulled."""
    return BundleError(
        "E-GONE",
        INCOMPLETE,
        f"the stick at {bag.path} stopped answering ({reason}) after {size_text(bag.bytes_read)}; "
        "nothing in the cache is damaged",
        "put it back and run the same command",
    )
