"""Read all that sticks hold, and compare it with the lists."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.bags import Bag, gone_error, open_bags
from hfaria.bundle.importer.canonical import JSON_MOST_BYTES
from hfaria.bundle.importer.console import Console, write_document
from hfaria.bundle.importer.errors import INTEGRITY, BundleError, shown
from hfaria.bundle.importer.format import piece_count
from hfaria.bundle.importer.inspecting import extra_files, hub_files
from hfaria.bundle.importer.needs import describe_pieces, needs_document
from hfaria.bundle.importer.policy import judge_signature
from hfaria.bundle.importer.reading import BadPiece, StickGone
from hfaria.bundle.importer.values import Range, expected_piece

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MANIFEST_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def verify_bundle(
    paths: Sequence[str],
    trust: Sequence[str],
    console: Console,
    *,
    is_required: bool = False,
    is_quick: bool = False,
    needs: str | None = None,
) -> tuple[dict[str, Any], BundleError | None]:
    """Read all that sticks hold and compare it; with `is_quick`, look at sizes alone."""
    bags = open_bags(paths)
    bundle = bags[0].bundle
    signature = judge_signature(bags, trust, console, is_required=is_required)
    bad: dict[str, set[int]] = {}
    damaged, extra = [], []
    for bag in bags:
        console.start(f"stick {bag.stick.number}", sum(held.length for held in bag.stick.ranges))
        with contextlib.closing(bag):
            for held in bag.stick.ranges:
                for number in _bad_pieces(bag, held, console, is_quick=is_quick):
                    bad.setdefault(held.sha256, set()).add(number)
        console.end()
        damaged += [f"stick {bag.stick.number}: {shown(path)}" for path in _damaged_tags(bag)]
        extra += extra_files(bag)
    console.result(
        f"set {bundle.short_id}: {len(bags)} of {bags[0].stick.of or '?'} sticks, "
        f"{sum(map(len, bad.values()))} bad pieces, {len(damaged)} damaged lists, "
        f"{len(extra)} extra files"
    )
    error = None
    if bad and needs:
        write_document(needs, needs_document(bundle, bad), console)
    if bad or damaged:
        listed = describe_pieces(bundle, bad) + damaged
        hint = "ask for these pieces again: --needs FILE, then `hfaria bundle repair`"
        error = BundleError("E-PIECE", INTEGRITY, "; ".join(listed[:6]), hint)
    elif extra:
        message = f"{len(extra)} files that no list names: {', '.join(map(shown, extra[:5]))}"
        hint = "import ignores them; find out who put them there"
        error = BundleError("E-EXTRA", INTEGRITY, message, hint)
    document = {
        "set_id": bundle.set_id,
        "signature": signature.status,
        "key": signature.key,
        "sticks": [bag.stick.number for bag in bags],
        "of": bags[0].stick.of,
        "bad": [{"sha256": key, "pieces": sorted(value)} for key, value in bad.items()],
        "damaged": damaged,
        "extra": extra,
    }
    return document, error


def _bad_pieces(bag: Bag, held: Range, console: Console, *, is_quick: bool) -> Iterator[int]:
    """Yield the pieces of a range that can't be read or have other bytes than listed."""
    piece_size = bag.bundle.piece_size
    first = held.offset // piece_size
    whole = hashlib.sha256()
    numbers = range(first, first + piece_count(held.length, piece_size))
    is_whole = held.length == bag.bundle.objects[held.sha256].size
    try:
        if is_quick:
            if os.fstat(bag.open(held.path).fileno()).st_size < held.start + held.length:
                yield from numbers
            return
    except OSError:
        yield from numbers
        return
    bad = []
    for number in numbers:
        digest = hashlib.sha256()
        try:
            for view in bag.read_piece(held, number, piece_size, stop=numbers.stop):
                digest.update(view)
                whole.update(view)
                console.step(len(view))
        except BadPiece:
            bad.append(number)
            continue
        except StickGone as exc:
            raise gone_error(bag, str(exc)) from exc
        if digest.hexdigest() != expected_piece(held, number, piece_size):
            bad.append(number)
    if is_whole and not bad and whole.hexdigest() != held.sha256:
        bad = list(numbers)
    yield from bad


def _manifest(bag: Bag, name: str) -> dict[str, str]:
    text = (bag.root.read(name, 4 * JSON_MOST_BYTES) or b"").decode("utf-8", "replace")
    matches = (_MANIFEST_LINE.fullmatch(line) for line in text.splitlines())
    return {match.group(2): match.group(1) for match in matches if match}


def _damaged_tags(bag: Bag) -> Iterator[str]:
    """Yield the lists of a bag, and the files that are no contents, that are not as listed."""
    listed = _manifest(bag, "tagmanifest-sha256.txt")
    payload = _manifest(bag, "manifest-sha256.txt")
    hub = set(hub_files(bag.bundle))
    listed.update({path: sha256 for path, sha256 in payload.items() if path in hub})
    for path, sha256 in sorted(listed.items()):
        names = path.split("/")
        try:
            with bag.root.descend(names[:-1]) as folder:
                content = folder.read(names[-1], 4 * JSON_MOST_BYTES)
        except (OSError, BundleError):
            content = None
        if content is None or hashlib.sha256(content).hexdigest() != sha256:
            yield path
    if not payload or not listed:
        yield "tagmanifest-sha256.txt"
