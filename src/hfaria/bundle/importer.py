#!/usr/bin/env python3
"""Look at, verify and import a bundle: a Hugging Face cache that was carried in on a stick.

One file, the standard library alone, Python 3.8 or newer, so that it runs wherever there is a
Python: `python3 -I -S import_bundle.py import`. `hfaria bundle import` runs this same file, and
`hfaria bundle create` copies it to each stick and takes the format from it, so that there is no
second implementation to drift.

Nothing on the stick is believed. What becomes visible in the cache has the sha256 that bundle.json
names, and every path that is written is computed here from repo, commit, path and ETag.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Until `main` takes over, a Ctrl-C ends in silence, not in a traceback out of some import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import base64
import contextlib
import errno
import hashlib
import io
import json
import os
import platform
import queue
import re
import secrets
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple, Tuple, TypeVar

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

# === the format ==================================================================================

BUNDLE_FORMAT = "hfaria-bundle/1"
STICK_FORMAT = "hfaria-stick/1"
NEEDS_FORMAT = "hfaria-needs/1"
INVENTORY_FORMAT = "hfaria-inventory/1"
CAPABILITIES = frozenset({"pool-parts", "packs"})
SIGNATURE_NAMESPACE = "hfaria-bundle"

BUNDLE_NAME = "bundle.json"
STICK_NAME = "stick.json"
IMPORTER_NAME = "import_bundle.py"
JOURNAL_NAME = ".hfaria-journal.jsonl"  # its presence says that the stick was not finished
HUB_FOLDER = "data/hub"
POOL_FOLDER = "data/pool"
PACK_FOLDER = "data/pool/packs"

PIECE_SIZE = 16 << 20
PART_SIZE = 255 * PIECE_SIZE  # the most whole pieces that fit a file on FAT32
FAT32_LARGEST_FILE = (1 << 32) - 1
IN_PLACE_PATH_MOST = 240  # characters below the stick's root: Windows stops at 260 with the drive
PATH_MOST_BYTES = 1024
SEGMENT_MOST_BYTES = 255

JSON_MOST_BYTES = 64 << 20
JSON_MOST_VALUES = 2000000
# A value of a real document takes 20 bytes and more, and no text is longer than a path. Only bombs
# differ: a list that is nothing but brackets takes 60 times its length in memory.
JSON_LEAST_BYTES_A_VALUE = 16
JSON_MOST_BYTES_A_TEXT = 4096
JSON_SLACK = 4096
MOST_INT = (1 << 63) - 1

IO_SIZE = 1 << 20
BUFFERS_AHEAD = 3  # one in use, one full, one being filled
SMALL_BYTES = 1 << 20  # smaller contents are brought in many at a time
LINKED_BYTES = 1 << 20  # smaller ones are copied between repos, not linked
NOTE_BYTES = 64 << 20  # how much is copied between two notes of what is on the disk
STALE_SECONDS = 3600  # what is older, and should have been there for a moment, is nobody's
REHASHED_BYTES = 16 << 20  # smaller files that lie in a snapshot are compared by content

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REPO_ID = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)?")
REPO_TYPES = ("model", "dataset", "space", "kernel")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
POOL_PATH = re.compile(r"data/pool/([0-9a-f]{2})/([0-9a-f]{64})\.o([0-9a-f]{12})")
PACK_PATH = re.compile(r"data/pool/packs/[0-9a-f]{64}\.tar")
UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npy", ".py", ".h5")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_UNFIT_FOR_REF = re.compile(r'[\x00-\x20\x7f-\x9f\\:*?"<>|~^\[\ud800-\udfff\u2028\u2029]')
_WINDOWS_CHARACTERS = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [name + digit for name in ("com", "lpt") for digit in "0123456789\u00b9\u00b2\u00b3"]
)

T = TypeVar("T")


class BundleError(Exception):
    """Why a bundle, or this machine, stops the work; `code` is stable, `exit_code` is hfaria's."""

    def __init__(self, code: str, exit_code: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code
        self.message = message
        self.hint = hint


USAGE, INCOMPLETE, INTEGRITY, DESTINATION, POLICY, INTERRUPTED = 2, 3, 4, 7, 8, 130


def malformed(message: str, code: str = "E-FORMAT") -> BundleError:
    """Return the refusal of a document that hfaria would not have written."""
    hint = "the bundle was not made by hfaria or was altered; all of it is refused"
    return BundleError(code, USAGE, message, hint)


def canonical(document: object) -> bytes:
    """Return the one spelling of a document: ASCII, sorted keys, no spaces, no NaN."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def parse_canonical(content: bytes, name: str) -> Any:
    """Read JSON that must be in its canonical spelling, within bounds of size, values and depth.

    That refuses duplicate keys, floats, NaN and huge numbers, too. Depth is bounded by the
    interpreter here, and by the form of the document afterwards: unknown keys are refused.
    """
    if len(content) > JSON_MOST_BYTES:
        raise malformed(f"{name} is larger than {JSON_MOST_BYTES} bytes")
    values = content.count(b",") + content.count(b"[") + content.count(b"{")
    most = len(content) // JSON_LEAST_BYTES_A_VALUE + JSON_SLACK
    if values > min(most, JSON_MOST_VALUES):
        raise malformed(f"{name} holds more values than its size allows for")
    if (content.count(b'"') + 1) * JSON_MOST_BYTES_A_TEXT < len(content):
        raise malformed(f"{name} holds longer values than any that belong there")
    try:
        document = json.loads(
            content.decode("ascii"), parse_int=_whole, parse_float=_refuse, parse_constant=_refuse
        )
        spelling = canonical(document)
    except (ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else "not canonical JSON"
        raise malformed(f"{name} is {reason}") from exc
    if spelling != content:
        raise malformed(f"{name} is not in its canonical spelling")
    return document


def _whole(text: str) -> int:
    if len(text) > 19 or text.startswith("-") or int(text) > MOST_INT:
        raise ValueError(text[:20])
    return int(text)


def _refuse(text: str) -> None:
    raise ValueError(text[:20])


class FileEntry(NamedTuple):
    """One file of a revision; `etag` is its blob's name in a cache."""

    path: str
    etag: str
    sha256: str
    size: int


class Revision(NamedTuple):
    """A commit's files: all of them when `is_complete`, else those that the filter let through."""

    commit: str
    is_complete: bool
    patterns: dict[str, list[str]] | None
    files: tuple[FileEntry, ...]


class Repo(NamedTuple):
    """One repo of a bundle, with the refs that name its revisions."""

    repo_type: str
    repo_id: str
    license: str | None
    is_gated: bool
    refs: dict[str, str]
    revisions: dict[str, Revision]

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.repo_type} {self.repo_id}"

    @property
    def folder(self) -> str:
        """Name of its folder in a cache."""
        return repo_folder(self.repo_type, self.repo_id)


class StoredObject(NamedTuple):
    """One content that the bundle carries; `git_sha1` names it where it is no LFS file."""

    size: int
    git_sha1: str | None


class Prerequisite(NamedTuple):
    """One content that the bundle doesn't carry, because the target was said to have it."""

    sha256: str
    size: int
    etag: str
    origin: str | None


class Bundle(NamedTuple):
    """bundle.json: what the set holds. The same bytes on each stick, and what is signed."""

    set_id: str
    created: str
    tool: str
    endpoint: str
    piece_size: int
    repos: tuple[Repo, ...]
    objects: dict[str, StoredObject]
    requires: dict[str, Prerequisite]
    base_kind: str
    base_id: str | None
    content_sha256: str

    @property
    def short_id(self) -> str:
        """What people read to each other."""
        return self.set_id[:8]


class Range(NamedTuple):
    """Where a stick holds bytes of an object: `length` at `start` of the file `path`."""

    sha256: str
    offset: int
    length: int
    path: str
    start: int
    pieces: tuple[str, ...]


class Stick(NamedTuple):
    """stick.json: where this stick holds what. Unsigned, since all it can cause is a refusal."""

    set_id: str
    number: int
    of: int | None
    uuid: str
    bundle_sha256: str
    filesystem: str
    finalised: str
    ranges: tuple[Range, ...]


def repo_folder(repo_type: str, repo_id: str) -> str:
    """Return the name of a repo's folder in a cache (huggingface_hub's `repo_folder_name`)."""
    return "--".join([f"{repo_type}s", *repo_id.split("/")])


def bag_name(set_id: str, number: int) -> str:
    """Return the name of a stick's folder."""
    return f"hfb-{set_id[:8]}-s{number:02d}"


def pool_path(sha256: str, offset: int) -> str:
    """Return where a stick holds bytes of an object that is not in place."""
    return f"{POOL_FOLDER}/{sha256[:2]}/{sha256}.o{offset:012x}"


def in_place_path(folder: str, commit: str, path: str) -> str:
    """Return where a stick holds a file that can be read from the stick itself."""
    return f"{HUB_FOLDER}/{folder}/snapshots/{commit}/{path}"


def needs_name(set_id: str) -> str:
    """Return the name of the file that asks for pieces again."""
    return f"needs-{set_id[:8]}.json"


def set_id_of(document: dict[str, Any]) -> str:
    """Return the set's id: it depends on content alone, not on sticks, day or signer."""
    return hashlib.sha256(
        canonical({key: document[key] for key in ("repos", "objects", "requires")})
    ).hexdigest()


def receipt_code(set_id: str) -> str:
    """Return the 20 characters that say on paper that a set arrived whole."""
    digest = hashlib.sha256(b"hfaria-receipt/1\n" + set_id.encode("ascii")).digest()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    bits = int.from_bytes(digest[:4], "big") >> 2
    letters = "".join(alphabet[bits >> shift & 31] for shift in range(25, -1, -5))
    return f"HFR1-{set_id[:8]}-{letters}"


