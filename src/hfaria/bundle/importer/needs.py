"""Ask for pieces again: the file that goes back to the connected side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hfaria.bundle.importer.canonical import (
    Fields,
    canonical,
    check_format,
    matched,
    parse_canonical,
)
from hfaria.bundle.importer.errors import malformed, shown
from hfaria.bundle.importer.format import SHA256
from hfaria.bundle.importer.values import Bundle, files_of

if TYPE_CHECKING:
    from collections.abc import Collection

NEEDS_FORMAT = "hfaria-needs/1"


def needs_name(set_id: str) -> str:
    """Return the name of the file that asks for pieces again."""
    return f"needs-{set_id[:8]}.json"


class Needs(NamedTuple):
    """needs-<set>.json: the pieces that an import still wants, for `hfaria bundle repair`."""

    set_id: str
    piece_size: int
    pieces: dict[str, tuple[int, ...]]


def needs_document(bundle: Bundle, pieces: dict[str, set[int]]) -> bytes:
    """Return the file that asks for these pieces again."""
    listed = [[sha256, sorted(numbers)] for sha256, numbers in sorted(pieces.items())]
    return canonical(
        {
            "format": NEEDS_FORMAT,
            "set_id": bundle.set_id,
            "piece_size": bundle.piece_size,
            "pieces": listed,
        }
    )


def parse_needs(content: bytes) -> Needs:
    """Read the file that `needs_document` makes; it comes from another machine."""
    document = parse_canonical(content.strip(), "the needs file")
    check_format(document, NEEDS_FORMAT, "the needs file")
    fields = Fields(document, "the needs file", "format set_id piece_size pieces")
    pieces: dict[str, tuple[int, ...]] = {}
    for row in fields.items("pieces"):
        if type(row) is not list or [type(value) for value in row] != [str, list]:
            raise malformed("the needs file: a row is not [sha256, pieces]")
        if any(type(number) is not int for number in row[1]):
            raise malformed("the needs file: a piece has no number")
        pieces[matched(SHA256, row[0], "an object")] = tuple(sorted(set(row[1])))
    return Needs(fields.text("set_id", SHA256), fields.take("piece_size", int), pieces)


def runs(numbers: Collection[int]) -> list[tuple[int, int]]:
    """Return neighbouring numbers as first and last."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def describe_pieces(bundle: Bundle, bad: dict[str, set[int]]) -> list[str]:
    """Name bad pieces by file and range of bytes."""
    names = {file.sha256: file.path for repo in bundle.repos for file in files_of(repo)}
    lines = []
    for sha256, numbers in sorted(bad.items()):
        size, name = bundle.objects[sha256].size, shown(names[sha256])[1:-1]
        for first, last in runs(numbers):
            end = max(min((last + 1) * bundle.piece_size, size) - 1, 0)
            lines.append(f"{name}, bytes {first * bundle.piece_size}-{end}")
    return lines
