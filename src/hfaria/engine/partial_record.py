"""What hfaria remembers about a partial, in a small file beside it.

The record is written whole and replaced in one move. Losing it costs bytes, never correctness.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfaria.rules.control_file import Range

_FORMAT = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class PartialRecord:
    """The facts about a partial that neither it nor its control file hold."""

    boot_id: str
    """The boot in which the engine was last let at the partial."""
    size: int
    salvaged: tuple[Range, ...] = ()
    """Blocks that were taken for held because the filesystem said so: the first to be doubted."""
    untrusted: tuple[Range, ...] = ()
    """Written ranges that must not be salvaged: of an earlier boot, or of blocks proved bad."""


def current_boot_id() -> str | None:
    """Return what names this boot of this machine; None where the system has no such name."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def read_record(path: Path) -> PartialRecord | None:
    """Read a record; None when there is none, or none that can be understood."""
    try:
        fields = json.loads(path.read_text(encoding="ascii"))
        if fields["format"] != _FORMAT:
            return None
        return PartialRecord(
            boot_id=str(fields["boot_id"]),
            size=int(fields["size"]),
            salvaged=tuple((int(start), int(end)) for start, end in fields["salvaged"]),
            untrusted=tuple((int(start), int(end)) for start, end in fields["untrusted"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):  # cut short by a power loss, or not ours
        return None


def write_record(path: Path, record: PartialRecord) -> None:
    """Write ``record`` so that a reader finds the old or the new one, whole."""
    fields = {
        "format": _FORMAT,
        "boot_id": record.boot_id,
        "size": record.size,
        "salvaged": record.salvaged,
        "untrusted": record.untrusted,
    }
    replace_bytes(path, json.dumps(fields).encode("ascii"))


def replace_bytes(path: Path, content: bytes) -> None:
    """Give ``path`` new content in one move; its folder must be ours alone."""
    staged = path.with_name(path.name + ".new")
    staged.write_bytes(content)
    os.replace(staged, path)  # noqa: PTH105 - the one move, named as the system names it