def piece_count(length: int, piece_size: int) -> int:
    """Return how many pieces `length` bytes have; nothing is one piece of no bytes."""
    return max(1, -(-length // piece_size))


def git_blob_sha1(size: int) -> Any:
    """Return the running digest that git would name a blob of this size by."""
    return hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - git's name for it, not our check


def lfs_pointer_sha1(sha256: str, size: int) -> str:
    """Return git's id of the LFS pointer that stands for this content (Git LFS specification)."""
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    digest = git_blob_sha1(len(text))
    digest.update(text.encode("ascii"))
    return str(digest.hexdigest())


def tree_file(revision: Revision) -> bytes:
    """Return the listing that huggingface_hub keeps as trees/<commit>.json.

    For a complete revision only: hub would take a shortened one for the whole repo, for ever.
    """
    files = {}
    for file in revision.files:
        if len(file.etag) == 64:  # an LFS file: its blob_id is the pointer's
            pointer = lfs_pointer_sha1(file.sha256, file.size)
            entry = {"blob_id": pointer, "lfs_sha256": file.sha256, "lfs_size": file.size}
        else:
            entry = {"blob_id": file.etag}
        files[file.path] = dict(entry, size=file.size)
    document = {"format_version": 1, "files": files}
    return json.dumps(document, sort_keys=True, indent=1).encode("ascii")


# --- names ---------------------------------------------------------------------------------------


def path_problem(path: str) -> str | None:
    """Return why a repo path is refused on every system, or None."""
    segments = path.split("/")
    if "\\" in path or _CONTROL.search(path):
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


def shown(text: str) -> str:
    """Return text from a bundle so that it can't play tricks on a terminal: quoted, in ASCII."""
    return ascii(text)


# --- documents -----------------------------------------------------------------------------------


class _Fields:
    """Takes a JSON object apart; what has the wrong type or was not expected is refused."""

    def __init__(self, value: object, where: str, keys: str) -> None:
        self.where = where
        if type(value) is not dict or sorted(value) != sorted(keys.split()):
            raise malformed(f"{where} has not exactly the keys {keys}")
        self.value: dict[str, Any] = value

    def take(self, key: str, kind: Callable[..., T]) -> T:
        """Return a value that must be of exactly this type: a bool is no number."""
        value = self.value[key]
        if type(value) is not kind:
            raise malformed(f"{self.where}: `{key}` is not of type {kind.__name__}")
        return value  # type: ignore[no-any-return]

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object."""
        value: dict[str, Any] = self.take(key, dict)
        return value

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        value: list[Any] = self.take(key, list)
        return value

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        """Return a text, which must match the whole pattern or be short and without controls."""
        value = self.take(key, str)
        is_fit = len(value) <= 500 and not _CONTROL.search(value)
        if not (pattern.fullmatch(value) if pattern else is_fit):
            raise malformed(f"{self.where}: `{key}` is {shown(value[:80])}")
        return value

    def optional_text(self, key: str, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return a text or None."""
        return None if self.value[key] is None else self.text(key, pattern)


def parse_bundle(content: bytes) -> Bundle:
    """Read and check bundle.json. Raises `BundleError`: E-FORMAT, E-PATH or E-NEWER."""
    document = parse_canonical(content, BUNDLE_NAME)
    _check_format(document, BUNDLE_FORMAT, BUNDLE_NAME)
    fields = _Fields(
        document,
        BUNDLE_NAME,
        "format set_id created tool source piece_size capabilities repos objects requires base",
    )
    unknown = [str(x) for x in fields.items("capabilities") if x not in tuple(CAPABILITIES)]
    if unknown:
        raise BundleError(
            "E-NEWER",
            USAGE,
            f"the bundle uses {shown(', '.join(unknown)[:80])}, which this importer does not know",
            "use the importer of a newer hfaria",
        )
    objects = {}
    for sha256, value in fields.mapping("objects").items():
        item = _Fields(value, f"object {shown(sha256[:64])}", "size git_sha1")
        _match(SHA256, sha256, "the name of an object")
        objects[sha256] = StoredObject(
            item.take("size", int), item.optional_text("git_sha1", COMMIT)
        )
    requires = {}
    for value in fields.items("requires"):
        item = _Fields(value, "a prerequisite", "sha256 size etag from")
        sha256 = item.text("sha256", SHA256)
        if sha256 in objects or sha256 in requires:
            raise malformed(f"prerequisite {sha256} is carried or comes twice")
        requires[sha256] = Prerequisite(
            sha256, item.take("size", int), item.text("etag", ETAG), item.optional_text("from")
        )
    tool = _Fields(fields.mapping("tool"), "tool", "name version")
    source = _Fields(fields.mapping("source"), "source", "endpoint")
    base = _Fields(fields.mapping("base"), "base", "kind id")
    bundle = Bundle(
        set_id=fields.text("set_id", SHA256),
        created=fields.text("created", UTC_TIME),
        tool=f"{tool.text('name')} {tool.text('version')}",
        endpoint=source.text("endpoint"),
        piece_size=fields.take("piece_size", int),
        repos=tuple(_repo(value) for value in fields.items("repos")),
        objects=objects,
        requires=requires,
        base_kind=base.text("kind", re.compile("inventory|set|none")),
        base_id=base.optional_text("id"),
        content_sha256=hashlib.sha256(content).hexdigest(),
    )
    if bundle.set_id != set_id_of(document):
        raise malformed(f"{BUNDLE_NAME}: `set_id` is not the id of what it lists")
    if not (1 << 12) <= bundle.piece_size <= (1 << 28) or bundle.piece_size % (1 << 12):
        raise malformed(f"{BUNDLE_NAME}: a piece of {bundle.piece_size} bytes is not allowed")
    _check_contents(bundle)
    return bundle


def _check_format(document: object, expected: str, name: str) -> None:
    found = document.get("format") if isinstance(document, dict) else None
    if found == expected:
        return
    kind, _, _ = expected.partition("/")
    if isinstance(found, str) and re.fullmatch(kind + r"/\d{1,4}", found):
        raise BundleError(
            "E-NEWER",
            USAGE,
            f"format {found} needs a newer hfaria (this: {expected})",
            "use the importer of a newer hfaria",
        )
    raise malformed(f"{name} is not of format {expected}")


def _match(pattern: re.Pattern[str], value: object, what: str) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        raise malformed(f"{BUNDLE_NAME}: {what} is {shown(str(value)[:80])}")
    return value


def _repo(value: object) -> Repo:
    fields = _Fields(value, "a repo", "type id license gated refs revisions")
    repo_id = fields.text("id", REPO_ID)
    is_name = len(repo_id) <= 96 and "--" not in repo_id and ".." not in repo_id
    if not is_name or any(not part.strip(".-") or part[0] in ".-" for part in repo_id.split("/")):
        raise malformed(f"{BUNDLE_NAME}: {shown(repo_id)} is not a repo id")
    revisions = {
        _match(COMMIT, commit, "a commit"): _revision(commit, revision)
        for commit, revision in fields.mapping("revisions").items()
    }
    refs = {}
    for name, commit in fields.mapping("refs").items():
        if ref_problem(name) or type(commit) is not str or commit not in revisions:
            raise malformed(f"{BUNDLE_NAME}: ref {shown(name[:80])} is not allowed", "E-PATH")
        refs[name] = commit
    if any(name.startswith(other + "/") for name in refs for other in refs):
        raise malformed(f"{BUNDLE_NAME}: a ref of {repo_id} is a folder, too", "E-PATH")
    return Repo(
        repo_type=fields.text("type", re.compile("|".join(REPO_TYPES))),
        repo_id=repo_id,
        license=fields.optional_text("license"),
        is_gated=fields.take("gated", bool),
        refs=refs,
        revisions=revisions,
    )


def _revision(commit: str, value: object) -> Revision:
    fields = _Fields(value, f"revision {commit}", "complete filter files")
    patterns = None
    if fields.value["filter"] is not None:
        item = _Fields(fields.value["filter"], f"the filter of {commit}", "include exclude")
        patterns = {key: item.items(key) for key in ("include", "exclude")}
        if any(type(text) is not str for texts in patterns.values() for text in texts):
            raise malformed(f"the filter of {commit} is not made of patterns")
    is_complete = fields.take("complete", bool)
    if is_complete and patterns is not None:
        raise malformed(f"revision {commit} is complete, and filtered")
    files = tuple(_file_entry(row) for row in fields.items("files"))
    paths = [file.path for file in files]
    if not files or any(one >= other for one, other in zip(paths, paths[1:])):
        raise malformed(f"the files of {commit} are not sorted, come twice, or are none")
    folders = {
        "/".join(parts[:end]) for parts in map(_split, paths) for end in range(1, len(parts))
    }
    if not folders.isdisjoint(paths):
        raise malformed(f"a file of {commit} is a folder, too", "E-PATH")
    return Revision(commit, is_complete, patterns, files)


def _split(path: str) -> list[str]:
    return path.split("/")


def _file_entry(row: object) -> FileEntry:
    if type(row) is not list or [type(value) for value in row] != [str, str, str, int]:
        raise malformed(f"{BUNDLE_NAME}: a file is not [path, etag, sha256, size]")
    file = FileEntry(*row)
    problem = path_problem(file.path)
    if problem:
        name = shown(file.path[:120])
        raise malformed(f"{BUNDLE_NAME}: repo path {name} is not allowed: {problem}", "E-PATH")
    _match(ETAG, file.etag, "an ETag")
    _match(SHA256, file.sha256, "a sha256")
    return file


def _check_contents(bundle: Bundle) -> None:
    """Refuse a bundle whose files, objects and prerequisites contradict each other."""
    used = set()
    keys = [(repo.repo_type, repo.repo_id) for repo in bundle.repos]
    if len(set(keys)) != len(keys) or not keys:
        raise malformed(f"{BUNDLE_NAME}: a repo comes twice, or there is none")
    for repo in bundle.repos:
        for revision in repo.revisions.values():
            for file in revision.files:
                used.add(file.sha256)
                stored = bundle.objects.get(file.sha256)
                known = stored or bundle.requires.get(file.sha256)
                # An LFS file's ETag is its sha256; any other's is its git id.
                names = {file.sha256, stored.git_sha1} if stored else {file.sha256, file.etag}
                if known is None or known.size != file.size or file.etag not in names:
                    name = shown(file.path)
                    raise malformed(f"{BUNDLE_NAME}: {name} contradicts the list of objects")
    if not used.issuperset(bundle.objects) or not used.issuperset(bundle.requires):
        raise malformed(f"{BUNDLE_NAME}: an object belongs to no file")


def parse_stick(content: bytes, bundle: Bundle) -> Stick:
    """Read and check stick.json against its bundle. Raises `BundleError`: E-FORMAT or E-MIXED."""
    document = parse_canonical(content, STICK_NAME)
    _check_format(document, STICK_FORMAT, STICK_NAME)
    fields = _Fields(
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
    fields = _Fields(value, "a range", keys + " at" if has_start else keys)
    held = Range(
        sha256=fields.text("sha256", SHA256),
        offset=fields.take("off", int),
        length=fields.take("len", int),
        path=fields.take("path", str),
        start=fields.take("at", int) if has_start else 0,
        pieces=tuple(_match(SHA256, text, "a piece") for text in fields.items("pieces")),
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


class Needs(NamedTuple):
    """needs-<set>.json: the pieces that an import still wants, for `hfaria bundle repair`."""

    set_id: str
    piece_size: int
    pieces: dict[str, tuple[int, ...]]


class Inventory(NamedTuple):
    """What a machine without network has: sizes of blobs by name."""

    inventory_id: str
    created: str
    blobs: dict[str, int]


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
    _check_format(document, NEEDS_FORMAT, "the needs file")
    fields = _Fields(document, "the needs file", "format set_id piece_size pieces")
    pieces: dict[str, tuple[int, ...]] = {}
    for row in fields.items("pieces"):
        if type(row) is not list or [type(value) for value in row] != [str, list]:
            raise malformed("the needs file: a row is not [sha256, pieces]")
        if any(type(number) is not int for number in row[1]):
            raise malformed("the needs file: a piece has no number")
        pieces[_match(SHA256, row[0], "an object")] = tuple(sorted(set(row[1])))
    return Needs(fields.text("set_id", SHA256), fields.take("piece_size", int), pieces)


def parse_inventory(content: bytes) -> Inventory:
    """Read the file that `inventory` makes; it comes from another machine."""
    document = parse_canonical(content.strip(), "the inventory")
    _check_format(document, INVENTORY_FORMAT, "the inventory")
    fields = _Fields(document, "the inventory", "format created machine repos blobs")
    blobs: dict[str, int] = {}
    for row in fields.items("blobs"):
        if type(row) is not list or [type(value) for value in row] != [str, int]:
            raise malformed("the inventory: a blob is not [name, size]")
        blobs[_match(ETAG, row[0], "a blob")] = row[1]
    digest = hashlib.sha256(content.strip()).hexdigest()
    return Inventory(digest[:16], fields.text("created", UTC_TIME), blobs)


# === signatures ==================================================================================

VALID = "VALID"
UNSIGNED = "UNSIGNED"
BAD_SIGNATURE = "BAD_SIGNATURE"
WRONG_KEY = "WRONG_KEY"
UNSUPPORTED = "UNSUPPORTED"
SSH_SUFFIX, MINISIGN_SUFFIX = ".sig", ".minisig"
SIGNATURE_MOST_BYTES = 1 << 16
POLICY_FILE = r"C:\ProgramData\hfaria\trust" if os.name == "nt" else "/etc/hfaria/trust"

# Edwards25519 (RFC 8032, section 5.1). Verifying handles no secret, so that it need not take the
# same time for every input; never sign with this.
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = Tuple[int, int, int, int]  # 3.8 has no tuple[...] at run time


class Signature(NamedTuple):
    """What became of a signature: `key` names who made it, or says that he did."""

    status: str
    key: str
    named_by: str


class TrustedKey(NamedTuple):
    """A key that the operator vouches for. Never one that was found on the stick."""

    public: bytes
    minisign_id: bytes
    named_by: str


def _add(one: _Point, other: _Point) -> _Point:
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % _P, (one[1] + one[0]) * (other[1] + other[0])
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total


def _decode_point(encoded: bytes) -> _Point | None:
    y, sign = int.from_bytes(encoded, "little") & ((1 << 255) - 1), encoded[31] >> 7
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _decode_point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))


def ed25519_is_valid(public: bytes, message: bytes, signature: bytes) -> bool:
    """Check an Ed25519 signature (RFC 8032, section 5.1.7)."""
    if len(public) != 32 or len(signature) != 64 or _BASE is None:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    key, nonce = _decode_point(public), _decode_point(signature[:32])
    if scalar >= _ORDER or key is None or nonce is None:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % _ORDER
    left, right = _multiply(scalar, _BASE), _add(nonce, _multiply(challenge, key))
    is_equal = (left[0] * right[2] - right[0] * left[2]) % _P == 0
    return is_equal and (left[1] * right[2] - right[1] * left[2]) % _P == 0


def _ssh_strings(blob: bytes) -> list[bytes]:
    """Take apart what is made of strings with a length before each (RFC 4251, section 5)."""
    found = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            raise ValueError("cut off")
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found


def ssh_fingerprint(key_blob: bytes) -> str:
    """Return a key's name as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(key_blob).digest()).decode("ascii")
    return f"SHA256:{digest.rstrip('=')}"


def _ssh_blob(public: bytes) -> bytes:
    return b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + public


def parse_trust(text: str, named_by: str) -> list[TrustedKey]:
    """Read keys: lines of an allowed_signers file or *.pub of OpenSSH, or a minisign public key.

    A line that restricts its key in a way that is not checked here vouches for nothing.
    """
    keys = []
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith(("#", "untrusted comment:")):
            continue
        if "ssh-ed25519" in words[:-1]:
            at = words.index("ssh-ed25519")
            restrictions = [word for word in words[1:at] if _is_restriction(word)]
            parts = _ssh_strings(_base64(words[at + 1]))
            if not restrictions and len(parts) == 2 and len(parts[1]) == 32:
                keys.append(TrustedKey(parts[1], b"", named_by))
        elif len(words) == 1 and len(_base64(words[0])) == 42 and _base64(words[0])[:2] == b"Ed":
            blob = _base64(words[0])
            keys.append(TrustedKey(blob[10:], blob[2:10], named_by))
    return keys


def _is_restriction(word: str) -> bool:
    name, _, value = word.partition("=")
    return name.lower() != "namespaces" or SIGNATURE_NAMESPACE not in value.strip('"').split(",")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return b""


def load_trust(
    given: Sequence[str], policy_file: str = POLICY_FILE
) -> tuple[list[TrustedKey], bool]:
    """Return the keys that the operator and this machine's policy name, and whether one must sign.

    A policy file makes a signature mandatory.
    """
    keys = []
    has_policy = os.path.lexists(policy_file)
    for text in [*given, *([policy_file] if has_policy else [])]:
        content, name = text, "--trust"
        if not text.startswith(("ssh-", "RW")) and " ssh-" not in text:
            name = os.path.basename(text)
            try:
                with open(text, encoding="utf-8", errors="replace") as file:
                    content = file.read(1 << 20)
            except OSError as exc:
                message = f"the key file {text} can't be read: {exc.strerror}"
                raise BundleError("E-TRUST", USAGE, message) from exc
        try:
            found = parse_trust(content, name)
        except (ValueError, IndexError):
            found = []
        if not found:
            message = f"{name} holds no ssh-ed25519 or minisign public key that can be used"
            raise BundleError("E-TRUST", USAGE, message)
        keys += found
    return keys, has_policy


def check_ssh(message: bytes, armored: bytes, keys: Sequence[TrustedKey]) -> Signature:
    """Check an OpenSSH signature (PROTOCOL.sshsig of OpenSSH) of namespace `hfaria-bundle`."""
    body = re.sub(rb"-----(BEGIN|END) SSH SIGNATURE-----|\s", b"", armored)
    blob = _base64(body.decode("ascii", "replace"))
    try:
        key_blob, namespace, reserved, algorithm, wrapped = _ssh_strings(blob[10:])
        kind, public = _ssh_strings(key_blob)[:2]
        signature_kind, signature = _ssh_strings(wrapped)[:2]
    except ValueError:
        return Signature(BAD_SIGNATURE, "", "")
    name = ssh_fingerprint(key_blob)
    if blob[:10] != b"SSHSIG\0\0\0\1" or namespace != SIGNATURE_NAMESPACE.encode("ascii"):
        return Signature(BAD_SIGNATURE, name, "")
    if kind != b"ssh-ed25519" or signature_kind != kind or algorithm not in (b"sha256", b"sha512"):
        return Signature(UNSUPPORTED, f"{shown(kind.decode('ascii', 'replace'))} {name}", "")
    digest = hashlib.new(algorithm.decode("ascii"), message).digest()
    signed = b"SSHSIG" + b"".join(
        len(part).to_bytes(4, "big") + part for part in (namespace, reserved, algorithm, digest)
    )
    if key_blob != _ssh_blob(public) or not ed25519_is_valid(public, signed, signature):
        return Signature(BAD_SIGNATURE, name, "")
    named_by = next((key.named_by for key in keys if key.public == public), None)
    return Signature(VALID if named_by else WRONG_KEY, f"ssh-ed25519 {name}", named_by or "")


def check_minisign(message: bytes, text: bytes, keys: Sequence[TrustedKey]) -> Signature:
    """Check a minisign signature, and its trusted comment; only a trusted key can check it."""
    lines = text.decode("utf-8", "replace").splitlines()
    if len(lines) < 4 or not lines[2].startswith("trusted comment: "):
        return Signature(BAD_SIGNATURE, "", "")
    blob, whole = _base64(lines[1]), _base64(lines[3])
    kind, key_id, signature = blob[:2], blob[2:10], blob[10:]
    name = f"minisign {key_id[::-1].hex().upper()}"
    if kind not in (b"ED", b"Ed"):
        return Signature(UNSUPPORTED, name, "")
    key = next((key for key in keys if key.minisign_id == key_id), None)
    if key is None:
        return Signature(WRONG_KEY, name, "")
    signed = hashlib.blake2b(message).digest() if kind == b"ED" else message
    comment = lines[2][len("trusted comment: ") :].encode("utf-8")
    checks = ((signed, signature), (signature + comment, whole))
    is_valid = all(ed25519_is_valid(key.public, text, made) for text, made in checks)
    return Signature(VALID if is_valid else BAD_SIGNATURE, name, key.named_by if is_valid else "")


# === folders, reached without following a link ===================================================

_HAS_DESCRIPTORS = os.open in os.supports_dir_fd and os.rename in os.supports_dir_fd
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# A plain open of a FIFO would wait for its writer for ever.
_READ = os.O_RDONLY | _PLAIN | getattr(os, "O_NONBLOCK", 0)
_REPARSE_POINT = 0x400  # FILE_ATTRIBUTE_REPARSE_POINT: links, junctions, mount points


def _is_link(status: os.stat_result) -> bool:
    is_reparse_point = getattr(status, "st_file_attributes", 0) & _REPARSE_POINT
    return stat.S_ISLNK(status.st_mode) or bool(is_reparse_point)


class Folder:
    """A folder, on the stick or in the cache, below which no link is ever followed.

    Where the system has them, descriptors are used, so that no name can be swapped between a look
    and a use. Elsewhere (Windows), each component is looked at before it is used.
    """

    def __init__(self, path: str, descriptor: int | None, *, fault: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._fault = fault

    @classmethod
    def root(cls, path: str, *, fault: int) -> Folder:
        """Open the folder that the operator named; its own path may hold links."""
        path = os.path.realpath(path)
        if not _HAS_DESCRIPTORS:
            os.listdir(path)
            prefix = "" if os.name != "nt" or path.startswith("\\\\") else "\\\\?\\"
            return cls(prefix + path, None, fault=fault)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return cls(path, descriptor, fault=fault)

    def __enter__(self) -> Folder:  # noqa: PYI034 - typing.Self is of 3.11
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @property
    def is_removed(self) -> bool:
        """Whether it has no name any more."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0

    @property
    def is_private(self) -> bool:
        """Whether nobody else may write here; not known on Windows, where profiles see to it."""
        if self._descriptor is None:
            return True
        status = os.fstat(self._descriptor)
        return status.st_uid == os.geteuid() and not status.st_mode & 0o022

    def named(self, name: str) -> str:
        """Return the whole path of an entry, for messages and for systems without descriptors."""
        return os.path.join(self.path, name)

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else self.named(name)

    def refuse(self, name: str, what: str) -> BundleError:
        """Return the refusal of an entry that is not what it should be."""
        hint = "nothing is written through links; remove it if it is not yours"
        return BundleError("E-LINK", self._fault, f"{shown(self.named(name))} is {what}", hint)

    def child(self, name: str) -> Folder:
        """Open a folder in this one. Raises FileNotFoundError, or `BundleError` for a link."""
        if self._descriptor is None:
            status = os.lstat(self.named(name))
            if _is_link(status) or not stat.S_ISDIR(status.st_mode):
                raise self.refuse(name, "a link, or no folder")
            return Folder(self.named(name), None, fault=self._fault)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise self.refuse(name, "a link, or no folder") from exc
            raise
        return Folder(self.named(name), descriptor, fault=self._fault)

    def made(self, name: str, mode: int = 0o777) -> Folder:
        """Open a folder in this one, made if need be."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._at(name), mode, dir_fd=self._descriptor)
        return self.child(name)

    def descend(self, names: Sequence[str], *, make: bool = False) -> Folder:
        """Open a folder some levels down; the caller closes it, but never this one."""
        folder = self._again()
        for name in names:
            with folder as above:
                folder = above.made(name) if make else above.child(name)
        return folder

    def _again(self) -> Folder:
        descriptor = None if self._descriptor is None else os.dup(self._descriptor)
        return Folder(self.path, descriptor, fault=self._fault)

    def names(self) -> list[str]:
        """List the entries."""
        return os.listdir(self.path if self._descriptor is None else self._descriptor)

    def status(self, name: str) -> os.stat_result | None:
        """Look at an entry itself; None if there is none."""
        try:
            return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def plain_size(self, name: str) -> int | None:
        """Return the size of a plain file; None if there is none, or something else."""
        status = self.status(name)
        is_plain = status is not None and stat.S_ISREG(status.st_mode) and not _is_link(status)
        return status.st_size if status is not None and is_plain else None

    def open(self, name: str, flags: int = _READ) -> io.FileIO:
        """Open a plain file. Raises `BundleError` for a link, FIFO or device."""
        status = self.status(name) if self._descriptor is None else None
        if status is not None and _is_link(status):
            raise self.refuse(name, "a link")
        try:
            descriptor = os.open(self._at(name), flags | _PLAIN, 0o666, dir_fd=self._descriptor)
        except OSError as exc:
            # ENXIO: a FIFO without a reader, or a socket.
            if exc.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK, errno.EISDIR):
                raise self.refuse(name, "a link, or no plain file") from exc
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self.refuse(name, "no plain file")
        mode = "r" if flags & (os.O_WRONLY | os.O_RDWR) == 0 else "r+"
        return io.FileIO(descriptor, mode)

    def read(self, name: str, most: int) -> bytes | None:
        """Return a small file's content; None if there is none. Raises if it is not small."""
        try:
            file = self.open(name)
        except FileNotFoundError:
            return None
        with file:
            if os.fstat(file.fileno()).st_size > most:
                raise malformed(f"{shown(self.named(name))} is larger than {most} bytes")
            content = bytearray()
            while len(content) <= most:
                chunk = file.read(min(1 << 20, most + 1 - len(content)))
                if not chunk:
                    return bytes(content)
                content += chunk
        raise malformed(f"{shown(self.named(name))} is larger than {most} bytes")

    def write(self, name: str, content: bytes) -> None:
        """Write a new file and bring it to the disk; whatever had its name is replaced."""
        self.unlink(name)
        with self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            write_all(file, memoryview(content))
            os.fsync(file.fileno())

    def replace(self, name: str, folder: Folder, new_name: str) -> None:
        """Move an entry, over what has its new name."""
        at, to = self._descriptor, folder._descriptor
        for attempt in range(10):
            try:
                os.replace(self._at(name), folder._at(new_name), src_dir_fd=at, dst_dir_fd=to)
            except PermissionError as exc:
                # Windows: somebody has the old one open for a moment.
                if getattr(exc, "winerror", None) not in (5, 32) or attempt == 9:
                    raise
                time.sleep(0.2)
            else:
                return

    def rename(self, name: str, folder: Folder, new_name: str) -> None:
        """Move a folder to a name that must be free, or be an empty folder's."""
        at, to = self._descriptor, folder._descriptor
        os.rename(self._at(name), folder._at(new_name), src_dir_fd=at, dst_dir_fd=to)

    def link(self, name: str, folder: Folder, new_name: str) -> None:
        """Give a file a second name."""
        at, to = self._descriptor, folder._descriptor
        old, new = self._at(name), folder._at(new_name)
        if self._descriptor is None:
            os.link(old, new)
        else:
            os.link(old, new, src_dir_fd=at, dst_dir_fd=to, follow_symlinks=False)

    def symlink(self, text: str, name: str) -> None:
        """Make a symlink; its name must be free."""
        os.symlink(text.replace("/", os.sep), self._at(name), dir_fd=self._descriptor)

    def link_text(self, name: str) -> str:
        """Return what a symlink says, with slashes."""
        return os.readlink(self._at(name), dir_fd=self._descriptor).replace("\\", "/")

    def unlink(self, name: str) -> None:
        """Remove a file or a link, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(name), dir_fd=self._descriptor)

    def rmdir(self, name: str) -> None:
        """Remove a folder if it is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(self._at(name), dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a folder with all that is in it."""
        with self.child(name) as folder:
            for inner in folder.names():
                status = folder.status(inner)
                if status is not None and stat.S_ISDIR(status.st_mode) and not _is_link(status):
                    folder.remove(inner)
                else:
                    folder.unlink(inner)
        self.rmdir(name)

    def sync(self) -> None:
        """Bring the entries to the disk, where the system can."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)


def write_all(file: io.FileIO, view: memoryview) -> None:
    """Write all of it: one call may write less, at a full disk or a quota."""
    while view:
        view = view[file.write(view) or 0 :]


def digest_file(file: io.FileIO, digests: Sequence[Any], length: int, start: int = 0) -> bool:
    """Feed a part of a file to digests; tell whether it was that long."""
    file.seek(start)
    buffer = memoryview(bytearray(IO_SIZE))
    while length:
        count = file.readinto(buffer[: min(IO_SIZE, length)]) or 0
        if not count:
            return False
        for digest in digests:
            digest.update(buffer[:count])
        length -= count
    return True


class Lock:
    """A lock on a file that stays, of the kind that huggingface_hub takes (its filelock)."""

    def __init__(self, root: Folder, folders: Sequence[str], name: str) -> None:
        self._root = root
        self._folders = folders
        self._name = name
        self._file: io.FileIO | None = None

    def take(self) -> bool:
        """Try to take it; False if another process holds it."""
        with self._root.descend(self._folders, make=True) as folder:
            file = folder.open(self._name, os.O_RDWR | os.O_CREAT)
        try:
            if sys.platform == "win32":
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            # Some network filesystems have no locks: moving into place is what keeps us safe.
            if exc.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK):
                file.close()
                return False
        self._file = file
        return True

    def release(self) -> None:
        """Let others have it."""
        file, self._file = self._file, None
        if file is not None:
            if sys.platform == "win32":
                with contextlib.suppress(OSError):
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
            file.close()


# === the stick ===================================================================================

# What a system answers when a medium was pulled. EIO may be one bad sector.
_GONE = (
    errno.ENODEV,
    errno.ENXIO,
    errno.ENOTCONN,
    errno.ECONNABORTED,  # a FUSE daemon that died over this very request
    errno.ESHUTDOWN,
    getattr(errno, "ENOMEDIUM", -1),
)
_GONE_ON_WINDOWS = (21, 55, 433, 483, 1117, 1167)
_MOST_BAD_IN_A_ROW = 8
_HANGING_SECONDS = 1.0


class StickGone(Exception):
    """The medium stopped answering."""


class BadPiece(Exception):
    """A piece on the stick can't be read, or is not what stick.json says."""


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Translate what a stick answers when it can't be read."""
    try:
        yield
    except OSError as exc:
        what = f"{path} can't be read: {exc.strerror or exc}"
        if exc.errno in (*_GONE, errno.EIO) or getattr(exc, "winerror", 0) in _GONE_ON_WINDOWS:
            raise BundleError("E-GONE", INCOMPLETE, what, "put it back, and run it again") from exc
        raise BundleError("E-NOBUNDLE", USAGE, what, "name a stick that can be read") from exc


class ReadAhead:
    """Reads a part of a file in a thread, so that the stick need not wait for digests and disk.

    Its memory is a few buffers. What a read raises is raised where its bytes would have been.
    """

    def __init__(self, file: io.FileIO, start: int, end: int, piece_size: int) -> None:
        self._position = start
        self._end = end
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[memoryview | BaseException] = queue.SimpleQueue()
        self._is_over = False
        for _ in range(BUFFERS_AHEAD):
            self._free.put(memoryview(bytearray(min(IO_SIZE, piece_size))))
        # A daemon: a medium that hangs must not keep the program from ending.
        self._thread = threading.Thread(
            target=self._fill, args=(file, start, piece_size), daemon=True
        )
        self._thread.start()

    def _fill(self, file: io.FileIO, start: int, piece_size: int) -> None:
        position = start
        try:
            if hasattr(os, "posix_fadvise"):  # the kernel reads further ahead, as it does for `cp`
                os.posix_fadvise(file.fileno(), start, self._end - start, os.POSIX_FADV_SEQUENTIAL)
            file.seek(start)
            while position < self._end:
                buffer = self._free.get()
                if self._is_over:
                    break
                # None reaches over the end of a piece.
                left = piece_size - (position - start) % piece_size
                count = file.readinto(buffer[: min(left, self._end - position)]) or 0
                self._full.put(buffer[:count])
                if not count:
                    break
                position += count
        except BaseException as exc:  # noqa: BLE001 - raised where the bytes are awaited
            self._full.put(exc)

    def is_at(self, position: int) -> bool:
        """Tell whether these are the bytes that come next."""
        return self._position == position < self._end

    def read(self, length: int) -> Iterator[memoryview]:
        """Yield the next bytes, of one piece; an empty view is the file's end."""
        while length:
            view = self._full.get()
            if isinstance(view, BaseException):
                raise view
            self._position += len(view)
            length -= len(view)
            try:
                yield view
            finally:
                self._free.put(memoryview(view.obj))

    def close(self) -> None:
        """End the thread; one that hangs in a read ends after it, and touches the file no more."""
        self._is_over = True
        self._free.put(memoryview(b""))
        self._thread.join(_HANGING_SECONDS)


def read_now(file: io.FileIO, start: int, length: int) -> Iterator[memoryview]:
    """Yield bytes of a file as they come; an empty view is the file's end."""
    buffer = memoryview(bytearray(length))
    file.seek(start)
    while length:
        count = file.readinto(buffer[:length]) or 0
        length -= count
        yield buffer[:count]


class Bag:
    """One stick's folder, opened and checked."""

    def __init__(self, root: Folder, bundle: Bundle, content: bytes, stick: Stick) -> None:
        self.root = root
        self.path = root.path.replace("\\\\?\\", "")  # as people write it
        self.bundle = bundle
        self.content = content
        self.stick = stick
        self.bytes_read = 0
        self._open: tuple[str, io.FileIO] | None = None
        self._ahead: ReadAhead | None = None
        self._bad_in_a_row = 0

    @classmethod
    def at(cls, path: str, *, is_partial: bool) -> Bag:
        """Open a stick's folder. Raises `BundleError`."""
        root = Folder.root(path, fault=USAGE)
        content = root.read(BUNDLE_NAME, JSON_MOST_BYTES)
        if content is None:
            raise BundleError("E-NOBUNDLE", USAGE, f"{path} holds no {BUNDLE_NAME}")
        bundle = parse_bundle(content)
        is_unfinished = root.status(JOURNAL_NAME) is not None
        stick_content = root.read(STICK_NAME, JSON_MOST_BYTES)
        if is_partial and (is_unfinished or stick_content is None):
            return cls(root, bundle, content, rebuild_stick(root, bundle))
        if is_unfinished:
            raise BundleError(
                "E-UNFINISHED",
                INCOMPLETE,
                f"the stick at {path} was not finished (its journal is there)",
                'finish it with "hfaria bundle create", or import what is there with --partial',
            )
        if stick_content is None:
            hint = "use --partial to import what its file names tell"
            raise BundleError("E-FORMAT", USAGE, f"{path} holds no {STICK_NAME}", hint)
        return cls(root, bundle, content, parse_stick(stick_content, bundle))

    def signature(self, keys: Sequence[TrustedKey]) -> Signature:
        """Check the signatures beside bundle.json; a bad one outweighs a good one."""
        found = []
        for suffix, check in ((SSH_SUFFIX, check_ssh), (MINISIGN_SUFFIX, check_minisign)):
            with reading(self.path):
                text = self.root.read(BUNDLE_NAME + suffix, SIGNATURE_MOST_BYTES)
            if text is not None:
                found.append(check(self.content, text, keys))
        order = (BAD_SIGNATURE, VALID, WRONG_KEY, UNSUPPORTED)
        found.sort(key=lambda signature: order.index(signature.status))
        return found[0] if found else Signature(UNSIGNED, "", "")

    def open(self, path: str) -> io.FileIO:
        """Open a payload file; the one opened last stays open."""
        if self._open is None or self._open[0] != path:
            self.close()
            names = path.split("/")
            with self.root.descend(names[:-1]) as folder:
                self._open = (path, folder.open(names[-1]))
        return self._open[1]

    def close(self) -> None:
        """Read no further, and close the file opened last."""
        self._stop()
        if self._open is not None:
            with contextlib.suppress(OSError):  # a stick that is gone can't even be closed
                self._open[1].close()
            self._open = None

    def _stop(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def read_piece(
        self, held: Range, number: int, piece_size: int, *, stop: int | None = None
    ) -> Iterator[memoryview]:
        """Yield the bytes of one piece. Raises `BadPiece` or `StickGone`.

        The pieces after it, up to number `stop`, are read ahead for the calls that ask for them.
        """
        start = number * piece_size - held.offset
        length = min(piece_size, held.length - start)
        end = start + length if stop is None else min(stop * piece_size - held.offset, held.length)
        start, end = held.start + start, held.start + end
        try:
            for view in self._views(self.open(held.path), start, length, end, piece_size):
                if not view:
                    self.close()
                    raise BadPiece("the file is shorter than it should be")
                self.bytes_read += len(view)
                yield view
        except OSError as exc:
            self.close()
            raise self._judge(exc) from exc
        self._bad_in_a_row = 0

    def _views(
        self, file: io.FileIO, start: int, length: int, end: int, piece_size: int
    ) -> Iterator[memoryview]:
        """Return the bytes of a piece; an empty view is where the file ends before that."""
        if self._ahead is None or not self._ahead.is_at(start):
            self._stop()
            if end - start <= IO_SIZE:
                return read_now(file, start, length)
            self._ahead = ReadAhead(file, start, end, piece_size)
        return self._ahead.read(length)

    def _judge(self, exc: OSError) -> Exception:
        """Tell a pulled stick from a bad sector: the one fails everywhere, the other here."""
        if exc.errno in (errno.EACCES, errno.EPERM):
            what = f"{self.path} can't be read: {exc.strerror}"
            return BundleError("E-NOBUNDLE", USAGE, what, "read it as a user who may")
        is_gone = exc.errno in _GONE or getattr(exc, "winerror", None) in _GONE_ON_WINDOWS
        if not is_gone:
            try:
                with Folder.root(self.path, fault=USAGE) as root:
                    is_gone = root.status(BUNDLE_NAME) is None
            except OSError:
                is_gone = True
        if exc.errno == errno.EIO:
            self._bad_in_a_row += 1
        if is_gone or self._bad_in_a_row >= _MOST_BAD_IN_A_ROW:
            return StickGone(f"errno {exc.errno}")
        return BadPiece(exc.strerror or str(exc))

    def remove(self, path: str) -> None:
        """Delete a payload file that has been moved into the cache."""
        self.close()
        names = path.split("/")
        with contextlib.suppress(OSError), self.root.descend(names[:-1]) as folder:
            folder.unlink(names[-1])


def rebuild_stick(root: Folder, bundle: Bundle) -> Stick:
    """Make up a stick.json from file names: without pieces, only whole files can be checked."""
    ranges = []
    for shard in (f"{number:02x}" for number in range(256)):
        with contextlib.suppress(OSError), root.descend([*POOL_FOLDER.split("/"), shard]) as folder:
            for name in sorted(folder.names()):
                match = POOL_PATH.fullmatch(f"{POOL_FOLDER}/{shard}/{name}")
                stored = bundle.objects.get(match.group(2)) if match else None
                size = folder.plain_size(name)
                if match is None or stored is None or size is None:
                    continue
                offset, end = int(match.group(3), 16), int(match.group(3), 16) + size
                is_fit = offset % bundle.piece_size == 0 and end <= stored.size
                if is_fit and (size % bundle.piece_size == 0 or end == stored.size):
                    ranges.append(Range(match.group(2), offset, size, match.group(0), 0, ()))
    for repo in bundle.repos:
        for revision in repo.revisions.values():
            for file in revision.files:
                path = in_place_path(repo.folder, revision.commit, file.path)
                names = path.split("/")
                with contextlib.suppress(OSError), root.descend(names[:-1]) as folder:
                    if file.sha256 in bundle.objects and folder.plain_size(names[-1]) == file.size:
                        ranges.append(Range(file.sha256, 0, file.size, path, 0, ()))
    return Stick(bundle.set_id, 0, None, "", bundle.content_sha256, "", "", tuple(ranges))


def find_bags(paths: Sequence[str]) -> list[str]:
    """Return the folders of sticks: those named, or below a mount point that was named."""
    found = []
    for path in paths:
        if os.path.lexists(os.path.join(path, BUNDLE_NAME)):
            found.append(path)
            continue
        with reading(path):
            names = sorted(os.listdir(path))
        below = [os.path.join(path, name) for name in names if name.startswith("hfb-")]
        below = [bag for bag in below if os.path.lexists(os.path.join(bag, BUNDLE_NAME))]
        if not below:
            message = f"{path} is no bundle, and holds none"
            raise BundleError("E-NOBUNDLE", USAGE, message, "name the stick's folder, hfb-...")
        found += below
    return found


def open_bags(paths: Sequence[str], *, is_partial: bool = False) -> list[Bag]:
    """Open sticks of one set. Raises `BundleError`: E-MIXED if they are of several."""
    bags = []
    for path in find_bags(paths):
        with reading(path):
            bags.append(Bag.at(path, is_partial=is_partial))
    for bag in bags[1:]:
        if bag.content != bags[0].content:
            one, other = bag.bundle.short_id, bags[0].bundle.short_id
            message = f"the stick at {bag.path} belongs to set {one}, this import is of {other}"
            if one == other:
                message = f"the sticks at {bag.path} and {bags[0].path} differ in {BUNDLE_NAME}"
            raise BundleError("E-MIXED", USAGE, message, "name the sticks of one set")
    return bags


# === the cache ===================================================================================

LOCK_FOLDER = ".locks"
STAGING = ".hfaria-import"
SHARED_MARKER = ".huggingface-shared-blobs"
SHARED_BLOB = re.compile(r"\.\./\.\./blobs/([0-9a-f]{2})/([0-9a-f]{64})")
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This file is a cache directory tag created by huggingface_hub.\n"
    b"# For information about cache directory tags, see:\n"
    b"#\thttps://bford.info/cachedir/\n"
)
_WINDOWS_NAMED = ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "fuse.exfat")
# Where space can be reserved without writing zeros.
_RESERVES_SPACE = ("ext4", "xfs", "btrfs", "tmpfs", "f2fs")


class Place(NamedTuple):
    """Where else in the cache a content lies: a file `name` below `folders` of the cache."""

    folders: tuple[str, ...]
    name: str


class Filesystem(NamedTuple):
    """What the cache's filesystem can do, found by trying."""

    kind: str
    has_symlinks: bool
    has_hardlinks: bool
    ignores_case: bool
    has_windows_names: bool
    has_modes: bool


def filesystem_kind(path: str) -> str:
    """Return the filesystem's type as the Linux kernel names it, or an empty string."""
    kind = ""
    with contextlib.suppress(OSError, IndexError):
        device = os.stat(path).st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                # proc(5): id parent major:minor root mountpoint options ... - type source options
                left, _, right = line.partition(" - ")
                if left.split(" ")[2] == wanted:
                    kind = right.split(" ")[0]
    return kind


def disk_space(path: str) -> tuple[int, int]:
    """Return the size of the disk where a path is or would be made, and what is free of it."""
    path = os.path.abspath(path)
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    usage = shutil.disk_usage(path)
    return usage.total, usage.free


class Cache:
    """A Hugging Face cache that others may be reading and writing at the same time."""

    def __init__(self, path: str, *, make: bool, allow_symlinks: bool) -> None:
        self.path = os.path.abspath(path)
        self.root: Folder | None = None
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise BundleError("E-CACHE", DESTINATION, f"the cache {path} is not a folder")
        if make:
            os.makedirs(self.path, exist_ok=True)
        if os.path.isdir(self.path):
            self.root = Folder.root(self.path, fault=DESTINATION)
        is_posix = os.name != "nt"
        has_links = allow_symlinks and is_posix
        usual = Filesystem("", has_links, is_posix, not is_posix, not is_posix, is_posix)
        self.filesystem = self._probe(allow_symlinks=allow_symlinks) if make else usual
        if make:
            self._tag()
            self._sweep()

    @property
    def locks(self) -> Folder:
        """Folder of lock files; cache scanners skip it, so that what is half made can lie there."""
        return self._root().made(LOCK_FOLDER)

    def _root(self) -> Folder:
        if self.root is None:
            raise BundleError("E-CACHE", DESTINATION, f"there is no cache at {self.path}")
        return self.root

    def _probe(self, *, allow_symlinks: bool) -> Filesystem:
        kind = filesystem_kind(self.path)
        trial = f"hfaria-trial-{secrets.token_hex(4)}-x"
        facts = []
        with self.locks as folder:
            folder.write(trial, b"")
            ignores_case = folder.status(trial[:-1] + "X") is not None
            has_modes = False
            with contextlib.suppress(OSError, AttributeError), folder.open(trial) as file:
                os.fchmod(file.fileno(), 0o600)
                has_modes = stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
            for make in (folder.symlink, lambda old, new: folder.link(old, folder, new)):
                try:
                    make(trial, trial + "-link")
                    facts.append(True)
                except (OSError, NotImplementedError, AttributeError):
                    facts.append(False)
                folder.unlink(trial + "-link")
            folder.unlink(trial)
        has_windows_names = os.name == "nt" or kind in _WINDOWS_NAMED
        has_symlinks = facts[0] and allow_symlinks
        return Filesystem(kind, has_symlinks, facts[1], ignores_case, has_windows_names, has_modes)

    def _tag(self) -> None:
        root = self._root()
        if root.status("CACHEDIR.TAG") is None:
            with contextlib.suppress(OSError), self.locks as folder:
                name = f"hfaria-tag-{secrets.token_hex(4)}"
                folder.write(name, CACHEDIR_TAG)
                folder.replace(name, root, "CACHEDIR.TAG")

    def _sweep(self) -> None:
        """Remove what runs that were killed in a bad moment left beside the locks."""
        with contextlib.suppress(OSError, BundleError), self.locks as folder:
            for name in folder.names():
                status = folder.status(name) if name.startswith("hfaria-") else None
                if status is None or name.endswith(".lock"):
                    continue
                if time.time() - status.st_mtime < STALE_SECONDS:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    with folder.child(name) as new:
                        new.rmdir("snapshots")
                        new.rmdir("blobs")
                    folder.rmdir(name)
                else:
                    folder.unlink(name)

    def repo(self, name: str, *, make: bool) -> Folder | None:
        """Open a repo's folder. One that is made appears with its `snapshots`, for scanners."""
        if self.root is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            return self.root.child(name)
        if not make:
            return None
        new = f"hfaria-new-{secrets.token_hex(4)}"
        with self.locks as locks:
            with locks.made(new) as folder:
                folder.made("snapshots").close()
                folder.made("blobs").close()
            try:
                locks.rename(new, self.root, name)
            except OSError:
                if self.root.status(name) is None:
                    raise
                with locks.child(new) as folder:  # another process was faster
                    folder.rmdir("snapshots")
                    folder.rmdir("blobs")
                locks.rmdir(new)
        return self.root.child(name)

    def lock(self, repo_name: str, name: str) -> Lock:
        """Return a lock of a repo, not yet taken."""
        return Lock(self._root(), (LOCK_FOLDER, repo_name), name)

    def lock_exists(self, repo_name: str, name: str) -> bool:
        """Tell whether anybody ever took that lock."""
        with contextlib.suppress(FileNotFoundError), self._root().descend(
            [LOCK_FOLDER, repo_name]
        ) as folder:
            return folder.status(name) is not None
        return False

    def folder(self, names: Sequence[str]) -> Folder:
        """Open a folder of the cache; the caller closes it."""
        return self._root().descend(names)

    def shared_blob(self, text: str) -> Place | None:
        """Return where a blob's link leads to, if that is huggingface_hub's own shared store."""
        match = SHARED_BLOB.fullmatch(text)
        if match and self.size_at(Place(("blobs",), SHARED_MARKER)) is not None:
            return Place(("blobs", match.group(1)), match.group(2))
        return None

    def size_at(self, place: Place) -> int | None:
        """Return the size of a plain file of the cache, or None."""
        with contextlib.suppress(OSError), self._root().descend(place.folders) as folder:
            return folder.plain_size(place.name)
        return None

    def blob(self, repo_name: str, blobs: Folder, etag: str) -> tuple[Place, int] | None:
        """Return where a blob's bytes really lie, and how many; None if it is missing or dangles.

        Raises `BundleError` for a link that huggingface_hub would not have made.
        """
        status = blobs.status(etag)
        if status is None:
            return None
        if not _is_link(status):
            is_file = stat.S_ISREG(status.st_mode)
            return (Place((repo_name, "blobs"), etag), status.st_size) if is_file else None
        place = self.shared_blob(blobs.link_text(etag))
        if place is None:
            raise blobs.refuse(etag, "a link out of the cache")
        size = self.size_at(place)
        return None if size is None else (place, size)

    def repo_names(self) -> list[str]:
        """List the folders of repos."""
        names = [] if self.root is None else self.root.names()
        kinds = tuple(f"{kind}s--" for kind in REPO_TYPES)
        return sorted(name for name in names if name.startswith(kinds))


_NO_LISTING = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    BundleError,
)


