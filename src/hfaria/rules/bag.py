"""The texts of a BagIt bag (RFC 8493), and the pages for people who open a stick by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.sizes import count, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BAGIT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_MOST_REFS = 20


@dataclass(frozen=True, slots=True)
class RevisionSummary:
    """One revision as the page for an approving officer shows it."""

    label: str
    commit: str
    refs: tuple[str, ...]
    license: str
    files: int
    size: int
    is_complete: bool
    unsafe: tuple[tuple[str, int], ...]
    """Suffixes of formats that can run code when they are loaded, with how many files have them."""
    is_in_place: bool


@dataclass(frozen=True, slots=True)
class StickSummary:
    """What the pages of one stick say."""

    set_id: str
    bag: str
    number: int
    of: int | None
    created: str
    endpoint: str
    version: str
    signature: str
    importer_sha256: str
    revisions: tuple[RevisionSummary, ...]
    prerequisites: int
    base: str
    parts: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Contents that are cut: a name, the sha256, and the paths of the parts on this stick."""


def bag_info(summary: StickSummary, *, size: int, files: int, day: str) -> str:
    """Return bag-info.txt; ``size`` and ``files`` are of the payload."""
    of = "?" if summary.of is None else summary.of
    return (
        f"Bag-Count: {summary.number} of {of}\n"
        f"Bag-Group-Identifier: hfaria:{summary.set_id}\n"
        f"Bag-Size: {format_size(size)}\n"
        f"Bag-Software-Agent: hfaria {summary.version}\n"
        f"Bagging-Date: {day}\n"
        f"Payload-Oxum: {size}.{files}\n"
    )


def manifest(lines: Iterable[tuple[str, str]]) -> str:
    """Return a manifest of (sha256, path), which `sha256sum -c` reads as well."""
    return "".join(sorted(f"{sha256}  {path}\n" for sha256, path in lines))


def checksums(lines: Iterable[tuple[str, str]]) -> str:
    """Return a list for `sha256sum -c` alone, which has its own way to quote odd names."""
    return "".join(f"{_quoted(sha256, path)}\n" for sha256, path in lines)


def _quoted(sha256: str, path: str) -> str:
    if "\\" in path or "\n" in path or "\r" in path:
        escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        return f"\\{sha256}  {escaped}"
    return f"{sha256}  {path}"


def readme(summary: StickSummary) -> str:
    """Return README.txt: how to use the stick, also where there is no Python."""
    of = "" if summary.of is None else f" of {summary.of}"
    in_place = [r for r in summary.revisions if r.is_in_place]
    lines = [
        f"Stick {summary.number}{of} of bundle {summary.set_id[:8]}, made by hfaria.",
        "",
        "Look:     python3 import_bundle.py inspect",
        "Import:   python3 import_bundle.py import --cache FOLDER",
        "Windows:  py -3 import_bundle.py import --cache FOLDER",
        "Check without hfaria or Python:  sha256sum -c manifest-sha256.txt",
    ]
    if in_place:
        lines += [
            "",
            "Usable from the stick itself, also write-protected: set HF_HUB_OFFLINE=1 and",
            "HF_HUB_CACHE to the folder data/hub beside this file. That holds for",
            *(f"  {r.label} at {r.commit[:12]}" for r in in_place),
        ]
    if summary.parts:
        lines += ["", "Without Python, join what is cut by hand, and compare the sum:"]
    for name, sha256, paths in summary.parts:
        windows = "+".join(path.replace("/", "\\") for path in paths)
        lines += [
            "",
            f"{name}  sha256 {sha256}",
            f"  Linux:   cat {' '.join(paths)} > {name}; sha256sum {name}",
            f"  Windows: copy /b {windows} {name}",
            f"           certutil -hashfile {name} SHA256",
        ]
    if summary.parts and summary.number != summary.of:
        lines += ["", "Parts of the same file may lie on the other sticks as well."]
    lines += ["", "whole-sha256.txt lists every file of the bundle as it is after the import."]
    return "\n".join(lines) + "\n"


def review(summary: StickSummary) -> str:
    """Return REVIEW.txt: one page for whoever decides whether this may come in."""
    of = "" if summary.of is None else f" of {summary.of}"
    size = sum(revision.size for revision in summary.revisions)
    lines = [
        "BUNDLE FOR REVIEW",
        "",
        f"set id      {summary.set_id[:8]} {summary.set_id[8:16]}  ({summary.set_id})",
        f"created     {summary.created} by hfaria {summary.version}",
        f"fetched     from {summary.endpoint}",
        f"signature   {summary.signature}",
        f"this stick  {summary.number}{of}, folder {summary.bag}",
        f"holds       {count(len(summary.revisions), 'revision')}, {format_size(size)}",
    ]
    if summary.prerequisites:
        lines.append(
            f"needs       {count(summary.prerequisites, 'file')} that the target has already "
            f"(base: {summary.base})"
        )
    for revision in summary.revisions:
        lines += ["", *_revision_lines(revision)]
    unsafe = sum(number for r in summary.revisions for _, number in r.unsafe)
    lines += [
        "",
        "Compare the set id with the one that the maker of the bundle tells you by another way.",
        "Files of formats that can run code when loaded: "
        + (f"{unsafe}, see above." if unsafe else "none."),
        "The importer on this stick has this sha256; better run a copy of your own:",
        f"  {summary.importer_sha256}  import_bundle.py",
    ]
    return "\n".join(lines) + "\n"


def _revision_lines(revision: RevisionSummary) -> Sequence[str]:
    shown = ", ".join(revision.refs[:_MOST_REFS]) or "no name"
    whole = "whole repo" if revision.is_complete else "a selection of the repo's files"
    unsafe = ", ".join(f"{number} {suffix}" for suffix, number in revision.unsafe) or "none"
    return (
        f"{revision.label}",
        f"  commit    {revision.commit} ({shown})",
        f"  licence   {revision.license}",
        f"  holds     {count(revision.files, 'file')}, {format_size(revision.size)}, {whole}",
        f"  can run code when loaded: {unsafe}",
        f"  usable on this stick: {'yes' if revision.is_in_place else 'no, import it'}",
    )
