"""Read stick.json, and refuse it if it does not fit its bundle."""

from __future__ import annotations

from hfaria.bundle.importer.canonical import Fields, check_format, matched, parse_canonical
from hfaria.bundle.importer.errors import USAGE, BundleError, malformed, shown
from hfaria.bundle.importer.format import (
    BUNDLE_NAME,
    PACK_PATH,
    SHA256,
    STICK_FORMAT,
    STICK_NAME,
    UTC_TIME,
    in_place_path,
    piece_count,
    pool_path,
)
from hfaria.bundle.importer.values import Bundle, Range, Stick


def parse_stick(content: bytes, bundle: Bundle) -> Stick:
    """Read and check stick.json against its bundle. Raises `BundleError`: E-FORMAT or E-MIXED."""
    document = parse_canonical(content, STICK_NAME)
    check_format(document, STICK_FORMAT, STICK_NAME)
    fields = Fields(
        document, STICK_NAME, "format set_id stick of stick_uuid bundle_sha256 fs finalised ranges"
    )
    of = None if fields.value["of"] is None else fields.take("of", int)
    in_place = {
        in_place_path(repo.folder, revision.commit, file.path): file.sha256
        for repo in bundle.repos
        for revision in repo.revisions.values()
        for file in revision.files
    }
    stick = Stick(
        set_id=fields.text("set_id", SHA256),
        number=fields.take("stick", int),
        of=of,
        uuid=fields.text("stick_uuid"),
        bundle_sha256=fields.text("bundle_sha256", SHA256),
        filesystem=fields.text("fs"),
        finalised=fields.text("finalised", UTC_TIME),
        ranges=tuple(_range(value, bundle, in_place) for value in fields.items("ranges")),
    )
    if stick.set_id != bundle.set_id or stick.bundle_sha256 != bundle.content_sha256:
        raise BundleError(
            "E-MIXED",
            USAGE,
            f"{STICK_NAME} belongs to set {stick.set_id[:8]}, not to {bundle.short_id}",
            "files of two bundles were mixed on this stick",
        )
    return stick


def _range(value: object, bundle: Bundle, in_place: dict[str, str]) -> Range:
    keys = "sha256 off len path pieces"
    has_start = isinstance(value, dict) and "at" in value
    fields = Fields(value, "a range", keys + " at" if has_start else keys)
    held = Range(
        sha256=fields.text("sha256", SHA256),
        offset=fields.take("off", int),
        length=fields.take("len", int),
        path=fields.take("path", str),
        start=fields.take("at", int) if has_start else 0,
        pieces=tuple(matched(SHA256, text, "a piece") for text in fields.items("pieces")),
    )
    name = f"{STICK_NAME}: range at {held.offset} of {held.sha256[:12]}"
    stored = bundle.objects.get(held.sha256)
    if stored is None or held.offset + held.length > stored.size:
        raise malformed(f"{name} lies outside the objects of {BUNDLE_NAME}")
    is_last = held.offset + held.length == stored.size
    if held.offset % bundle.piece_size or (held.length % bundle.piece_size and not is_last):
        raise malformed(f"{name} is not made of whole pieces")
    if (held.length == 0) != (stored.size == 0):
        raise malformed(f"{name} has no bytes")
    if len(held.pieces) != piece_count(held.length, bundle.piece_size):
        raise malformed(f"{name} has {len(held.pieces)} pieces")
    if PACK_PATH.fullmatch(held.path):
        return held
    is_whole = held.offset == 0 and is_last
    is_in_place = is_whole and in_place.get(held.path) == held.sha256
    if held.start or not (held.path == pool_path(held.sha256, held.offset) or is_in_place):
        raise malformed(f"{name} is said to lie at {shown(held.path[:120])}", "E-PATH")
    return held