def _listing(repo: Folder, commit: str) -> dict[str, str]:
    """Return path -> ETag from a cached tree file; empty if there is none that can be used."""
    found: dict[str, str] = {}
    try:
        with repo.child("trees") as trees:
            document = json.loads(trees.read(f"{commit}.json", JSON_MOST_BYTES) or b"{}")
        for path, entry in document["files"].items():
            etag = entry.get("lfs_sha256") or entry["blob_id"]
            if path_problem(path) is None and ETAG.fullmatch(etag):
                found[path] = etag
    except _NO_LISTING:
        return {}
    return found


def cached_files(cache: Cache, name: str) -> Iterator[tuple[str, int, Place]]:
    """Yield ETag, size and place of each content that a repo of the cache holds.

    Blobs by their names; where there are no symlinks, files of snapshots by the tree file.
    """
    try:
        repo = cache.repo(name, make=False)
    except BundleError:
        return  # a link where a folder belongs: not ours to look through
    if repo is None:
        return
    with repo:
        with contextlib.suppress(OSError, BundleError), repo.child("blobs") as blobs:
            for etag in blobs.names():
                if ETAG.fullmatch(etag):
                    with contextlib.suppress(OSError, BundleError):
                        found = cache.blob(name, blobs, etag)
                        if found is not None:
                            yield etag, found[1], found[0]
        with contextlib.suppress(OSError, BundleError), repo.child("snapshots") as snapshots:
            for commit in snapshots.names():
                if COMMIT.fullmatch(commit):
                    for path, etag in _listing(repo, commit).items():
                        place = Place((name, "snapshots", commit, *path.split("/")[:-1]), "")
                        place = place._replace(name=path.split("/")[-1])
                        size = cache.size_at(place)
                        if size is not None:
                            yield etag, size, place


