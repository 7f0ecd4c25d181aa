"""Which names are refused everywhere, on Windows, and on a stick."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from hfaria.bundle.importer.errors import shown
from hfaria.bundle.importer.format import COMMIT, CONTROL, bag_name, in_place_path

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_PLACE_PATH_MOST = 240  # characters below the stick's root: Windows stops at 260 with the drive
PATH_MOST_BYTES = 1024
SEGMENT_MOST_BYTES = 255
_UNFIT_FOR_REF = re.compile(r'[\x00-\x20\x7f-\x9f\\:*?"<>|~^\[\ud800-\udfff\u2028\u2029]')
_WINDOWS_CHARACTERS = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [name + digit for name in ("com", "lpt") for digit in "0123456789\u00b9\u00b2\u00b3"]
)


def path_problem(path: str) -> str | None:
    """Return why a repo path is refused on every system, or None."""
    segments = path.split("/")
    if "\\" in path or CONTROL.search(path):
        return "it holds a backslash, a control character or half a surrogate pair"
    if any(segment in ("", ".", "..") for segment in segments):
        return "it has an empty, `.` or `..` segment"
    if any(segment[1:2] == ":" for segment in segments):
        return "it names a drive"
    if len(path.encode("utf-8")) > PATH_MOST_BYTES:
        return f"it is longer than {PATH_MOST_BYTES} bytes"
    if any(len(segment.encode("utf-8")) > SEGMENT_MOST_BYTES for segment in segments):
        return f"a name in it is longer than {SEGMENT_MOST_BYTES} bytes"
    return None


def portable_problem(path: str) -> str | None:
    """Return why exFAT, FAT32 or Windows could not hold a path under its own name, or None."""
    for segment in path.split("/"):
        if _WINDOWS_CHARACTERS.search(segment):
            return f"{shown(segment)} holds a character that Windows forbids"
        if segment[-1:] in (".", " "):
            return f"{shown(segment)} ends in a dot or space"
        if segment.split(".")[0].rstrip(" ").lower() in _WINDOWS_DEVICES:
            return f"{shown(segment)} is a Windows device name"
        if unicodedata.normalize("NFC", segment) != segment:
            return f"{shown(segment)} is not in Unicode's composed form"
        if len(segment.encode("utf-16-le")) > 2 * SEGMENT_MOST_BYTES:
            return f"{shown(segment)} is too long"
    return None


def folded(path: str) -> str:
    """Return what two paths share when a filesystem that ignores case can't tell them apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def collision(paths: Iterator[str] | list[str]) -> tuple[str, str] | None:
    """Return two of the paths that a filesystem that ignores case would make one, or None.

    Folders count, too: `A/x` beside `a/y` would be one folder.
    """
    seen: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            prefix = "/".join(parts[:end])
            other = seen.setdefault(folded(prefix), prefix)
            if other != prefix:
                return other, prefix
    return None


def in_place_problem(path: str, folder: str) -> str | None:
    """Return why a file can't lie in place on a stick, or None; collisions are for the caller."""
    problem = path_problem(path) or portable_problem(path)
    if problem:
        return problem
    # hfb-xxxxxxxx-sNN/ stands before it, and a commit in it.
    length = len(bag_name("0" * 8, 1)) + 1 + len(in_place_path(folder, "0" * 40, path))
    if length > IN_PLACE_PATH_MOST:
        return f"its path on the stick has {length} characters, more than {IN_PLACE_PATH_MOST}"
    return None


def ref_problem(name: str) -> str | None:
    """Return why a ref's name is refused, or None (git's rules, and those of a cache)."""
    segments = name.split("/")
    if path_problem(name) or _UNFIT_FOR_REF.search(name) or len(name.encode("utf-8")) > 200:
        return "it is not a name that git allows"
    if any(segment.startswith(".") or segment.endswith((".", ".lock")) for segment in segments):
        return "a segment starts with a dot or ends in `.` or `.lock`"
    if COMMIT.fullmatch(name):
        return "it looks like a commit"
    return portable_problem(name)
