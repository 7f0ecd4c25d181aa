"""Make a partial safe to hand to aria2, and save what a killed engine fetched.

aria2 takes a file without control file for complete, dies of a malformed control file, and believes
every other. So nothing is added before `prepare_partial` has looked at both.
"""

from __future__ import annotations

import enum
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfaria.engine.extents import data_extents, holes_are_reported, surely_written
from hfaria.engine.partial_record import (
    PartialRecord,
    current_boot_id,
    read_record,
    replace_bytes,
    write_record,
)
from hfaria.errors import StoreError
from hfaria.rules.control_file import (
    ControlFile,
    MalformedControlFile,
    Range,
    added_ranges,
    covered,
    merge,
    parse_control_file,
    subtract,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "PartialAction",
    "PartialState",
    "backup_control",
    "companions",
    "control_path",
    "current_boot_id",
    "discard",
    "drop_salvaged",
    "forget",
    "held_ranges",
    "prepare_partial",
    "quarantine",
]

# A blob name is 40 or 64 hex digits: no suffix with a dot can be mistaken for one.
_CONTROL = ".aria2"
_CONTROL_STAGED = ".aria2__temp"  # aria2's own; one is left when it is killed while saving
_BACKUP = ".aria2-backup"
_RECORD = ".record"
_STAGED = ".new"


class PartialAction(enum.Enum):
    """What `prepare_partial` did."""

    FRESH = "fresh"
    RESUMED = "resumed"
    RESTORED_BACKUP = "restored backup"
    SALVAGED_ALL = "salvaged all"
    """No control file was good; one was made from what the filesystem knows."""
    DISCARDED = "discarded"
    COMPLETE_UNVERIFIED = "complete, unverified"
    """Right size and no control file: verify it, and on a mismatch call `drop_salvaged`, else
    `discard`. It must not be handed to aria2."""


@dataclass(frozen=True, slots=True)
class PartialState:
    """A partial that is safe to hand to aria2 (unless it is complete)."""

    action: PartialAction
    held_bytes: int = 0
    salvaged: tuple[Range, ...] = ()
    reason: str = ""
    """Why bytes were dropped or doubted; empty when nothing was."""

    @property
    def salvaged_bytes(self) -> int:
        """Bytes that the control file didn't know of."""
        return covered(self.salvaged)


def control_path(path: Path) -> Path:
    """Return where aria2 keeps the control file of ``path``."""
    return path.with_name(path.name + _CONTROL)


def companions(path: Path) -> tuple[Path, ...]:
    """Return every file that may stand beside the partial ``path`` on its account."""
    suffixes = (_CONTROL, _CONTROL_STAGED, _BACKUP, _RECORD)
    staged = tuple(suffix + _STAGED for suffix in (_CONTROL, _BACKUP, _RECORD))
    return tuple(path.with_name(path.name + suffix) for suffix in suffixes + staged)


def prepare_partial(
    path: Path, expected_size: int, *, boot_id: str | None, salvage: bool = True
) -> PartialState:
    """Make ``path`` and its control file agree with each other and with the disk.

    Call this right before each add, with no engine at work on ``path``. ``boot_id`` is
    `current_boot_id`'s; with None nothing is salvaged. Salvaging is optimistic: the digest decides,
    and `drop_salvaged` takes it back.
    """
    with _translated(path):
        _unlink(path.with_name(path.name + _CONTROL_STAGED))
        try:
            status = path.lstat()
        except FileNotFoundError:
            return _start_fresh(path, expected_size, boot_id, reason="")
        if not stat.S_ISREG(status.st_mode):
            return _start_fresh(path, expected_size, boot_id, reason="it is not a regular file")
        if status.st_size > expected_size:
            return _start_fresh(path, expected_size, boot_id, reason="it is longer than promised")
        return _Examination(path, expected_size, status.st_size, boot_id, salvage).settle()


def held_ranges(path: Path) -> tuple[Range, ...]:
    """Return which bytes the control file of a prepared partial claims."""
    with _translated(path):
        control = _parse(_read(control_path(path)))
    return () if control is None else control.held_ranges()


def backup_control(path: Path) -> bool:
    """Keep a copy of the control file, if it is good and tells no less than the last copy.

    A stale control file costs bytes, never correctness; a cut one costs everything.
    """
    with _translated(path):
        content = _read(control_path(path))
        control = _parse(content)
        if content is None or control is None:
            return False
        backup = _backup_path(path)
        last = _parse(_read(backup))
        if (
            last is not None
            and last.total_length == control.total_length
            and last.completed_length() > control.completed_length()
        ):
            return False
        replace_bytes(backup, content)
        return True


def drop_salvaged(path: Path) -> int:
    """Take back what was salvaged, after a digest mismatch; return the bytes to be fetched again.

    What was fetched since stays. 0 says that nothing was salvaged: the mismatch has another cause.
    Works on an unfinished partial, and on a finished one, whose control file aria2 has removed.
    """
    with _translated(path):
        record = read_record(_record_path(path))
        if record is None or not record.salvaged:
            return 0
        control = _parse(_read(control_path(path)))
        if control is None:
            if not path.is_file() or path.stat().st_size != record.size:
                return 0
            control = ControlFile.full(record.size)
        rest = control.without_ranges(record.salvaged)
        # In this order: dying in between leaves a control file that claims too little.
        _unlink(_backup_path(path))
        replace_bytes(control_path(path), rest.serialize())
        untrusted = merge([*record.untrusted, *record.salvaged])
        write_record(_record_path(path), replace(record, salvaged=(), untrusted=untrusted))
        return control.completed_length() - rest.completed_length()


