"""Finish a stick: stick.json, the bag's manifests and the pages; the journal goes last."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.bundle.copying import write_whole
from hfaria.bundle.document import unsafe_counts
from hfaria.bundle.importer.canonical import canonical
from hfaria.bundle.importer.format import (
    BUNDLE_NAME,
    IMPORTER_NAME,
    JOURNAL_NAME,
    PACK_FOLDER,
    PACK_PATH,
    STICK_FORMAT,
    STICK_NAME,
    bag_name,
)
from hfaria.bundle.importer.stick_json import parse_stick
from hfaria.bundle.single_file import importer_text
from hfaria.bundle.writer import files_below
from hfaria.errors import StickRefused
from hfaria.rules.bag import (
    BAGIT,
    RevisionSummary,
    StickSummary,
    bag_info,
    checksums,
    manifest,
    readme,
    review,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfaria.bundle.importer.values import Bundle
    from hfaria.bundle.journal import Journal
    from hfaria.bundle.ledger import Signature
    from hfaria.rules.bundle_plan import StickPlan

_LISTED = (
    "bagit.txt",
    "bag-info.txt",
    "manifest-sha256.txt",
    BUNDLE_NAME,
    STICK_NAME,
    "REVIEW.txt",
    "README.txt",
    "whole-sha256.txt",
    IMPORTER_NAME,
)
_TAG_MANIFEST = "tagmanifest-sha256.txt"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_SIGNED = {"bundle.json.sig": "SSH", "bundle.json.minisig": "minisign"}
TAG_FILES = frozenset({*_LISTED, *_SIGNED, _TAG_MANIFEST})
"""Everything beside the payload of a finished stick."""


@dataclass(frozen=True, slots=True)
class SetText:
    """What is the same on every stick of a set."""

    bundle: Bundle
    text: bytes
    signatures: tuple[Signature, ...]

    @property
    def signature_line(self) -> str:
        """What the page for an officer says about signatures."""
        if not self.signatures:
            return "none"
        kinds = " and ".join(_SIGNED.get(one.name, one.name) for one in self.signatures)
        return f"{kinds}, of {BUNDLE_NAME}; the importer checks it against a key that you bring"


def write_skeleton(bag: Path, of_set: SetText) -> None:
    """Write what is known before the first byte of content."""
    for name, content in (
        ("bagit.txt", BAGIT.encode()),
        (BUNDLE_NAME, of_set.text),
        *of_set.signatures,
        (IMPORTER_NAME, importer_text()),
    ):
        write_whole(bag / name, content)


def refuse_strangers(
    bag: Path, plan: StickPlan, journal: Journal, texts: Mapping[str, bytes]
) -> None:
    """Refuse to go on in a folder that holds files which this set did not write.

    What earlier runs of this set began and did not finish is tidied away by those who write it.
    """
    known = {file.path for file in plan.files} | texts.keys() | TAG_FILES | {JOURNAL_NAME}
    known |= {written.path for written in journal.written.values()}
    known |= {f"{name}.tmp" for name in known}
    packs = {f"{PACK_FOLDER}/pack-{n}.tmp" for n in range(1, len(plan.packs) + 1)}
    for path in files_below(bag):
        if path not in known and path not in packs and not _is_own_pack(path, plan):
            raise StickRefused(
                f"`{bag / path}` was not written by this set: nothing was changed",
                hint="remove that folder yourself if you don't need it, or use another stick",
            )


def _is_own_pack(path: str, plan: StickPlan) -> bool:
    # Renamed, and then killed before the journal had it.
    return bool(plan.packs) and PACK_PATH.fullmatch(path) is not None


def remove_leftovers(bag: Path, journal: Journal) -> None:
    """Remove what interrupted runs of this set left: staged files, packs that nobody lists."""
    listed = {written.path for written in journal.written.values()}
    for path in list(files_below(bag)):
        is_pack = path.startswith(PACK_FOLDER) and path not in listed
        if (path.endswith(".tmp") and path not in listed) or is_pack:
            (bag / path).unlink()


def stick_document(
    of_set: SetText, plan: StickPlan, journal: Journal, *, of: int | None, finalised: str
) -> bytes:
    """Return stick.json. Equal bytes at several places are listed at each: one may get bad."""
    ranges = []
    for written in sorted(journal.written.values(), key=lambda written: written.path):
        for held in written.ranges:
            row: dict[str, object] = {
                "sha256": held.content,
                "off": held.offset,
                "len": held.length,
                "path": written.path,
                "pieces": list(held.pieces),
            }
            if held.start:
                row["at"] = held.start
            ranges.append(row)
    return canonical(
        {
            "format": STICK_FORMAT,
            "set_id": of_set.bundle.set_id,
            "stick": plan.number,
            "of": of,
            "stick_uuid": journal.stick_uuid,
            "bundle_sha256": of_set.bundle.content_sha256,
            "fs": plan.kind,
            "finalised": finalised,
            "ranges": ranges,
        }
    )


def finish(
    bag: Path,
    of_set: SetText,
    plan: StickPlan,
    journal: Journal,
    texts: Mapping[str, bytes],
    *,
    of: int | None,
    finalised: str,
) -> None:
    """Write everything that says what is on the stick, and let the journal go last.

    Until then the stick counts as unfinished.
    """
    bundle = of_set.bundle
    payload = [(written.sha256, written.path) for written in journal.written.values()]
    payload += [(hashlib.sha256(content).hexdigest(), path) for path, content in texts.items()]
    size = sum(written.size for written in journal.written.values())
    size += sum(len(content) for content in texts.values())
    summary = summarise(of_set, plan, (bag / IMPORTER_NAME).read_bytes(), of=of)
    day = finalised.partition("T")[0]
    (bag / "data").mkdir(exist_ok=True)
    whole = sorted(
        (f"{repo.folder}/snapshots/{revision.commit}/{file.path}", file.sha256)
        for repo in bundle.repos
        for revision in repo.revisions.values()
        for file in revision.files
    )
    for name, text in (
        ("manifest-sha256.txt", manifest(payload)),
        ("bag-info.txt", bag_info(summary, size=size, files=len(payload), day=day)),
        ("README.txt", readme(summary)),
        ("REVIEW.txt", review(summary)),
        ("whole-sha256.txt", checksums((sha256, path) for path, sha256 in whole)),
    ):
        write_whole(bag / name, text.encode())
    document = stick_document(of_set, plan, journal, of=of, finalised=finalised)
    parse_stick(document, bundle)  # what we write, we can read
    write_whole(bag / STICK_NAME, document)
    _write_tag_manifest(bag)
    remove_leftovers(bag, journal)
    sync_folders(bag)
    journal.path.unlink()
    sync_folders(bag.parent, is_deep=False)


def _write_tag_manifest(bag: Path) -> None:
    tags = [(hashlib.sha256((bag / name).read_bytes()).hexdigest(), name) for name in _LISTED]
    write_whole(bag / _TAG_MANIFEST, manifest(tags).encode())


def add_signatures(bag: Path, of_set: SetText, plan: StickPlan, *, of: int | None) -> None:
    """Bring signatures that were made later to a finished stick, and say so on its page."""
    known = {name: (bag / name).read_bytes() for name in _SIGNED if (bag / name).is_file()}
    if all(known.get(name) == content for name, content in of_set.signatures):
        return
    for name, content in of_set.signatures:
        write_whole(bag / name, content)
    script = (bag / IMPORTER_NAME).read_bytes()
    write_whole(bag / "REVIEW.txt", review(summarise(of_set, plan, script, of=of)).encode())
    _write_tag_manifest(bag)
    sync_folders(bag, is_deep=False)


def sync_folders(folder: Path, *, is_deep: bool = True) -> None:
    """Bring folders to the medium, where the system can."""
    if os.name == "nt":
        return
    folders = [Path(current) for current, _, _ in os.walk(folder)] if is_deep else [folder]
    for current in folders:
        with suppress(OSError):  # some filesystems refuse it
            descriptor = os.open(current, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _plain_name(path: str, sha256: str) -> str:
    """Name a content in a shown command: as in its repo, if no shell could misread that."""
    name = path.rpartition("/")[2]
    return name if _PLAIN.fullmatch(name) else sha256[:16]


def summarise(of_set: SetText, plan: StickPlan, script: bytes, *, of: int | None) -> StickSummary:
    """Collect what the pages of a stick say; ``script`` is the importer that is on it."""
    bundle = of_set.bundle
    names = {
        file.sha256: _plain_name(file.path, file.sha256)
        for repo in bundle.repos
        for revision in repo.revisions.values()
        for file in revision.files
    }
    parts: dict[str, list[str]] = {}
    for file in plan.files:
        if file.length != bundle.objects[file.content].size:
            parts.setdefault(file.content, []).append(file.path)
    return StickSummary(
        set_id=bundle.set_id,
        bag=bag_name(bundle.set_id, plan.number),
        number=plan.number,
        of=of,
        created=bundle.created,
        endpoint=bundle.endpoint,
        version=bundle.tool.rpartition(" ")[2],
        signature=of_set.signature_line,
        importer_sha256=hashlib.sha256(script).hexdigest(),
        revisions=tuple(
            RevisionSummary(
                label=f"{repo.repo_type} {repo.repo_id}",
                commit=revision.commit,
                refs=tuple(
                    name.encode("ascii", "backslashreplace").decode()
                    for name, commit in sorted(repo.refs.items())
                    if commit == revision.commit
                ),
                license=repo.license or "not stated",
                files=len(revision.files),
                size=sum(file.size for file in revision.files),
                is_complete=revision.is_complete,
                unsafe=unsafe_counts(file.path for file in revision.files),
                is_in_place=f"{repo.folder}/{revision.commit}" in plan.in_place,
            )
            for repo in bundle.repos
            for revision in repo.revisions.values()
        ),
        prerequisites=len(bundle.requires),
        base=f"{bundle.base_kind} {bundle.base_id or ''}".strip(),
        parts=tuple((names[sha256], sha256, tuple(paths)) for sha256, paths in parts.items()),
    )
