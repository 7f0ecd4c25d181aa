"""The journal of an unfinished stick: what is on it whole. It goes when the stick is finished."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hfaria.bundle.copying import opened_for_writing, write_all
from hfaria.bundle.importer.format import JOURNAL_NAME

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "hfaria-journal/1"


@dataclass(frozen=True, slots=True)
class HeldRange:
    """Bytes of a content in a file of the stick, from ``start`` on."""

    content: str
    offset: int
    length: int
    start: int
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is on the stick whole. ``name`` is what the plan calls it, ``path`` where it is.

    They differ for packs alone, whose path has the digest in it.
    """

    name: str
    path: str
    sha256: str
    size: int
    ranges: tuple[HeldRange, ...]


@dataclass(slots=True)
class Journal:
    """Lines of JSON; the first one says whose stick this is, the last may be torn."""

    path: Path
    set_id: str
    stick: int
    stick_uuid: str
    written: dict[str, Written] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls, bag: Path, *, set_id: str, stick: int, stick_uuid: str) -> Journal:
        """Make the journal of a new stick."""
        journal = cls(bag / JOURNAL_NAME, set_id, stick, stick_uuid)
        journal._append(
            {"format": _FORMAT, "set_id": set_id, "stick": stick, "stick_uuid": stick_uuid}
        )
        return journal

    @classmethod
    def read(cls, bag: Path) -> Journal | None:
        """Read the journal of an unfinished stick; None if there is none that can be read."""
        path = bag / JOURNAL_NAME
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError:
            return None
        documents = [_parse(line) for line in lines[:-1]]
        head = documents[0] if documents else None
        if head is None or head.get("format") != _FORMAT:
            return None
        try:
            journal = cls(path, str(head["set_id"]), int(head["stick"]), str(head["stick_uuid"]))
        except (LookupError, TypeError, ValueError):
            return None
        for document in documents[1:]:
            # What can't be read is written again.
            with suppress(LookupError, TypeError, ValueError):
                journal._take(document or {})
        if lines[-1]:  # a line that a crash tore: what follows must not be glued to it
            with opened_for_writing(path) as file:
                file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        return journal

    def add(self, *files: Written) -> None:
        """Say that files are on the stick, whole."""
        self.written.update((written.name, written) for written in files)
        self._append(
            *(
                {
                    "written": written.name,
                    "path": written.path,
                    "sha256": written.sha256,
                    "size": written.size,
                    "ranges": [
                        [held.content, held.offset, held.length, held.start, held.pieces]
                        for held in written.ranges
                    ],
                }
                for written in files
            )
        )

    def add_checked(self, name: str) -> None:
        """Say that a file was read back, and was right."""
        self.checked.add(name)
        self._append({"checked": name}, sync=False)

    def drop(self, name: str) -> None:
        """Say that a file is not right after all."""
        self.written.pop(name, None)
        self.checked.discard(name)
        self._append({"dropped": name})

    def _take(self, document: dict[str, Any]) -> None:
        if "written" in document:
            ranges = tuple(
                HeldRange(content, offset, length, start, tuple(pieces))
                for content, offset, length, start, pieces in document["ranges"]
            )
            name = document["written"]
            self.written[name] = Written(
                name, document["path"], document["sha256"], document["size"], ranges
            )
        elif "checked" in document:
            self.checked.add(document["checked"])
        elif "dropped" in document:
            self.written.pop(document["dropped"], None)
            self.checked.discard(document["dropped"])

    def _append(self, *documents: dict[str, Any], sync: bool = True) -> None:
        lines = [json.dumps(document, separators=(",", ":")) + "\n" for document in documents]
        with opened_for_writing(self.path) as file:
            file.seek(0, os.SEEK_END)
            write_all(file, "".join(lines).encode("ascii"))
            if sync:
                os.fsync(file.fileno())


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
