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

import hashlib
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
# A value of a real document takes more than 20 bytes. Only bombs are denser, and a list that is
# nothing but brackets would take 60 times its length in memory.
JSON_LEAST_BYTES_A_VALUE = 16
JSON_SLACK_VALUES = 4096
MOST_INT = (1 << 63) - 1

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
    most = len(content) // JSON_LEAST_BYTES_A_VALUE + JSON_SLACK_VALUES
    if values > min(most, JSON_MOST_VALUES):
        raise malformed(f"{name} holds more values than its size allows for")
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
    unknown = [str(name) for name in fields.items("capabilities") if name not in CAPABILITIES]
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
        if ref_problem(name) or commit not in revisions:
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
    """needs-<set>.json: the pieces that an import still wants, as `hfaria bundle repair` reads it."""

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
