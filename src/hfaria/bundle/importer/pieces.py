"""Copy a content piece by piece from the sticks that hold it."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import sys
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import piece_count
from hfaria.bundle.importer.reading import BadPiece, StickGone
from hfaria.bundle.importer.values import Range, expected_piece

if TYPE_CHECKING:
    from hfaria.bundle.importer.bags import Bag
    from hfaria.bundle.importer.partials import Partial
    from hfaria.bundle.importer.work import Import, Want

if sys.platform != "win32":
    import fcntl


def offers_of(work: Import, want: Want) -> dict[int, list[tuple[Bag, Range]]]:
    """Return who has each piece."""
    offers: dict[int, list[tuple[Bag, Range]]] = {}
    for bag, held in work.sources[want.sha256]:
        first = held.offset // work.bundle.piece_size
        for number in range(first, first + piece_count(held.length, work.bundle.piece_size)):
            offers.setdefault(number, []).append((bag, held))
    return offers


def share_blocks(work: Import, partial: Partial, want: Want) -> None:
    """Let the filesystem share the bytes where it can; they are hashed all the same."""
    if sys.platform == "win32" or work.options.mode != "auto" or any(partial.held):
        return
    for bag, held in work.sources[want.sha256]:
        if not work.is_beside(bag) or held.length == 0:
            continue
        arguments = (held.start, held.length, held.offset)
        with contextlib.suppress(OSError, BundleError):
            # FICLONERANGE (ioctl_ficlonerange(2)): source, its start, length, where to
            request = struct.pack("qQQQ", bag.open(held.path).fileno(), *arguments)
            fcntl.ioctl(partial.file.fileno(), 0x4020940D, request)
            first = held.offset // partial.piece_size
            for number in range(first, first + piece_count(held.length, partial.piece_size)):
                partial.held[number] = 1


def copy_pieces(
    work: Import, partial: Partial, want: Want, offers: dict[int, list[tuple[Bag, Range]]]
) -> Any:
    """Copy the pieces that are not held; return the digest of all, if it could run along.

    If all of it is at hand, one digest of the whole does, and pieces are looked at only when
    it is wrong. Otherwise, and in the second try, each piece is checked on its way.
    """
    missing = [number for number in range(partial.count) if not partial.held[number]]
    if len(missing) == partial.count and all(number in offers for number in missing):
        digest = hashlib.sha256()
        is_read = all(
            _copy_piece(work, partial, number, offers[number], digest) for number in missing
        )
        if is_read and digest.hexdigest() == want.sha256:
            return digest
        if not work.is_over():
            drop_wrong(work, partial, want, offers)
    bad = {
        number
        for number in missing
        if not (partial.held[number] or number not in offers or work.is_over())
        and not _copy_piece(work, partial, number, offers[number], None)
    }
    if bad:
        work.bad.setdefault(want.sha256, set()).update(bad)
    if work.is_over():
        # What failed last failed because the stick was on its way out.
        work.bad.pop(want.sha256, None)
    return None


def _copy_piece(
    work: Import, partial: Partial, number: int, offers: list[tuple[Bag, Range]], digest: Any
) -> bool:
    """Copy one piece: into the digest of the whole, or, without one, checked by its own."""
    for bag, held in offers[: None if digest is None else 1]:
        expected = expected_piece(held, number, partial.piece_size)
        running = hashlib.sha256() if digest is None else digest
        position, _ = partial.bounds(number)
        following = partial.held.find(1, number)
        stop = partial.count if following < 0 else following
        try:
            for view in bag.read_piece(held, number, partial.piece_size, stop=stop):
                running.update(view)
                partial.write(position, view)
                position += len(view)
                work.console.step(len(view))
        except BadPiece:
            continue
        except StickGone as exc:
            work.gone = (bag, str(exc))
            return False
        if digest is not None or expected in (None, running.hexdigest()):
            partial.hold(number)
            return True
    return False


def drop_wrong(
    work: Import, partial: Partial, want: Want, offers: dict[int, list[tuple[Bag, Range]]]
) -> None:
    """Drop what was copied unchecked and is wrong; all of it if nobody can say what."""
    wrong, unknown = [], []
    for number in range(partial.count):
        if partial.held[number]:
            piece = hashlib.sha256()
            partial.feed([piece], number)
            expected = {
                expected_piece(held, number, partial.piece_size)
                for _, held in offers.get(number, [])
            } - {None}
            if not expected:
                unknown.append(number)
            elif piece.hexdigest() not in expected:
                wrong.append(number)
    if not wrong and partial.is_full:
        wrong = unknown or list(range(partial.count))
        work.bad.setdefault(want.sha256, set()).update(wrong)
    partial.drop(wrong)
