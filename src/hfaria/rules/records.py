"""Records of what was verified: enough to tell an unchanged file without reading it.

A record is a line of JSON, since lines can be appended by several at once, and a line that a kill
tore is told from a whole one. Two kinds of change go unnoticed by size, time of modification and
inode: bits that rot on the disk, and a writer who sets the time back. Hashing all finds them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MARK_SPACING = 4 << 20
"""Bytes from one mark to the next: what one damaged byte costs to fetch."""
MARK_LENGTH = 32
"""Hex digits that are kept of each: 128 bits say where to look, the whole digest decides."""
_HEXADECIMAL = re.compile(r"[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class FileState:
    """What the filesystem tells about a file without reading it."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Record:
    """A file that had the digest it is named by, when its state was as it says.

    ``place`` is relative to the repo's folder. ``marks`` are digests of all bytes up to each
    multiple of `MARK_SPACING`.
    """

    place: str
    blob_name: str
    state: FileState
    verified_at: float
    marks: tuple[str, ...] = ()

    def is_about(self, blob_name: str, state: FileState) -> bool:
        """Tell whether it vouches for a file in this state."""
        return self.blob_name == blob_name and self.state == state


def serialize(record: Record) -> str:
    """Return the record's line."""
    state = record.state
    return (
        json.dumps(
            {
                "place": record.place,
                "blob": record.blob_name,
                "size": state.size,
                "mtime_ns": state.mtime_ns,
                "inode": state.inode,
                "verified_at": round(record.verified_at, 3),
                "marks": "".join(record.marks),
            },
            separators=(",", ":"),
        )
        + "\n"
    )


def parse(text: str) -> dict[str, Record]:
    """Return the newest record of each place; lines that are none are passed over."""
    found = (_parse_line(line) for line in text.splitlines())
    return {record.place: record for record in found if record is not None}


def marks_by_blob(records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    """Return the marks of each content of which some are known."""
    return {record.blob_name: record.marks for record in records if record.marks}


def first_wrong(known: Sequence[str], found: Sequence[str]) -> int:
    """Return the number of the first piece whose mark differs: all before it are right."""
    for number, (ours, theirs) in enumerate(zip(known, found, strict=False)):
        if ours != theirs:
            return number
    return min(len(known), len(found))


def _parse_line(line: str) -> Record | None:
    try:
        value: Any = json.loads(line)
        place, blob_name, marks = value["place"], value["blob"], value["marks"]
        state = FileState(int(value["size"]), int(value["mtime_ns"]), int(value["inode"]))
        verified_at = float(value["verified_at"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    texts = place, blob_name, marks
    if not all(isinstance(text, str) for text in texts) or not _HEXADECIMAL.fullmatch(marks):
        return None
    cut = tuple(marks[at : at + MARK_LENGTH] for at in range(0, len(marks), MARK_LENGTH))
    if len(cut) > state.size // MARK_SPACING or any(len(mark) != MARK_LENGTH for mark in cut):
        return None
    return Record(place, blob_name, state, verified_at, cut)