# --- what is staged ------------------------------------------------------------------------------


def read_note(staging: Folder, sha256: str, size: int, piece_size: int) -> bytearray:
    """Return for each piece of an object whether an earlier run has it on the disk."""
    count = piece_count(size, piece_size)
    text = staging.read(f"{sha256}.pieces", JSON_MOST_BYTES) or b""
    header, _, held = text.partition(b"\n")
    is_ours = header == b"%d %d" % (size, piece_size) and len(held) == count
    if not is_ours or staging.plain_size(f"{sha256}.part") is None:
        return bytearray(count)
    return bytearray(held.translate(bytes(value == ord("1") for value in range(256))))


_AS_TEXT = bytes(value + ord("0") & 255 for value in range(256))


class Partial:
    """Staged bytes of one object, and which of its pieces are there.

    The pieces are noted beside it only after the bytes have reached the disk, so that a power cut
    can't leave a note without its bytes.
    """

    def __init__(self, staging: Folder, sha256: str, size: int, piece_size: int) -> None:
        self._staging = staging
        self._name = f"{sha256}.part"
        self._note = f"{sha256}.pieces"
        self.size = size
        self.piece_size = piece_size
        self.count = piece_count(size, piece_size)
        self.held = read_note(staging, sha256, size, piece_size)
        flags = os.O_RDWR | os.O_CREAT | (0 if any(self.held) else os.O_TRUNC)
        self.file = staging.open(self._name, flags)
        self._unsaved = 0
        self._saving: threading.Thread | None = None
        self._failure: OSError | None = None

    def bounds(self, number: int) -> tuple[int, int]:
        """Return start and length of a piece."""
        start = number * self.piece_size
        return start, min(self.piece_size, self.size - start)

    @property
    def is_full(self) -> bool:
        """Whether each piece is there."""
        return all(self.held)

    @property
    def bytes_held(self) -> int:
        """How much of it is there."""
        return sum(self.bounds(number)[1] for number, held in enumerate(self.held) if held)

    def reserve_space(self, kind: str) -> None:
        """Claim the space at once, so that a full disk shows before hours of copying."""
        if kind in _RESERVES_SPACE and self.size and not any(self.held):
            with contextlib.suppress(AttributeError):
                os.posix_fallocate(self.file.fileno(), 0, self.size)

    def write(self, position: int, view: memoryview) -> None:
        """Write bytes of a piece that is not held yet."""
        if self.file.tell() != position:
            self.file.seek(position)
        write_all(self.file, view)
        self._unsaved += len(view)

    def hold(self, number: int) -> None:
        """Count a piece as there; from time to time, note it."""
        self.held[number] = 1
        if self._unsaved >= NOTE_BYTES:
            # Beside the copying: a stick that waits for the disk is a stick that idles.
            self._wait()
            self._unsaved = 0
            self._saving = threading.Thread(target=self._save, args=(bytes(self.held),))
            self._saving.start()

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget pieces that turned out to be wrong."""
        for number in numbers:
            self.held[number] = 0
        self.save()

    def save(self) -> None:
        """Bring the bytes to the disk, then note which there are."""
        self._wait()
        self._unsaved = 0
        self._save(bytes(self.held))
        self._wait()

    def _save(self, held: bytes) -> None:
        note = b"%d %d\n" % (self.size, self.piece_size)
        try:
            os.fsync(self.file.fileno())
            self._staging.write(self._note + ".new", note + held.translate(_AS_TEXT))
            self._staging.replace(self._note + ".new", self._staging, self._note)
        except OSError as exc:
            self._failure = exc

    def _wait(self) -> None:
        """Wait for what is being saved. Raises what the disk said to it."""
        if self._saving is not None:
            self._saving.join()
        self._saving, failure, self._failure = None, self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Keep what is there for the next run."""
        if not self.file.closed:
            try:
                self.save()
            finally:
                self.file.close()

    def feed(self, digests: Sequence[Any], number: int | None = None) -> None:
        """Read a piece, or all of it, back from this machine's disk into digests."""
        start, length = (0, self.size) if number is None else self.bounds(number)
        digest_file(self.file, digests, length, start)

    def publish(self, folder: Folder, name: str) -> None:
        """Give the verified bytes their final name."""
        self._wait()
        os.ftruncate(self.file.fileno(), self.size)
        os.fsync(self.file.fileno())
        self.file.close()
        self._staging.replace(self._name, folder, name)
        self._staging.unlink(self._note)

    def discard(self) -> None:
        """Remove it."""
        self._wait()
        self.file.close()
        self._staging.unlink(self._name)
        self._staging.unlink(self._note)