def discard(path: Path) -> None:
    """Delete the partial and everything that stands beside it."""
    with _translated(path):
        # The partial first: one without control file would be taken for complete.
        _unlink(path)
        forget(path)


def forget(path: Path) -> None:
    """Delete what stands beside the partial; call it once the partial is published or gone."""
    with _translated(path):
        for companion in companions(path):
            _unlink(companion)


def quarantine(path: Path, into: Path) -> Path:
    """Move the partial into the folder ``into``, on the same filesystem; forget the rest."""
    with _translated(path):
        into.mkdir(parents=True, exist_ok=True)
        target = into / path.name
        os.replace(path, target)  # noqa: PTH105 - the one move, named as the system names it
        forget(path)
        return target


@dataclass(frozen=True, slots=True)
class _Examination:
    """One look at a partial that exists and is not too long."""

    path: Path
    expected_size: int
    actual_size: int
    boot_id: str | None
    salvage: bool

    def settle(self) -> PartialState:
        sees_holes = holes_are_reported(self.path.parent)
        extents = data_extents(self.path) if sees_holes else ((0, self.actual_size),)
        content = _read(control_path(self.path))
        control, action = self._good(content), PartialAction.RESUMED
        if (
            content is None
            and self.actual_size == self.expected_size
            and extents == ((0, self.expected_size),)
        ):
            return PartialState(PartialAction.COMPLETE_UNVERIFIED, self.expected_size)
        reason = ""
        if control is None:
            reason = "its control file is missing or malformed"
            control = self._good(_read(_backup_path(self.path)))
            action = PartialAction.RESTORED_BACKUP
        record = self._trusted_record() if sees_holes else None
        if control is None and record is not None:
            control = ControlFile.empty(self.expected_size)
            action = PartialAction.SALVAGED_ALL
        if control is None:
            return self._start_fresh(reason)

        # After a power loss the control file may be ahead of the data.
        there = control.without_ranges(subtract([(0, self.expected_size)], extents))
        if there != control:
            reason = "its control file claims bytes that the file lacks"
        salvaged = self._salvageable(there, extents, record)
        result = there.with_blocks(salvaged)
        if not result.completed_length():
            return self._start_fresh(reason)
        self._write_record(result, extents, record, salvaged)
        if content is None or result.serialize() != content:
            replace_bytes(control_path(self.path), result.serialize())
        return PartialState(action, result.completed_length(), salvaged, reason)

    def _good(self, content: bytes | None) -> ControlFile | None:
        control = _parse(content)
        return control if control and control.total_length == self.expected_size else None

    def _trusted_record(self) -> PartialRecord | None:
        """Return the record, if everything written since it was begun is still in the file."""
        record = read_record(_record_path(self.path))
        if record is None or not self.salvage or record.size != self.expected_size:
            return None
        return record if self.boot_id and record.boot_id == self.boot_id else None

    def _salvageable(
        self, control: ControlFile, extents: tuple[Range, ...], record: PartialRecord | None
    ) -> tuple[Range, ...]:
        if record is None or extents == ((0, self.expected_size),):
            return ()  # the second: preallocated, so what is written can't be told
        candidates = control.with_ranges(subtract(extents, record.untrusted))
        starts = frozenset(start for start, _ in control.held_ranges())

        def may_end_short(end: int) -> bool:
            return end != self.expected_size and (end % control.piece_length == 0 or end in starts)

        added = added_ranges(control, candidates)
        return surely_written(self.path, added, may_end_short=may_end_short)

    def _write_record(
        self,
        control: ControlFile,
        extents: tuple[Range, ...],
        trusted: PartialRecord | None,
        salvaged: tuple[Range, ...],
    ) -> None:
        if self.boot_id is None:
            return
        last = trusted or read_record(_record_path(self.path))
        if last is not None and last.size != self.expected_size:
            last = None
        known = last.salvaged if last else ()
        if last is not None and last.boot_id == self.boot_id:
            untrusted = last.untrusted
        else:  # what is written but not claimed may be a hole that a power loss filled with zeros
            untrusted = subtract(extents, control.held_ranges())
        record = PartialRecord(
            self.boot_id, self.expected_size, merge([*known, *salvaged]), untrusted
        )
        write_record(_record_path(self.path), record)

    def _start_fresh(self, reason: str) -> PartialState:
        return _start_fresh(
            self.path, self.expected_size, self.boot_id, reason=reason or "it holds nothing"
        )


def _start_fresh(
    path: Path, expected_size: int, boot_id: str | None, *, reason: str
) -> PartialState:
    discard(path)
    if boot_id is not None and expected_size:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(_record_path(path), PartialRecord(boot_id, expected_size))
    return PartialState(PartialAction.DISCARDED if reason else PartialAction.FRESH, reason=reason)


def _backup_path(path: Path) -> Path:
    return path.with_name(path.name + _BACKUP)


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + _RECORD)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _parse(content: bytes | None) -> ControlFile | None:
    try:
        return None if content is None else parse_control_file(content)
    except MalformedControlFile:
        return None


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the filesystem's refusals into the one error that users meet."""
    try:
        yield
    except OSError as exc:
        raise StoreError(f"`{path}` can't be prepared: {exc.strerror or exc}") from exc