class RepoStore:
    """One repo's folder in the cache: what is there, and how more becomes visible."""

    def __init__(self, cache: Cache, repo: Repo, *, make: bool) -> None:
        self.cache = cache
        self.repo = repo
        self.folder = cache.repo(repo.folder, make=make)
        self.blobs = self._child("blobs", make=make)
        self.snapshots = self._child("snapshots", make=make)
        self.staging = self._child(STAGING, make=make, mode=0o700)
        self.ready = None if self.staging is None else self._ready(self.staging, make=make)
        self._last: tuple[str, Folder] | None = None

    def __enter__(self) -> RepoStore:  # noqa: PYI034 - typing.Self is of 3.11
        return self

    def __exit__(self, *exc: object) -> None:
        last = None if self._last is None else self._last[1]
        for folder in (self.folder, self.blobs, self.snapshots, self.staging, self.ready, last):
            if folder is not None:
                folder.close()

    def _child(self, name: str, *, make: bool, mode: int = 0o777) -> Folder | None:
        if self.folder is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            folder = self.folder.made(name, mode) if make else self.folder.child(name)
            is_ours = not self.cache.filesystem.has_modes or folder.is_private
            if mode == 0o700 and not is_ours:
                raise BundleError(
                    "E-CACHE",
                    DESTINATION,
                    f"{self.folder.named(name)} is another user's, or open to others",
                    "let that user finish the import, or remove the folder",
                )
            return folder
        return None

    def _ready(self, staging: Folder, *, make: bool) -> Folder | None:
        """Verified files that wait for their snapshot, where snapshots hold files, not links."""
        if make and not self.cache.filesystem.has_symlinks:
            return staging.made("ready")
        with contextlib.suppress(FileNotFoundError):
            return staging.child("ready")
        return None

    def has(self, etag: str, size: int) -> bool:
        """Tell whether a content is here, ready to be placed in snapshots."""
        if self.ready is not None and self.ready.plain_size(etag) == size:
            return True
        found = None if self.blobs is None else self.cache.blob(self.repo.folder, self.blobs, etag)
        return found is not None and found[1] == size

    def is_here(self, commit: str, file: FileEntry, *, rehash_below: int = 0) -> bool:
        """Tell whether a file is in its snapshot, or could be put there without a stick."""
        return (
            self.is_placed(commit, file, rehash_below)
            or self.has(file.etag, file.size)
            or self._is_staged(commit, file)
        )

    def _is_staged(self, commit: str, file: FileEntry) -> bool:
        """Tell whether a run that was cut off moved a file into a snapshot not yet visible."""
        names = file.path.split("/")
        if self.staging is None or self.snapshots is None or self.snapshots.status(commit):
            return False
        with contextlib.suppress(FileNotFoundError), self.staging.descend(
            [commit, *names[:-1]]
        ) as folder:
            return folder.plain_size(names[-1]) == file.size
        return False

    def is_placed(self, commit: str, file: FileEntry, rehash_below: int = 0) -> bool:
        """Tell whether a snapshot has a file, as a link to its blob or by itself.

        Files that are smaller than `rehash_below` are read. Raises `BundleError` E-CONFLICT if the
        file has other content.
        """
        folder, name = self._folder_of(commit, file)
        status = None if folder is None else folder.status(name)
        if folder is None or status is None:
            return False
        if _is_link(status):
            is_same = folder.link_text(name) == pointer_text(file)
            is_whole = is_same and self.has(file.etag, file.size)
        else:
            is_same = is_whole = self._is_same(folder, name, file, rehash_below)
        if not is_same:
            place = f"snapshots/{commit[:8]}/{shown(file.path)[1:-1]}"
            message = f"{place} of {self.repo.label} is not what this commit has in the bundle"
            hint = "one of the two is wrong; nothing of this revision was changed"
            raise BundleError("E-CONFLICT", INTEGRITY, message, hint)
        return is_whole

    def _folder_of(self, commit: str, file: FileEntry) -> tuple[Folder | None, str]:
        """Return the folder of a snapshot's file, if it is there; the last one stays open."""
        at, _, name = f"{commit}/{file.path}".rpartition("/")
        if self._last is None or self._last[0] != at:
            if self._last is not None:
                self._last[1].close()
            self._last = None
            with contextlib.suppress(FileNotFoundError):
                if self.snapshots is not None:
                    self._last = (at, self.snapshots.descend(at.split("/")))
        return (None if self._last is None else self._last[1]), name

    def _is_same(self, folder: Folder, name: str, file: FileEntry, rehash_below: int) -> bool:
        if folder.plain_size(name) != file.size:
            return False
        if file.size >= rehash_below:
            return True
        digest = hashlib.sha256()
        with folder.open(name) as opened:
            digest_file(opened, [digest], file.size)
        return digest.hexdigest() == file.sha256

    def staged(self) -> Folder:
        """Return our own folder beside what is published; unseen by cache scanners."""
        if self.folder is None or self.staging is None:
            raise BundleError("E-CACHE", DESTINATION, f"no folder for {self.repo.label}")
        if self.staging.is_removed:  # by an import at the same time, which was done before us
            self.staging = self._child(STAGING, make=True, mode=0o700) or self.staging
            self.ready = self._ready(self.staging, make=True)
        return self.staging

    def destination(self) -> Folder:
        """Return the folder where a verified content is published."""
        folder = self.blobs if self.cache.filesystem.has_symlinks else self.ready
        if folder is None:
            raise BundleError("E-CACHE", DESTINATION, f"no folder for {self.repo.label}")
        return folder

    def staged_bytes(self, want: Want) -> int:
        """Return how much of a content an earlier run has staged."""
        status = None if self.staging is None else self.staging.status(f"{want.sha256}.part")
        if status is None:
            return 0
        # Blocks of 512 bytes, by POSIX: a partial may have holes.
        return min(getattr(status, "st_blocks", status.st_size // 512) * 512, want.size)

    def bytes_missing(self, want: Want, piece_size: int) -> int:
        """Return how much of a content no run has staged yet."""
        pieces = self.pieces_missing(want, piece_size)
        return sum(min(piece_size, want.size - number * piece_size) for number in pieces)

    def pieces_missing(self, want: Want, piece_size: int) -> set[int]:
        """Return the pieces of a content that no run has staged yet."""
        if self.staging is None:
            return set(range(piece_count(want.size, piece_size)))
        held = read_note(self.staging, want.sha256, want.size, piece_size)
        return {number for number, is_held in enumerate(held) if not is_held}

    def is_complete(self, revision: Revision) -> bool:
        """Tell whether a snapshot has all files of a revision."""
        return all(self.is_placed(revision.commit, file) for file in revision.files)

    def place(self, revision: Revision, pending: dict[str, int]) -> None:
        """Make a revision visible: all of it by one rename, or what a snapshot lacks file by file.

        `pending` counts how often each content is still to be placed in this repo.
        """
        if self.snapshots is None or self.staging is None:
            raise BundleError("E-CACHE", DESTINATION, f"no folder for {self.repo.label}")
        if self.snapshots.status(revision.commit) is not None:
            with self.snapshots.child(revision.commit) as folder:
                self._fill(folder, revision, pending)
                return
        self._reclaim(revision)
        with self.staging.made(revision.commit) as folder:
            self._fill(folder, revision, pending)
        try:
            self.staging.rename(revision.commit, self.snapshots, revision.commit)
        except OSError:
            # Somebody made the snapshot meanwhile: what it lacks is added.
            if self.snapshots.status(revision.commit) is None:
                raise
            with self.snapshots.child(revision.commit) as folder:
                self._fill(folder, revision, pending)

    def _reclaim(self, revision: Revision) -> None:
        """Take a half-made snapshot apart: whatever bundle began it is not this one's word."""
        if self.staging is None or self.staging.status(revision.commit) is None:
            return
        for file in revision.files if self.ready is not None else ():
            if self._is_staged(revision.commit, file):
                names = [revision.commit, *file.path.split("/")]
                with self.staging.descend(names[:-1]) as folder:
                    if self._is_same(folder, names[-1], file, MOST_INT) and self.ready:
                        folder.replace(names[-1], self.ready, file.etag)
        self.staging.remove(revision.commit)

    def _fill(self, folder: Folder, revision: Revision, pending: dict[str, int]) -> None:
        at, parent = "", folder.descend([])
        try:
            for file in revision.files:
                above, _, name = file.path.rpartition("/")
                if above != at:
                    parent.close()
                    at, parent = above, folder.descend(above.split("/") if above else [], make=True)
                if parent.status(name) is None:
                    self._place_file(parent, name, file, pending)
                pending[file.etag] -= 1
        finally:
            parent.close()

    def _place_file(
        self, parent: Folder, name: str, file: FileEntry, pending: dict[str, int]
    ) -> None:
        if self.cache.filesystem.has_symlinks:
            with contextlib.suppress(FileExistsError):
                parent.symlink(pointer_text(file), name)
            return
        source, from_name = self._source(file)
        if source is self.ready and pending[file.etag] == 1:
            source.replace(from_name, parent, name)
            return
        if self.cache.filesystem.has_hardlinks and source is self.ready:
            source.link(from_name, parent, name)
            return
        copy_file(source, from_name, self.staged(), "copy", file.size)
        self.staged().replace("copy", parent, name)

    def _source(self, file: FileEntry) -> tuple[Folder, str]:
        for folder in (self.ready, self.blobs):
            if folder is not None and folder.plain_size(file.etag) == file.size:
                return folder, file.etag
        raise BundleError("E-CACHE", DESTINATION, f"{shown(file.path)} vanished from the cache")

    def write_tree(self, revision: Revision) -> None:
        """Store the full listing of a complete revision, unless there is one."""
        if self.folder is None or self.staging is None or not revision.is_complete:
            return
        with self.folder.made("trees") as trees:
            name = f"{revision.commit}.json"
            if trees.status(name) is None:
                self.staging.write("tree", tree_file(revision))
                self.staging.replace("tree", trees, name)

    def read_ref(self, name: str) -> str | None:
        """Return what a ref says; None if it is absent."""
        if self.folder is None:
            return None
        names = ["refs", *name.split("/")]
        with contextlib.suppress(FileNotFoundError), self.folder.descend(names[:-1]) as folder:
            content = folder.read(names[-1], 4096)
            return None if content is None else content.decode("ascii", "replace")
        return None

    def write_ref(self, name: str, commit: str) -> None:
        """Let a ref name a commit; without a newline, which huggingface_hub would take along."""
        if self.folder is None or self.staging is None:
            return
        names = ["refs", *name.split("/")]
        with self.folder.descend(names[:-1], make=True) as folder:
            self.staging.write("ref", commit.encode("ascii"))
            self.staging.replace("ref", folder, names[-1])
            folder.sync()

    def tidy(self) -> None:
        """Remove the staging folder, now that nothing of this repo waits in it."""
        if self.folder is None or self.staging is None:
            return
        # Of other sets' partials nothing is touched.
        ours = {file.sha256 for file in files_of(self.repo)} | {"copy", "tree", "ref"}
        for name in self.staging.names():
            if name.partition(".")[0] in ours:
                self.staging.unlink(name)
            elif name == "ready" or name in self.repo.revisions:
                self.staging.remove(name)
        self.folder.rmdir(STAGING)


def pointer_text(file: FileEntry) -> str:
    """Return the text of the symlink that a snapshot holds for a file."""
    return "../" * (2 + file.path.count("/")) + f"blobs/{file.etag}"


def copy_file(source: Folder, name: str, target: Folder, new_name: str, size: int) -> None:
    """Copy a file of the cache within it, and bring it to the disk."""
    target.unlink(new_name)
    buffer = memoryview(bytearray(IO_SIZE))
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    with source.open(name) as old, target.open(new_name, flags) as new:
        while size:
            count = old.readinto(buffer[: min(IO_SIZE, size)]) or 0
            if not count:
                raise OSError(errno.EIO, "the file became shorter", source.named(name))
            write_all(new, buffer[:count])
            size -= count
        os.fsync(new.fileno())


# === import ======================================================================================

LOCK_PATIENCE_SECONDS = 600.0
BATCH_BYTES = 32 << 20
BATCH_FILES = 500


class Options(NamedTuple):
    """What the operator asked for."""

    cache: str
    repos: tuple[str, ...] = ()
    mode: str = "auto"
    update_refs: bool = False
    trust: tuple[str, ...] = ()
    require_signature: bool = False
    safe_only: bool = False
    not_before: str | None = None
    rehash: bool = False
    reserve: int | None = None
    is_dry_run: bool = False
    needs: str | None = None
    allow_symlinks: bool = True


class Want(NamedTuple):
    """A content that a repo of the cache lacks."""

    etag: str
    sha256: str
    size: int


class Outcome(NamedTuple):
    """What an import did, and what is left to do."""

    missing: tuple[Want, ...]
    error: BundleError | None


class Importer:
    """Brings sticks of one set into a cache; state is in the cache, so that any order will do."""

    def __init__(
        self, bags: Sequence[Bag], options: Options, signature: Signature, console: Console
    ) -> None:
        self.bags = bags
        self.bundle = bags[0].bundle
        self.options = options
        self.signature = signature
        self.console = console
        self.cache = Cache(
            options.cache, make=not options.is_dry_run, allow_symlinks=options.allow_symlinks
        )
        self.repos = select_repos(self.bundle, options.repos)
        self.sources = sources_of(bags)
        self.elsewhere: dict[str, list[Place]] = {}
        self.verified: set[Place] = set()
        self.bad: dict[str, set[int]] = {}
        self.gone: tuple[Bag, str] | None = None
        self.unplaceable: list[str] = []
        self.placed: list[tuple[Repo, str]] = []
        self.moved: list[str] = []
        self.kept: list[str] = []
        self.bytes_needed = 0

    # --- before the first byte -------------------------------------------------------------------

    def run(self) -> Outcome:
        """Import what these sticks have. Raises `BundleError` before anything was changed."""
        plan = self._survey()
        self._check_prerequisites(plan)
        self._check_space(plan)
        if not self.options.is_dry_run:
            try:
                for repo in self.repos:
                    with RepoStore(self.cache, repo, make=True) as store:
                        self._copy(store, plan[repo.folder])
                        self._place(store)
                    if self.gone:
                        break
            finally:
                for bag in self.bags:
                    bag.close()
        return self._outcome()

    def _survey(self) -> dict[str, list[Want]]:
        """Find what each repo lacks, and what else the cache holds of it."""
        wanted = {file.etag for repo in self.repos for file in files_of(repo)}
        for name in self.cache.repo_names():
            for etag, _, place in cached_files(self.cache, name):
                if etag in wanted:
                    self.elsewhere.setdefault(etag, []).append(place)
        return {repo.folder: self._lacking(repo) for repo in self.repos}

    def _lacking(self, repo: Repo) -> list[Want]:
        wants: dict[str, Want] = {}
        with RepoStore(self.cache, repo, make=False) as store:
            for revision in repo.revisions.values():
                for file in revision.files:
                    if file.etag not in wants and not self._is_here(store, revision, file):
                        wants[file.etag] = Want(file.etag, file.sha256, file.size)
        return sorted(wants.values(), key=lambda want: (-want.size, want.sha256))

    def _is_here(self, store: RepoStore, revision: Revision, file: FileEntry) -> bool:
        rehash = self.options.rehash
        most = MOST_INT if rehash else REHASHED_BYTES
        is_here = store.is_here(revision.commit, file, rehash_below=most)
        return is_here and (not rehash or self._is_sound(store, file))

    def _is_sound(self, store: RepoStore, file: FileEntry) -> bool:
        """Hash a blob that is in the cache (`--rehash-existing`)."""
        found = store.cache.blob(store.repo.folder, store.blobs, file.etag) if store.blobs else None
        if found is None or found[0] in self.verified:
            return True
        is_sound = self._verify(found[0], Want(file.etag, file.sha256, file.size))
        if not is_sound:
            self.console.say(f"blob {file.etag} of {store.repo.label} is damaged: it is replaced")
        return is_sound

    def _check_prerequisites(self, plan: dict[str, list[Want]]) -> None:
        requires = self.bundle.requires
        lacking = [
            want
            for wants in plan.values()
            for want in wants
            if want.sha256 in requires and self._found_elsewhere(want) is None
        ]
        if lacking:
            base = (
                f" ({self.bundle.base_kind} {self.bundle.base_id})" if self.bundle.base_id else ""
            )
            listed = ", ".join(sorted(want.sha256[:12] for want in lacking)[:5])
            raise BundleError(
                "E-PREREQ",
                POLICY,
                f"this bundle adds to files that are not in {self.options.cache}: {len(lacking)} "
                f"missing ({listed}{', ...' if len(lacking) > 5 else ''}); it was made against "
                f"what this machine was said to have{base}",
                "ask for a bundle made with --base none, or import the earlier one first",
            )

    def _found_elsewhere(self, want: Want) -> Place | None:
        for place in self.elsewhere.get(want.etag, ()):
            if self.cache.size_at(place) == want.size:
                return place
        return None

    def _check_space(self, plan: dict[str, list[Want]]) -> None:
        filesystem = self.cache.filesystem
        needed, seen = 0, set()
        for repo in self.repos:
            uses: dict[str, int] = {}
            for file in files_of(repo):
                uses[file.etag] = uses.get(file.etag, 0) + 1
            with RepoStore(self.cache, repo, make=False) as store:
                for want in plan[repo.folder]:
                    is_free = self._costs_no_space(want) or want.sha256 in seen
                    copies = 0 if is_free and filesystem.has_hardlinks else 1
                    if not filesystem.has_symlinks and not filesystem.has_hardlinks:
                        copies += uses[want.etag] - 1
                    seen.add(want.sha256)
                    needed += copies * want.size - min(copies, 1) * store.staged_bytes(want)
        total, free = disk_space(self.options.cache)
        reserve = self.options.reserve
        reserve = max(1 << 30, total // 100) if reserve is None else reserve
        self.bytes_needed = needed
        if needed and needed + reserve > free:
            raise BundleError(
                "E-SPACE",
                DESTINATION,
                f"{self.options.cache} needs {size_text(needed)} + {size_text(reserve)} reserve, "
                f"has {size_text(free)}; nothing was copied",
                "free space, name one --repo, or import with --mode move",
            )
        if self.cache.filesystem.kind in ("vfat", "msdos"):
            for wants in plan.values():
                for want in wants:
                    if want.size > FAT32_LARGEST_FILE:
                        message = f"{self.options.cache} is on FAT32, which holds no file of 4 GiB"
                        raise BundleError("E-FAT4G", DESTINATION, message, "use another filesystem")

    def _costs_no_space(self, want: Want) -> bool:
        sources = self.sources.get(want.sha256, [])
        is_whole = any(held.length == want.size for _, held in sources)
        if self._found_elsewhere(want) is not None:
            return True
        same = [bag for bag, _ in sources if self._same_device(bag)]
        return self.options.mode in ("move", "link") and is_whole and bool(same)

    def _same_device(self, bag: Bag) -> bool:
        with contextlib.suppress(OSError):
            return os.stat(bag.path).st_dev == os.stat(self.cache.path).st_dev
        return False

    # --- copying ---------------------------------------------------------------------------------

    def _copy(self, store: RepoStore, wants: Sequence[Want]) -> None:
        """Bring in what a repo lacks, largest first; another process may be at the same."""
        here = [
            want
            for want in wants
            if want.sha256 in self.sources or self._found_elsewhere(want) is not None
        ]
        self.console.start(store.repo.label, sum(want.size for want in here))
        small_bytes = min(SMALL_BYTES, self.bundle.piece_size)
        large = [want for want in here if want.size > small_bytes]
        waiting_since: float | None = None
        while large and not self.is_over():
            busy = [want for want in large if not self._copy_locked(store, want)]
            if len(busy) == len(large):
                waiting_since = self._wait(busy[0], waiting_since)
                if waiting_since is None:
                    break
            large = busy
        small = [want for want in here if want.size <= small_bytes]
        lock = self._repo_lock(store)
        try:
            while small and not self.is_over():
                small = self._copy_batch(store, small)
        finally:
            lock.release()
        self.console.end()

    def _wait(self, want: Want, since: float | None) -> float | None:
        """Wait a moment for who holds a blob's lock; None when patience is over."""
        if since is None:
            self.console.say(f"waiting for another process that writes blob {want.etag[:12]}")
        time.sleep(0.1)
        since = time.monotonic() if since is None else since
        return since if time.monotonic() - since < LOCK_PATIENCE_SECONDS else None

    def _repo_lock(self, store: RepoStore) -> Lock:
        """Take the lock for what is staged under fixed names in a repo."""
        lock = self.cache.lock(store.repo.folder, "hfaria-import.lock")
        since = time.monotonic()
        while not lock.take():
            if time.monotonic() - since > LOCK_PATIENCE_SECONDS:
                message = f"another import of {store.repo.label} does not end"
                raise BundleError("E-BUSY", DESTINATION, message, "wait for it, or stop it")
            time.sleep(0.05)
        return lock

    def is_over(self) -> bool:
        """Whether the stick is gone."""
        return self.gone is not None

    def _copy_locked(self, store: RepoStore, want: Want) -> bool:
        """Bring in one content under its lock; False if another process holds that."""
        if self.is_over():
            return True
        lock = self.cache.lock(store.repo.folder, f"{want.etag}.lock")
        if not lock.take():
            return False
        try:
            if not store.has(want.etag, want.size) or self.options.rehash:
                self._copy_one(store, want)
            else:
                self.console.step(want.size)
        finally:
            lock.release()
        return True

    def _copy_one(self, store: RepoStore, want: Want) -> None:
        if self._take_from_elsewhere(store, want) or want.sha256 not in self.sources:
            return
        if self.options.mode in ("move", "link") and self._take_whole(store, want):
            return
        partial = Partial(store.staged(), want.sha256, want.size, self.bundle.piece_size)
        try:
            partial.reserve_space(self.cache.filesystem.kind)
            self._clone(partial, want)
            self.console.step(partial.bytes_held)
            offers = self._offers(want)
            digest = self._copy_pieces(partial, want, offers)
            self._finish(store, partial, want, digest, offers)
        finally:
            partial.close()

    def _offers(self, want: Want) -> dict[int, list[tuple[Bag, Range]]]:
        """Return who has each piece."""
        offers: dict[int, list[tuple[Bag, Range]]] = {}
        for bag, held in self.sources[want.sha256]:
            first = held.offset // self.bundle.piece_size
            for number in range(first, first + piece_count(held.length, self.bundle.piece_size)):
                offers.setdefault(number, []).append((bag, held))
        return offers

    def _copy_pieces(
        self, partial: Partial, want: Want, offers: dict[int, list[tuple[Bag, Range]]]
    ) -> Any:
        """Copy the pieces that are not held; return the digest of all, if it could run along.

        If all of it is at hand, one digest of the whole does, and pieces are looked at only when
        it is wrong. Otherwise, and in the second try, each piece is checked on its way.
        """
        missing = [number for number in range(partial.count) if not partial.held[number]]
        if len(missing) == partial.count and all(number in offers for number in missing):
            digest = hashlib.sha256()
            is_read = all(
                self._copy_piece(partial, number, offers[number], digest) for number in missing
            )
            if is_read and digest.hexdigest() == want.sha256:
                return digest
            if not self.is_over():
                self._drop_wrong(partial, want, offers)
        bad = {
            number
            for number in missing
            if not (partial.held[number] or number not in offers or self.is_over())
            and not self._copy_piece(partial, number, offers[number], None)
        }
        if bad:
            self.bad.setdefault(want.sha256, set()).update(bad)
        if self.is_over():
            # What failed last failed because the stick was on its way out.
            self.bad.pop(want.sha256, None)
        return None

    def _copy_piece(
        self, partial: Partial, number: int, offers: list[tuple[Bag, Range]], digest: Any
    ) -> bool:
        """Copy one piece: into the digest of the whole, or, without one, checked by its own."""
        for bag, held in offers[: None if digest is None else 1]:
            expected = expected_piece(held, number, partial.piece_size)
            running = hashlib.sha256() if digest is None else digest
            position, _ = partial.bounds(number)
            following = partial.held.find(1, number)
            stop = partial.count if following < 0 else following
            try:
                for view in bag.read_piece(held, number, partial.piece_size, stop=stop):
                    running.update(view)
                    partial.write(position, view)
                    position += len(view)
                    self.console.step(len(view))
            except BadPiece:
                continue
            except StickGone as exc:
                self.gone = (bag, str(exc))
                return False
            if digest is not None or expected in (None, running.hexdigest()):
                partial.hold(number)
                return True
        return False

    def _drop_wrong(
        self, partial: Partial, want: Want, offers: dict[int, list[tuple[Bag, Range]]]
    ) -> None:
        """Drop what was copied unchecked and is wrong; all of it if nobody can say what."""
        wrong, unknown = [], []
        for number in range(partial.count):
            if partial.held[number]:
                piece = hashlib.sha256()
                partial.feed([piece], number)
                expected = {
                    expected_piece(held, number, partial.piece_size)
                    for _, held in offers.get(number, [])
                } - {None}
                if not expected:
                    unknown.append(number)
                elif piece.hexdigest() not in expected:
                    wrong.append(number)
        if not wrong and partial.is_full:
            wrong = unknown or list(range(partial.count))
            self.bad.setdefault(want.sha256, set()).update(wrong)
        partial.drop(wrong)

    def _clone(self, partial: Partial, want: Want) -> None:
        """Let the filesystem share the bytes where it can; they are hashed all the same."""
        if sys.platform == "win32" or self.options.mode != "auto" or any(partial.held):
            return
        for bag, held in self.sources[want.sha256]:
            if not self._same_device(bag) or held.length == 0:
                continue
            arguments = (held.start, held.length, held.offset)
            with contextlib.suppress(OSError, BundleError):
                # FICLONERANGE (ioctl_ficlonerange(2)): source, its start, length, where to
                request = struct.pack("qQQQ", bag.open(held.path).fileno(), *arguments)
                fcntl.ioctl(partial.file.fileno(), 0x4020940D, request)
                first = held.offset // partial.piece_size
                for number in range(first, first + piece_count(held.length, partial.piece_size)):
                    partial.held[number] = 1

    def _finish(
        self,
        store: RepoStore,
        partial: Partial,
        want: Want,
        digest: Any,
        offers: dict[int, list[tuple[Bag, Range]]],
    ) -> None:
        """Publish what is whole and right; keep what is not for the next stick."""
        if not partial.is_full:
            return
        whole, git = digest or hashlib.sha256(), git_blob_sha1(want.size)
        if digest is None or len(want.etag) == 40:
            partial.feed([git] if digest is not None else [whole, git])
            if whole.hexdigest() != want.sha256:
                self._drop_wrong(partial, want, offers)
                return
            if len(want.etag) == 40 and git.hexdigest() != want.etag:
                partial.discard()
                raise wrong_etag(want)
        partial.publish(store.destination(), want.etag)
        self._note(store, want)

    def _note(self, store: RepoStore, want: Want) -> None:
        """Remember a content that was published, for other repos; with `move`, free the stick."""
        self.bad.pop(want.sha256, None)
        kind = "blobs" if self.cache.filesystem.has_symlinks else STAGING
        folders = (
            (store.repo.folder, kind) if kind == "blobs" else (store.repo.folder, kind, "ready")
        )
        place = Place(folders, want.etag)
        self.elsewhere.setdefault(want.etag, []).insert(0, place)
        self.verified.add(place)
        if self.options.mode == "move":
            for bag, held in self.sources.get(want.sha256, ()):
                if not PACK_PATH.fullmatch(held.path):
                    bag.remove(held.path)

    def _copy_batch(self, store: RepoStore, wants: Sequence[Want]) -> list[Want]:
        """Bring in small contents, many with one flush of the disk; return those left."""
        staged: list[tuple[str, Want]] = []
        size, left = 0, list(wants)
        while left and len(staged) < BATCH_FILES and size < BATCH_BYTES and not self.is_over():
            want = left.pop(0)
            is_here = store.has(want.etag, want.size) and not self.options.rehash
            if is_here or self._take_from_elsewhere(store, want):
                self.console.step(want.size)
                continue
            content = self._read_small(want)
            if content is None:
                continue
            name = f"{want.sha256}.small"
            store.staged().unlink(name)
            with store.staged().open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                write_all(file, memoryview(content))
                if not hasattr(os, "sync"):
                    os.fsync(file.fileno())
            staged.append((name, want))
            size += want.size
            self.console.step(want.size)
        if staged and hasattr(os, "sync"):
            os.sync()
        for name, want in staged:
            self._publish_small(store, name, want)
        return left

    def _publish_small(self, store: RepoStore, name: str, want: Want) -> None:
        # Making a lock file for each of thousands of small blobs would take longer than they do;
        # nobody holds one that is not there.
        lock = self.cache.lock(store.repo.folder, f"{want.etag}.lock")
        is_locked = self.cache.lock_exists(store.repo.folder, f"{want.etag}.lock") and lock.take()
        store.staged().replace(name, store.destination(), want.etag)
        if is_locked:
            lock.release()
        self._note(store, want)

    def _read_small(self, want: Want) -> bytes | None:
        """Return a content of one piece, verified; None if no stick has it whole and right."""
        if want.sha256 not in self.sources:
            return None
        for bag, held in self.sources[want.sha256]:
            content = bytearray()
            try:
                for view in bag.read_piece(held, 0, self.bundle.piece_size):
                    content += view
            except BadPiece:
                continue
            except StickGone as exc:
                self.gone = (bag, str(exc))
                return None
            if hashlib.sha256(content).hexdigest() == want.sha256:
                git = git_blob_sha1(want.size)
                git.update(content)
                if len(want.etag) == 40 and git.hexdigest() != want.etag:
                    raise wrong_etag(want)
                return bytes(content)
        self.bad[want.sha256] = {0}
        return None

    def _take_from_elsewhere(self, store: RepoStore, want: Want) -> bool:
        """Link or copy a content that another repo, or another revision, of the cache holds."""
        for place in self.elsewhere.get(want.etag, ()):
            if self.cache.size_at(place) != want.size:
                continue
            if place not in self.verified and not self._verify(place, want):
                continue
            staging, name = store.staged(), f"{want.sha256}.copy"
            staging.unlink(name)
            with self.cache.folder(place.folders) as folder:
                is_linked = False
                if self.cache.filesystem.has_hardlinks and want.size >= LINKED_BYTES:
                    with contextlib.suppress(OSError):
                        folder.link(place.name, staging, name)
                        is_linked = True
                if not is_linked:
                    copy_file(folder, place.name, staging, name, want.size)
            staging.replace(name, store.destination(), want.etag)
            return True
        return False

    def _verify(self, place: Place, want: Want) -> bool:
        whole, git = hashlib.sha256(), git_blob_sha1(want.size)
        with self.cache.folder(place.folders) as folder, folder.open(place.name) as file:
            digest_file(file, [whole, git], want.size)
        is_right = whole.hexdigest() == want.sha256
        is_right = is_right and (len(want.etag) == 64 or git.hexdigest() == want.etag)
        if is_right:
            self.verified.add(place)
        return is_right

    def _take_whole(self, store: RepoStore, want: Want) -> bool:
        """Rename or link a file of the bundle into the cache, if both are on one filesystem."""
        for bag, held in self.sources[want.sha256]:
            is_file = held.length == want.size and not PACK_PATH.fullmatch(held.path)
            if not is_file or not self._same_device(bag):
                continue
            whole, git = hashlib.sha256(), git_blob_sha1(want.size)
            try:
                count = piece_count(want.size, self.bundle.piece_size)
                for number in range(count):
                    for view in bag.read_piece(held, number, self.bundle.piece_size, stop=count):
                        whole.update(view)
                        git.update(view)
                        self.console.step(len(view))
            except (BadPiece, StickGone):
                return False
            is_git_right = len(want.etag) == 64 or git.hexdigest() == want.etag
            status = os.fstat(bag.open(held.path).fileno())
            if whole.hexdigest() != want.sha256 or not is_git_right or status.st_size != want.size:
                return False
            names = held.path.split("/")
            name = f"{want.sha256}.whole"
            staging = store.staged()
            staging.unlink(name)
            with bag.root.descend(names[:-1]) as folder:
                if self.options.mode == "link":
                    folder.link(names[-1], staging, name)
                else:
                    folder.rename(names[-1], staging, name)
            found = staging.status(name)
            if found is None or (found.st_ino, found.st_dev) != (status.st_ino, status.st_dev):
                raise staging.refuse(name, "not the file that was read")
            bag.close()
            staging.replace(name, store.destination(), want.etag)
            self._note(store, want)
            return True
        return False

    # --- making it visible -----------------------------------------------------------------------

    def _place(self, store: RepoStore) -> None:
        """Make each whole revision visible, then its listing, and refs last."""
        lock = self._repo_lock(store)
        try:
            pending: dict[str, int] = {}
            for file in files_of(store.repo):
                pending[file.etag] = pending.get(file.etag, 0) + 1
            placed, changed = set(), False
            for revision in store.repo.revisions.values():
                if not all(store.is_here(revision.commit, file) for file in revision.files):
                    continue
                problem = self._name_problem(revision)
                if problem is not None:
                    self.unplaceable.append(f"{problem}: revision {revision.commit[:8]} skipped")
                    continue
                if not store.is_complete(revision):
                    store.place(revision, pending)
                    changed = True
                store.write_tree(revision)
                placed.add(revision.commit)
            if changed and hasattr(os, "sync"):
                os.sync()  # before a ref relies on it
            refs = {name: to for name, to in store.repo.refs.items() if to in placed}
            for name, commit in sorted(refs.items()):
                self._set_ref(store, name, commit)
            self.placed += [(store.repo, commit) for commit in sorted(placed)]
            if len(placed) == len(store.repo.revisions):
                store.tidy()
        finally:
            lock.release()

    def _name_problem(self, revision: Revision) -> str | None:
        paths = [file.path for file in revision.files]
        if self.cache.filesystem.has_windows_names:
            for path in paths:
                problem = portable_problem(path)
                if problem is not None:
                    return f"this machine's filesystem cannot hold {shown(path)} ({problem})"
        both = collision(paths) if self.cache.filesystem.ignores_case else None
        if both is not None:
            return f"this machine's filesystem cannot tell {shown(both[0])} from {shown(both[1])}"
        return None

    def _set_ref(self, store: RepoStore, name: str, commit: str) -> None:
        """Set a ref that is absent. One that names another commit is moved only for a reason."""
        current = store.read_ref(name)
        if current == commit:
            return
        if current is None or self._may_move(store, name):
            store.write_ref(name, commit)
            before = "new" if current is None else f"was {shown(current[:8])[1:-1]}"
            self.moved.append(f"refs/{name} of {store.repo.label} -> {commit[:8]} ({before})")
        else:
            self.kept.append(
                f"refs/{name} of {store.repo.label} stays at {shown(current[:8])[1:-1]} "
                f"(bundle: {commit[:8]}); use --update-refs to move it"
            )

    def _may_move(self, store: RepoStore, name: str) -> bool:
        """Whether a ref may be moved: it was asked for, or signed and not an old set replayed."""
        if self.options.update_refs:
            return True
        if self.signature.status != VALID:
            return False
        ref = f"{store.repo.folder} {name}"
        return all(
            receipt.get("created", "") < self.bundle.created
            for receipt in read_receipts(self.cache.path)
            if ref in receipt.get("refs", ())
        )

    # --- the end ---------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        missing: dict[str, Want] = {}
        left = 0
        for repo in self.repos:
            with RepoStore(self.cache, repo, make=False) as store:
                for revision in repo.revisions.values():
                    for file in revision.files:
                        if file.etag not in missing and not store.is_here(revision.commit, file):
                            want = Want(file.etag, file.sha256, file.size)
                            missing[file.etag] = want
                            left += store.bytes_missing(want, self.bundle.piece_size)
        return Outcome(tuple(missing.values()), self._error(len(missing), left))

    def _error(self, missing: int, left: int) -> BundleError | None:
        if self.options.is_dry_run:
            return None
        if self.gone is not None:
            bag, reason = self.gone
            return gone_error(bag, reason)
        if self.bad:
            return self._bad_pieces()
        if self.unplaceable:
            hint = "use a filesystem that holds these names; what was imported is kept as blobs"
            return BundleError("E-NAME", DESTINATION, "; ".join(self.unplaceable), hint)
        if missing:
            what = f"still missing {missing} contents ({size_text(left)})"
            return BundleError("E-MISSING", INCOMPLETE, what, self._next_stick())
        return None

    def _next_stick(self) -> str:
        here = sorted({bag.stick.number for bag in self.bags})
        of = max((bag.stick.of or 0 for bag in self.bags), default=0)
        others = [bag_name(self.bundle.set_id, n) for n in range(1, of + 1) if n not in here]
        if not others:
            return "insert the other sticks of this set and run again"
        return f"insert the stick labelled {' or '.join(others[:4])} and run again"

    def _bad_pieces(self) -> BundleError:
        lines = describe_pieces(self.bundle, self.bad)
        count = sum(map(len, self.bad.values()))
        more = f" and {len(lines) - 5} more ranges" if len(lines) > 5 else ""
        what = f"{count} bad piece{'s' if count > 1 else ''}: {'; '.join(lines[:5])}{more}"
        needs = needs_name(self.bundle.set_id)
        hint = f'run "hfaria bundle repair" with {needs} on the connected side'
        return BundleError("E-PIECE", INTEGRITY, f"{what}; the rest is kept", hint)


def wrong_etag(want: Want) -> BundleError:
    """Return the refusal of bytes that have another git id than the bundle names them by."""
    message = f"the bytes of blob {want.etag} have another git id; nothing was made of them"
    return BundleError("E-ETAG", INTEGRITY, message, "the bundle was altered")


def files_of(repo: Repo) -> Iterator[FileEntry]:
    """Yield each file of each revision."""
    for revision in repo.revisions.values():
        yield from revision.files


def select_repos(bundle: Bundle, names: Sequence[str]) -> list[Repo]:
    """Return the repos that were named, `id` or `type:id`; all if none was."""
    if not names:
        return list(bundle.repos)
    known = {repo.repo_id for repo in bundle.repos}
    known.update(f"{repo.repo_type}:{repo.repo_id}" for repo in bundle.repos)
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(sorted(repo.repo_id for repo in bundle.repos)[:10])
        message = f"this bundle has no repo {shown(unknown[0])}"
        raise BundleError("E-REPO", USAGE, message, f"it has: {listed}")
    return [
        repo
        for repo in bundle.repos
        if repo.repo_id in names or f"{repo.repo_type}:{repo.repo_id}" in names
    ]


def sources_of(bags: Sequence[Bag]) -> dict[str, list[tuple[Bag, Range]]]:
    """Return where each content's bytes are, over all sticks at hand."""
    found: dict[str, list[tuple[Bag, Range]]] = {}
    for bag in bags:
        for held in bag.stick.ranges:
            found.setdefault(held.sha256, []).append((bag, held))
    return found


def expected_piece(held: Range, number: int, piece_size: int) -> str | None:
    """Return the sha256 that stick.json gives a piece; None where it had to be made up."""
    return held.pieces[number - held.offset // piece_size] if held.pieces else None


def runs(numbers: Collection[int]) -> list[tuple[int, int]]:
    """Return neighbouring numbers as first and last."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


# === what the operator sees ======================================================================

RECEIPT_FORMAT = "hfaria-receipt/1"
RECEIPT_FOLDER = "hfaria-receipts"
_LINE_SECONDS = 0.2
_REPORT_SECONDS = 10.0


def size_text(size: float) -> str:
    """Return a size as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def parse_size(text: str) -> int:
    """Read `10GB`, `512MiB` or a number of bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])(i?))?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise BundleError(
            "E-USAGE", USAGE, f"{shown(text)} is not a size", "such as 10GB or 512MiB"
        )
    number, letter, binary = match.groups()
    power = "kmgt".index(letter.lower()) + 1 if letter else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


class Console:
    """Results on stdout; progress, notes and errors on stderr."""

    def __init__(self, *, is_quiet: bool = False, show_progress: bool = True) -> None:
        for stream in (sys.stdout, sys.stderr):
            # What the console can't show is shown as an escape: a name must never end the work.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self.is_quiet = is_quiet
        self._is_terminal = sys.stderr.isatty()
        self._shows_progress = show_progress
        self._label, self._total, self._done, self._width = "", 0, 0, 0
        self._started = self._shown = time.monotonic()

    def result(self, text: str) -> None:
        """Print what was asked for."""
        if not self.is_quiet:
            print(text, flush=True)

    def say(self, text: str) -> None:
        """Print a note."""
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def start(self, label: str, total: int) -> None:
        """Begin to show how far a repo has come."""
        self._label, self._total, self._done = label, total, 0
        self._started = self._shown = time.monotonic()

    def step(self, count: int) -> None:
        """Count bytes that are done."""
        self._done += count
        now = time.monotonic()
        if not self._shows_progress or now - self._shown < (
            _LINE_SECONDS if self._is_terminal else _REPORT_SECONDS
        ):
            return
        self._shown = now
        rate = self._done / max(now - self._started, 0.001)
        left = int(max(self._total - self._done, 0) / max(rate, 1))
        self._line(f"{self._progress(rate)}   eta {left // 60}:{left % 60:02d}")

    def _progress(self, rate: float) -> str:
        done = f"{size_text(min(self._done, self._total))} of {size_text(self._total)}"
        return f"{self._label}   {done}   {size_text(rate)}/s"

    def _line(self, text: str) -> None:
        if not self._is_terminal:
            self.say(text)
            return
        text = text[: max(shutil.get_terminal_size().columns - 1, 20)]
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def _clear(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            self._width = 0

    def end(self) -> None:
        """Say how it went."""
        if self._total:
            self.say(self._progress(self._done / max(time.monotonic() - self._started, 0.001)))


def read_receipts(cache: str) -> list[dict[str, Any]]:
    """Return the receipts of earlier imports that can be read."""
    receipts = []
    parent = os.path.dirname(os.path.realpath(cache))
    with contextlib.suppress(OSError, BundleError):
        root = Folder.root(parent, fault=DESTINATION)
        with root, root.child(RECEIPT_FOLDER) as folder:
            for name in folder.names():
                with contextlib.suppress(ValueError, RecursionError, BundleError):
                    document = json.loads(folder.read(name, 1 << 24) or b"")
                    if isinstance(document, dict):
                        receipts.append(document)
    return receipts


def write_receipt(importer: Importer) -> str:
    """Note a whole import beside the cache; return the code that is typed back."""
    bundle, code = importer.bundle, receipt_code(importer.bundle.set_id)
    refs = []
    for repo in importer.repos:
        with RepoStore(importer.cache, repo, make=False) as store:
            named = [name for name, to in repo.refs.items() if store.read_ref(name) == to]
        refs += [f"{repo.folder} {name}" for name in named]
    document = {
        "format": RECEIPT_FORMAT,
        "set_id": bundle.set_id,
        "created": bundle.created,
        "imported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "signature": importer.signature.status,
        "key": importer.signature.key,
        "code": code,
        "refs": sorted(refs),
        "commits": sorted(f"{repo.folder} {commit}" for repo, commit in importer.placed),
    }
    parent = os.path.dirname(os.path.realpath(importer.cache.path))
    try:
        with Folder.root(parent, fault=DESTINATION) as folder, folder.made(RECEIPT_FOLDER) as at:
            name = f"{bundle.short_id}.json"
            at.write(name + ".new", json.dumps(document, indent=1, sort_keys=True).encode("ascii"))
            at.replace(name + ".new", at, name)
    except OSError as exc:
        importer.console.say(f"note: no receipt was written in {parent}: {exc.strerror}")
    return code


def judge_signature(
    bags: Sequence[Bag], trust: Sequence[str], console: Console, *, is_required: bool
) -> Signature:
    """Check and print who signed. Raises `BundleError` where the policy does not allow it."""
    keys, has_policy = load_trust(trust)
    is_required = is_required or has_policy
    if is_required and not keys:
        hint = "name the key with --trust; it must not come from the stick"
        raise BundleError("E-TRUST", USAGE, "--require-signature needs a key to trust", hint)
    order = (BAD_SIGNATURE, VALID, WRONG_KEY, UNSUPPORTED, UNSIGNED)
    signature = min(
        (bag.signature(keys) for bag in bags), key=lambda found: order.index(found.status)
    )
    who = f"  {signature.key}" if signature.key else ""
    if signature.status == VALID:
        who += f" ({signature.named_by})"
    elif signature.status == WRONG_KEY:
        who = f"  claims to be of{who}, which nobody here vouches for"
    console.say(f"signature {signature.status}{who}")
    if signature.status == BAD_SIGNATURE:
        hint = "the bundle was altered, or the signature is of another one; do not use it"
        raise BundleError("E-SIGNATURE", POLICY, f"the signature of {BUNDLE_NAME} is bad", hint)
    if signature.status == WRONG_KEY and keys:
        message = f"signed by {signature.key}, which is not among the trusted keys"
        raise BundleError("E-KEY", POLICY, message, "ask who signed it, by another way")
    if is_required and signature.status != VALID:
        why = "--require-signature is set" if not has_policy else f"{POLICY_FILE} demands one"
        message = f"no signature that can be checked ({signature.status}), and {why}"
        raise BundleError("E-UNSIGNED", POLICY, message, "ask for a signed bundle")
    return signature


def check_policy(bundle: Bundle, options: Options) -> None:
    """Refuse a bundle that is too old or holds what can run code, where that was asked for."""
    if options.not_before is not None and bundle.created[:10] < options.not_before:
        message = f"the bundle was made on {bundle.created[:10]}, before {options.not_before}"
        raise BundleError("E-OLD", POLICY, message, "an old bundle may bring back old models")
    unsafe = unsafe_files(select_repos(bundle, options.repos))
    if options.safe_only and unsafe:
        listed = ", ".join(shown(path)[1:-1] for path in unsafe[:5])
        message = f"{len(unsafe)} files can run code when they are loaded: {listed}"
        raise BundleError("E-UNSAFE", POLICY, message, "--safe-only refuses the whole bundle")


def unsafe_files(repos: Sequence[Repo]) -> list[str]:
    """Return the paths of files that can run code when they are loaded: pickles and programs."""
    return sorted(
        {
            file.path
            for repo in repos
            for file in files_of(repo)
            if file.path.lower().endswith(UNSAFE_SUFFIXES)
        }
    )


def import_bundle(
    paths: Sequence[str], options: Options, console: Console, *, is_partial: bool = False
) -> tuple[dict[str, Any], BundleError | None]:
    """Import sticks, say what became ready, and return that as a document, with what is left."""
    bags = open_bags(paths, is_partial=is_partial)
    real = os.path.realpath(options.cache)
    if any((real + os.sep).startswith(bag.path + os.sep) for bag in bags):
        raise BundleError("E-CACHE", USAGE, f"the cache {options.cache} lies on the stick itself")
    signature = judge_signature(bags, options.trust, console, is_required=options.require_signature)
    check_policy(bags[0].bundle, options)
    try:
        importer = Importer(bags, options, signature, console)
        outcome = importer.run()
    except OSError as exc:
        where = exc.filename if isinstance(exc.filename, str) else options.cache
        raise BundleError(
            "E-DISK",
            DESTINATION,
            f"writing to {options.cache} failed: {exc.strerror or exc} ({where})",
            "nothing half done is visible; make room or fix the permissions, and run again",
        ) from exc
    return _report(importer, outcome)


def _report(importer: Importer, outcome: Outcome) -> tuple[dict[str, Any], BundleError | None]:
    console, bundle, cache = importer.console, importer.bundle, importer.cache.path
    ready = []
    for repo, commit in importer.placed:
        refs = sorted(name for name, to in repo.refs.items() if to == commit)
        path = os.path.join(cache, repo.folder, "snapshots", commit)
        ready.append(
            {
                "type": repo.repo_type,
                "id": repo.repo_id,
                "commit": commit,
                "refs": refs,
                "path": path,
            }
        )
        at = f"@ {', '.join(refs)} -> {commit[:8]}" if refs else f"@ {commit}"
        console.result(f"ready: HF_HUB_CACHE={cache} HF_HUB_OFFLINE=1   {repo.label} {at}")
        for file in repo.revisions[commit].files:
            if file.path.endswith(".gguf") and not re.search(r"-0*[2-9]\d*-of-\d+", file.path):
                console.result(f"  llama.cpp: -m {os.path.join(path, *file.path.split('/'))}")
        if not repo.revisions[commit].is_complete:
            console.say(
                f"note W-TREE: {repo.label} was filtered: offline, snapshot_download() returns the "
                "part that is here"
            )
    for line in importer.moved:
        console.say(f"ref: {line}")
    for line in importer.kept:
        console.say(f"note E-REF: {line}")
    code = None
    is_all = len(importer.repos) == len(bundle.repos)
    if importer.options.is_dry_run:
        console.result(f"would copy {size_text(importer.bytes_needed)} into {cache}")
    elif outcome.error is None and not outcome.missing and is_all:
        code = write_receipt(importer)
        console.result(f"receipt {code}")
    needs = _write_needs(importer, outcome)
    document = {
        "set_id": bundle.set_id,
        "created": bundle.created,
        "signature": importer.signature.status,
        "key": importer.signature.key,
        "ready": ready,
        "bytes_needed": importer.bytes_needed,
        "missing": [{"sha256": want.sha256, "size": want.size} for want in outcome.missing],
        "bad": [{"sha256": key, "pieces": sorted(value)} for key, value in importer.bad.items()],
        "refs_moved": importer.moved,
        "refs_kept": importer.kept,
        "needs": needs,
        "receipt": code,
    }
    return document, outcome.error


def _write_needs(importer: Importer, outcome: Outcome) -> str | None:
    """Ask for bad pieces again; with `--needs`, for all that is missing (a lost stick)."""
    bundle = importer.bundle
    pieces = {sha256: set(numbers) for sha256, numbers in importer.bad.items()}
    for repo in importer.repos if importer.options.needs is not None else ():
        here = {file.etag for file in files_of(repo)}
        with RepoStore(importer.cache, repo, make=False) as store:
            for want in outcome.missing:
                if want.sha256 in bundle.objects and want.etag in here:
                    missing = store.pieces_missing(want, bundle.piece_size)
                    pieces.setdefault(want.sha256, set()).update(missing)
    if not pieces:
        return None
    content = needs_document(bundle, pieces)
    if importer.options.needs is not None:
        return write_document(importer.options.needs, content, importer.console)
    beside = os.path.dirname(os.path.realpath(importer.cache.path))
    for folder in (os.curdir, beside):
        with contextlib.suppress(BundleError):
            path = os.path.join(folder, needs_name(bundle.set_id))
            return write_document(path, content, importer.console)
    return None


def write_document(path: str, content: bytes, console: Console) -> str:
    """Write a file that crosses the gap by hand."""
    try:
        with open(path, "wb") as file:
            file.write(content + b"\n")
    except OSError as exc:
        message = f"{path} can't be written: {exc.strerror}"
        raise BundleError("E-DISK", DESTINATION, message, "name another place for it") from exc
    console.say(f"wrote {path}")
    return path


# --- inspect and verify --------------------------------------------------------------------------

TAG_FILES = frozenset(
    [
        *("bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"),
        *(BUNDLE_NAME, BUNDLE_NAME + SSH_SUFFIX, BUNDLE_NAME + MINISIGN_SUFFIX, STICK_NAME),
        *(IMPORTER_NAME, "REVIEW.txt", "README.txt", "whole-sha256.txt"),
    ]
)
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def inspect_bundle(
    paths: Sequence[str], trust: Sequence[str], console: Console, *, with_files: bool = False
) -> dict[str, Any]:
    """Show what sticks say that they hold; nothing but their documents is read."""
    bags = open_bags(paths, is_partial=True)
    bundle = bags[0].bundle
    signature = judge_signature(bags, trust, console, is_required=False)
    carried = {held.sha256: 0 for bag in bags for held in bag.stick.ranges}
    for sha256, held in {(h.sha256, h.offset): h for bag in bags for h in bag.stick.ranges}.items():
        carried[sha256[0]] += held.length
    total = sum(stored.size for stored in bundle.objects.values())
    here = sum(min(size, bundle.objects[sha256].size) for sha256, size in carried.items())
    say = console.result
    say(f"set {bundle.set_id}")
    say(f"made {bundle.created} by {shown(bundle.tool)[1:-1]} from {shown(bundle.endpoint)[1:-1]}")
    for bag in bags:
        number = (
            f"{bag.stick.number} of {bag.stick.of or '?'}" if bag.stick.number else "unfinished"
        )
        say(f"stick {number} at {bag.path}")
    say(f"these sticks carry {size_text(here)} of {size_text(total)}")
    if bundle.requires:
        say(f"and rely on {len(bundle.requires)} contents that the target must have already")
    for repo in bundle.repos:
        licence = shown(repo.license or "unknown")[1:-1]
        say(f"{repo.label}   licence {licence}{', gated' * repo.is_gated}")
        for commit, revision in repo.revisions.items():
            names = ", ".join(name for name, to in repo.refs.items() if to == commit)
            size = size_text(sum(file.size for file in revision.files))
            kind = "complete" if revision.is_complete else "a part"
            say(f"  {commit} {shown(names)[1:-1]}  {len(revision.files)} files, {size}, {kind}")
            for file in revision.files if with_files else ():
                state = "here" if carried.get(file.sha256, -1) >= file.size else "elsewhere"
                say(f"    {size_text(file.size):>9}  {state:<9}  {shown(file.path)[1:-1]}")
        unsafe = unsafe_files([repo])
        if unsafe:
            kinds = sorted({os.path.splitext(path)[1].lower() for path in unsafe})
            say(f"  {len(unsafe)} files can run code when loaded ({', '.join(kinds)})")
    extra = [name for bag in bags for name in extra_files(bag)]
    if extra:
        say(f"{len(extra)} EXTRA files that no list names: {', '.join(map(shown, extra[:5]))}")
    return {
        "set_id": bundle.set_id,
        "created": bundle.created,
        "signature": signature.status,
        "key": signature.key,
        "sticks": [bag.stick.number for bag in bags],
        "of": bags[0].stick.of,
        "size": total,
        "size_here": here,
        "requires": len(bundle.requires),
        "repos": [
            {
                "type": repo.repo_type,
                "id": repo.repo_id,
                "license": repo.license,
                "refs": repo.refs,
                "commits": sorted(repo.revisions),
                "unsafe_files": unsafe_files([repo]),
            }
            for repo in bundle.repos
        ],
        "extra": extra,
    }


def extra_files(bag: Bag) -> list[str]:
    """Return what lies in a stick's folder and no list names: links and devices, too."""
    known = {held.path for held in bag.stick.ranges} | TAG_FILES | {JOURNAL_NAME}
    known.update(_hub_files(bag.bundle))
    extra: list[str] = []
    pending = [""]
    while pending and len(extra) < 1000:
        at = pending.pop()
        names = [name for name in at.split("/") if name]
        with reading(bag.path), bag.root.descend(names) as folder:
            for name in folder.names():
                path = f"{at}/{name}" if at else name
                status = folder.status(name)
                if status is not None and stat.S_ISDIR(status.st_mode) and not _is_link(status):
                    pending.append(path)
                elif path not in known:
                    extra.append(path)
    return sorted(extra)


def _hub_files(bundle: Bundle) -> Iterator[str]:
    """Yield the files of data/hub that are no contents: refs and trees."""
    for repo in bundle.repos:
        for name in repo.refs:
            yield f"{HUB_FOLDER}/{repo.folder}/refs/{name}"
        for commit in repo.revisions:
            yield f"{HUB_FOLDER}/{repo.folder}/trees/{commit}.json"


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


def gone_error(bag: Bag, reason: str) -> BundleError:
    """Return what to say when a medium was pulled."""
    return BundleError(
        "E-GONE",
        INCOMPLETE,
        f"the stick at {bag.path} stopped answering ({reason}) after {size_text(bag.bytes_read)}; "
        "nothing in the cache is damaged",
        "put it back and run the same command",
    )


def _manifest(bag: Bag, name: str) -> dict[str, str]:
    text = (bag.root.read(name, 4 * JSON_MOST_BYTES) or b"").decode("utf-8", "replace")
    matches = (_MANIFEST_LINE.fullmatch(line) for line in text.splitlines())
    return {match.group(2): match.group(1) for match in matches if match}


def _damaged_tags(bag: Bag) -> Iterator[str]:
    """Yield the lists of a bag, and the files that are no contents, that are not as listed."""
    listed = _manifest(bag, "tagmanifest-sha256.txt")
    payload = _manifest(bag, "manifest-sha256.txt")
    hub = set(_hub_files(bag.bundle))
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


# --- inventory -----------------------------------------------------------------------------------


def inventory_document(cache_path: str, *, hashes_only: bool) -> bytes:
    """Return what this machine's cache has, for `hfaria bundle create --base`.

    With `hashes_only` no name leaves the machine: which models a site runs may itself be secret.
    """
    cache = Cache(cache_path, make=False, allow_symlinks=True)
    if cache.root is None:
        raise BundleError("E-CACHE", USAGE, f"there is no cache at {cache_path}")
    blobs: dict[str, int] = {}
    repos = []
    for name in cache.repo_names():
        found = {etag: size for etag, size, _ in cached_files(cache, name)}
        blobs.update(found)
        kind, _, rest = name.partition("s--")
        refs, commits = _refs_and_commits(cache, name)
        repos.append(
            {
                "type": kind,
                "id": rest.replace("--", "/"),
                "refs": refs,
                "commits": commits,
                "blobs": sorted(found),
            }
        )
    machine = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "huggingface_hub": _installed_hub(),
        "filesystem": filesystem_kind(cache.path) or None,
        "free": disk_space(cache.path)[1],
    }
    document = {
        "format": INVENTORY_FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {} if hashes_only else machine,
        "repos": [] if hashes_only else repos,
        "blobs": sorted([etag, size] for etag, size in blobs.items()),
    }
    return canonical(document)


def _refs_and_commits(cache: Cache, name: str) -> tuple[dict[str, str], list[str]]:
    refs: dict[str, str] = {}
    commits: list[str] = []
    with contextlib.suppress(OSError, BundleError), cache.folder([name, "snapshots"]) as folder:
        commits = sorted(commit for commit in folder.names() if COMMIT.fullmatch(commit))
    pending: list[tuple[str, ...]] = [()]
    while pending and len(refs) < 10000:
        at = pending.pop()
        with contextlib.suppress(OSError, BundleError), cache.folder([name, "refs", *at]) as folder:
            for entry in folder.names():
                status = folder.status(entry)
                if status is not None and stat.S_ISDIR(status.st_mode):
                    pending.append((*at, entry))
                    continue
                text = (folder.read(entry, 4096) or b"").decode("ascii", "replace").strip()
                if COMMIT.fullmatch(text) and ref_problem("/".join((*at, entry))) is None:
                    refs["/".join((*at, entry))] = text
    return refs, commits


def _installed_hub() -> str | None:
    """Return huggingface_hub's version without importing it; None if it is not to be seen."""
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):
                match = re.fullmatch(r"huggingface_hub-(\d[\w.]*)\.dist-info", name)
                if match:
                    return match.group(1)
    return None


# --- does it load? -------------------------------------------------------------------------------

_LOAD_CHECK = """
import sys
try:
    from huggingface_hub import snapshot_download
except ImportError:
    sys.exit(77)
cache, kind, repo_id, revision = sys.argv[1:]
print(snapshot_download(repo_id, repo_type=kind, revision=revision, cache_dir=cache))
"""


def load_check(
    document: dict[str, Any], cache: str, environ: Mapping[str, str], console: Console
) -> BundleError | None:
    """Let huggingface_hub load each ref that is ready, offline, in a process of its own."""
    for item in document["ready"]:
        for revision in item["refs"] or [item["commit"]]:
            name = f"{item['type']} {item['id']} @ {revision}"
            ended = subprocess.run(
                [sys.executable, "-c", _LOAD_CHECK, cache, item["type"], item["id"], revision],
                env={**environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            if ended.returncode == 77:
                console.say("note: huggingface_hub is not installed here: nothing was loaded")
                return None
            if ended.returncode:
                last = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
                reason = shown(last[0][:300])[1:-1] if last else f"code {ended.returncode}"
                hint = "all bytes are right; look at the version of huggingface_hub"
                return BundleError("E-LOAD", INTEGRITY, f"{name} does not load: {reason}", hint)
            console.say(f"loads: {name}")
    return None


# === the command line ============================================================================

EXIT_CODES = """exit codes:
  0  done            3  incomplete: more sticks, or run again   7  the cache: space, names, rights
  1  a bug           4  bytes are not what was promised         8  trust, policy, prerequisites
  2  wrong usage, or no bundle of hfaria's                    130  interrupted: run again"""


def default_cache(environ: Mapping[str, str]) -> str:
    """Return the cache that huggingface_hub would use."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return os.path.expanduser(os.path.expandvars(environ[name]))
    base = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    home = environ.get("HF_HOME") or os.path.join(base, "huggingface")
    return os.path.join(os.path.expanduser(os.path.expandvars(home)), "hub")


def named_cache(given: str | None, environ: Mapping[str, str]) -> str:
    """Return the cache to use; an empty name is a variable that was not set, and is refused."""
    if given == "":
        raise BundleError("E-USAGE", USAGE, "--cache names no folder")
    return default_cache(environ) if given is None else given


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the script's own command line."""
    parser = argparse.ArgumentParser(
        prog=IMPORTER_NAME,
        description="Look at, verify and import a bundle: a Hugging Face cache on a stick.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--selftest", action="store_true", help="try all of it in a scratch folder")
    verbs = parser.add_subparsers(dest="verb", metavar="inspect|verify|import|inventory")
    inspect, verify, bring, inventory = (
        verbs.add_parser(name, help=text, description=text)
        for name, text in (
            ("inspect", "Show what the sticks hold, and who signed it."),
            ("verify", "Read all of it and compare it with the lists."),
            ("import", "Bring it into this machine's cache; run again to go on."),
            ("inventory", "Write down what this machine has, for the next bundle."),
        )
    )
    for verb in (inspect, verify, bring):
        text = "a stick, or its folder hfb-...; default: where this script lies"
        verb.add_argument("paths", nargs="*", metavar="PATH", help=text)
        text = "a public key that you vouch for: ssh-ed25519 or minisign, or a file of them"
        verb.add_argument("--trust", action="append", default=[], metavar="KEY", help=text)
        verb.add_argument("--json", action="store_true", help="print one JSON document")
    for verb in (verify, bring):
        text = "refuse what is not signed by a trusted key"
        verb.add_argument("--require-signature", action="store_true", help=text)
    verify.add_argument("--needs", metavar="FILE", help="write the bad pieces there")
    text = "write all that is missing there: for a stick that was lost"
    bring.add_argument("--needs", metavar="FILE", help=text)
    inspect.add_argument("--files", action="store_true", help="list the files")
    verify.add_argument("--quick", action="store_true", help="compare sizes only")
    for verb in (bring, inventory):
        text = "the Hugging Face cache (default: HF_HUB_CACHE)"
        verb.add_argument("--cache", "--cache-dir", metavar="DIR", help=text)
    text = "only this repo; repeatable"
    bring.add_argument("--repo", action="append", default=[], metavar="REPO", help=text)
    text = "auto shares blocks where it can, else copies; move frees the stick; link is a hard link"
    bring.add_argument(
        "--mode", choices=("auto", "copy", "move", "link"), default="auto", help=text
    )
    text = "let refs that name another commit name the bundle's"
    bring.add_argument("--update-refs", action="store_true", help=text)
    text = "refuse pickles and programs"
    bring.add_argument("--safe-only", action="store_true", help=text)
    text = "refuse a bundle made before that day (YYYY-MM-DD)"
    bring.add_argument("--not-before", metavar="DATE", help=text)
    text = "read again what the cache has, instead of trusting names and sizes"
    bring.add_argument("--rehash-existing", action="store_true", help=text)
    bring.add_argument(
        "--reserve", metavar="SIZE", help="space to leave free (default: 1 GiB or 1 %%)"
    )
    bring.add_argument("--partial", action="store_true", help="import from an unfinished stick")
    bring.add_argument("--dry-run", action="store_true", help="check all, copy nothing")
    text = "afterwards, let huggingface_hub load it offline"
    bring.add_argument("--load-check", action="store_true", help=text)
    text = "leave out all names: only hashes and sizes"
    inventory.add_argument("--hashes-only", action="store_true", help=text)
    inventory.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    return parser


def check_day(text: str | None) -> str | None:
    """Return a day, YYYY-MM-DD, or refuse it."""
    if text is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise BundleError("E-USAGE", USAGE, f"{shown(text)} is not a day", "write YYYY-MM-DD")
    return text


def _run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if arguments.verb == "inventory":
        cache = named_cache(arguments.cache, environ)
        content = inventory_document(cache, hashes_only=arguments.hashes_only)
        write_document(arguments.output, content, Console())
        return 0
    console = Console(is_quiet=arguments.json)
    paths = arguments.paths or [os.path.dirname(os.path.abspath(__file__))]
    document: dict[str, Any]
    error: BundleError | None = None
    if arguments.verb == "inspect":
        document = inspect_bundle(paths, arguments.trust, console, with_files=arguments.files)
    elif arguments.verb == "verify":
        document, error = verify_bundle(
            paths,
            arguments.trust,
            console,
            is_required=arguments.require_signature,
            is_quick=arguments.quick,
            needs=arguments.needs,
        )
    else:
        is_off = environ.get("HF_HUB_DISABLE_SYMLINKS", "").upper() in ("1", "ON", "YES", "TRUE")
        options = Options(
            cache=named_cache(arguments.cache, environ),
            repos=tuple(arguments.repo),
            mode=arguments.mode,
            update_refs=arguments.update_refs,
            trust=tuple(arguments.trust),
            require_signature=arguments.require_signature,
            safe_only=arguments.safe_only,
            not_before=check_day(arguments.not_before),
            rehash=arguments.rehash_existing,
            reserve=None if arguments.reserve is None else parse_size(arguments.reserve),
            is_dry_run=arguments.dry_run,
            needs=arguments.needs,
            allow_symlinks=not is_off,
        )
        document, error = import_bundle(paths, options, console, is_partial=arguments.partial)
        if arguments.load_check and error is None:
            error = load_check(document, options.cache, environ, console)
    if arguments.json:
        print(json.dumps(document, indent=2), flush=True)
    if error is not None:
        raise error
    return 0


def selftest() -> None:
    """Make a small bundle, import it twice, and let wrong ones be refused."""
    # RFC 8032, section 7.1, test 2
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    _expect(ed25519_is_valid(public, b"\x72", signature))
    _expect(not ed25519_is_valid(public, b"\x73", signature))
    files = {"config.json": b"{}", "sub/model.safetensors": bytes(range(256)) * 40}
    rows, objects, ranges = [], {}, []
    scratch = tempfile.mkdtemp(prefix="hfaria-selftest-")
    try:
        bag, cache = os.path.join(scratch, "bag"), os.path.join(scratch, "hub")
        for path, content in sorted(files.items()):
            sha256 = hashlib.sha256(content).hexdigest()
            rows.append([path, sha256, sha256, len(content)])
            objects[sha256] = {"size": len(content), "git_sha1": None}
            at = pool_path(sha256, 0)
            os.makedirs(os.path.dirname(os.path.join(bag, at)), exist_ok=True)
            with open(os.path.join(bag, at), "wb") as file:
                file.write(content)
            ranges.append(
                {"sha256": sha256, "off": 0, "len": len(content), "path": at, "pieces": [sha256]}
            )
        commit = "1" * 40
        revision = {"complete": True, "filter": None, "files": rows}
        repo: dict[str, Any] = {"type": "model", "id": "self/test", "license": None, "gated": False}
        repo.update(refs={"main": commit}, revisions={commit: revision})
        document: dict[str, Any] = {"repos": [repo], "objects": objects, "requires": []}
        document.update(
            set_id=set_id_of(document),
            format=BUNDLE_FORMAT,
            created="2026-01-01T00:00:00Z",
            tool={"name": "hfaria", "version": "selftest"},
            source={"endpoint": "https://example.invalid"},
            piece_size=PIECE_SIZE,
            capabilities=[],
            base={"kind": "none", "id": None},
        )
        content = canonical(document)
        stick = {"format": STICK_FORMAT, "set_id": document["set_id"], "stick": 1, "of": 1}
        stick.update(stick_uuid="x", fs="", finalised="2026-01-01T00:00:00Z", ranges=ranges)
        stick["bundle_sha256"] = hashlib.sha256(content).hexdigest()
        for name, text in ((BUNDLE_NAME, content), (STICK_NAME, canonical(stick))):
            with open(os.path.join(bag, name), "wb") as file:
                file.write(text)
        console = Console(is_quiet=True)
        for _ in range(2):
            _, error = import_bundle([bag], Options(cache, reserve=0), console)
            _expect(error is None)
        for path, expected in files.items():
            snapshot = os.path.join(cache, "models--self--test", "snapshots", commit)
            with open(os.path.join(snapshot, *path.split("/")), "rb") as file:
                _expect(file.read() == expected)
        with open(os.path.join(bag, BUNDLE_NAME), "wb") as file:
            file.write(content.replace(b"config.json", b"../../etc/x"))
        try:
            import_bundle([bag], Options(cache, reserve=0), console)
        except BundleError as exc:
            _expect(exc.code == "E-PATH")
        else:
            raise RuntimeError("the selftest failed: a path out of the cache was taken")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _expect(is_so: object) -> None:
    if not is_so:
        raise RuntimeError("the selftest failed")


def _interrupt(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # what follows is an orderly end, to be cut short by none
    raise KeyboardInterrupt


def main(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the script's command line and return its exit code."""
    parser = make_parser()
    arguments = parser.parse_args(words)
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), _interrupt)
        if arguments.selftest:
            selftest()
            print(f"selftest ok: Python {platform.python_version()}, {platform.system()}")
            return 0
        if arguments.verb is None:
            parser.print_help()
            return USAGE
        return _run(arguments, environ)
    except BundleError as exc:
        print(f"error: {exc.code} {exc.message}", file=sys.stderr)
        if exc.hint:
            print(f"hint: {exc.hint}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command to go on", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
