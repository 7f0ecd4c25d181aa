"""Sticks made straight from the format's description, right ones and hostile ones.

Written apart from hfaria's own writer, so that a mistake that writer and importer share is seen.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

PIECE = 1 << 16
LFS = (".safetensors", ".gguf", ".onnx", ".bin", ".pt")
COMMIT = "5ede1c97" + "a" * 32
OLD_COMMIT = "1a2b3c4d" + "b" * 32
CREATED = "2026-11-22T15:40:00Z"


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that look like weights, the same each time."""
    return random.Random(seed).randbytes(size)


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1_of(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(path: str) -> bool:
    return path.endswith(LFS)


def etag_of(path: str, content: bytes) -> str:
    return sha256_of(content) if is_lfs(path) else git_sha1_of(content)


def spelled(document: object) -> bytes:
    """Return canonical JSON, in words of this file's own."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Revision:
    """A commit's files."""

    files: Mapping[str, bytes]
    commit: str = COMMIT
    refs: tuple[str, ...] = ("main",)
    is_complete: bool = True


@dataclass(frozen=True)
class Set:
    """What a set of sticks carries."""

    repos: Mapping[str, tuple[Revision, ...]]
    """By `type:id`."""
    created: str = CREATED
    requires: frozenset[str] = frozenset()
    """sha256 of contents that are not carried."""
    piece_size: int = PIECE

    def contents(self) -> dict[str, bytes]:
        """Return every carried content by its sha256."""
        found = {
            sha256_of(content): content
            for revisions in self.repos.values()
            for revision in revisions
            for content in revision.files.values()
        }
        return {sha256: found[sha256] for sha256 in found if sha256 not in self.requires}

    def document(self) -> dict[str, Any]:
        """Return bundle.json before it is spelled out."""
        objects: dict[str, dict[str, Any]] = {}
        requires: dict[str, dict[str, Any]] = {}
        repos = []
        for name, revisions in self.repos.items():
            kind, _, repo_id = name.partition(":")
            for revision in revisions:
                for path, content in revision.files.items():
                    sha256 = sha256_of(content)
                    git = None if is_lfs(path) else git_sha1_of(content)
                    if sha256 in self.requires:
                        requires[sha256] = {
                            "sha256": sha256,
                            "size": len(content),
                            "etag": etag_of(path, content),
                            "from": name,
                        }
                        continue
                    known = objects.setdefault(sha256, {"size": len(content), "git_sha1": git})
                    known["git_sha1"] = known["git_sha1"] or git
            repos.append(
                {
                    "type": kind,
                    "id": repo_id,
                    "license": "apache-2.0",
                    "gated": False,
                    "refs": {ref: one.commit for one in revisions for ref in one.refs},
                    "revisions": {one.commit: _revision(one) for one in revisions},
                }
            )
        listed = {"repos": repos, "objects": objects, "requires": list(requires.values())}
        return {
            **listed,
            "format": "hfaria-bundle/1",
            "set_id": sha256_of(spelled(listed)),
            "created": self.created,
            "tool": {"name": "hfaria", "version": "0.1.0"},
            "source": {"endpoint": "https://huggingface.co"},
            "piece_size": self.piece_size,
            "capabilities": ["packs", "pool-parts"],
            "base": {"kind": "inventory" if requires else "none", "id": "x" if requires else None},
        }


def _revision(revision: Revision) -> dict[str, Any]:
    return {
        "complete": revision.is_complete,
        "filter": None if revision.is_complete else {"include": ["*.json"], "exclude": []},
        "files": [
            [path, etag_of(path, content), sha256_of(content), len(content)]
            for path, content in sorted(revision.files.items())
        ],
    }


def renamed(document: dict[str, Any]) -> dict[str, Any]:
    """Give an altered bundle.json the id that its contents have now."""
    content = {key: document[key] for key in ("repos", "objects", "requires")}
    return {**document, "set_id": sha256_of(spelled(content))}


@dataclass
class Stick:
    """One stick in the making."""

    number: int
    of: int | None
    ranges: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def put(self, content: bytes, piece_size: int, *, path: str | None = None) -> None:
        """Carry a whole content, in the pool or in place."""
        self.put_part(content, 0, len(content), piece_size, path=path)

    def put_part(
        self, content: bytes, offset: int, end: int, piece_size: int, *, path: str | None = None
    ) -> None:
        """Carry a range of a content."""
        sha256, part = sha256_of(content), content[offset:end]
        path = path or f"data/pool/{sha256[:2]}/{sha256}.o{offset:012x}"
        self.files[path] = part
        self._range(sha256, offset, part, path, piece_size)

    def put_pack(self, contents: Iterable[bytes], piece_size: int) -> None:
        """Carry small contents in one file, each at its place."""
        pack, places = b"", []
        for content in contents:
            pack += b"\0" * 512
            places.append((content, len(pack)))
            pack += content + b"\0" * (-len(content) % 512)
        path = f"data/pool/packs/{sha256_of(pack)}.tar"
        self.files[path] = pack
        for content, at in places:
            self._range(sha256_of(content), 0, content, path, piece_size, at=at)

    def _range(
        self, sha256: str, offset: int, part: bytes, path: str, piece_size: int, **more: int
    ) -> None:
        starts = range(0, max(len(part), 1), piece_size)
        pieces = [sha256_of(part[start : start + piece_size]) for start in starts]
        entry = {"sha256": sha256, "off": offset, "len": len(part), "path": path, "pieces": pieces}
        self.ranges.append({**entry, **more})

    def document(self, bundle: bytes) -> dict[str, Any]:
        """Return stick.json before it is spelled out."""
        return {
            "format": "hfaria-stick/1",
            "set_id": json.loads(bundle)["set_id"],
            "stick": self.number,
            "of": self.of,
            "stick_uuid": f"uuid-{self.number}",
            "bundle_sha256": sha256_of(bundle),
            "fs": "exfat",
            "finalised": "2026-11-22T16:00:00Z",
            "ranges": self.ranges,
        }

    def write(
        self,
        root: Path,
        document: dict[str, Any],
        *,
        extra: Mapping[str, bytes] | None = None,
        edit: Callable[[dict[str, Any]], None] | None = None,
    ) -> Path:
        """Write the stick's folder below ``root`` and return it."""
        bundle = spelled(document)
        stick = self.document(bundle)
        if edit is not None:
            edit(stick)
        bag = root / f"hfb-{document['set_id'][:8]}-s{self.number:02d}"
        tags = {
            "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
            "bundle.json": bundle,
            "stick.json": spelled(stick),
            "manifest-sha256.txt": _manifest(self.files),
        }
        tags["tagmanifest-sha256.txt"] = _manifest(tags)
        for path, content in {**self.files, **tags, **(extra or {})}.items():
            (bag / path).parent.mkdir(parents=True, exist_ok=True)
            (bag / path).write_bytes(content)
        return bag


def _manifest(files: Mapping[str, bytes]) -> bytes:
    return "".join(f"{sha256_of(files[path])}  {path}\n" for path in sorted(files)).encode()


def one_stick(root: Path, contents: Set, *, in_place: bool = False) -> Path:
    """Write a set on one stick: all in the pool, or all in place."""
    stick = Stick(1, 1)
    if in_place:
        for path, content in in_place_files(contents).items():
            stick.put(content, contents.piece_size, path=path)
    else:
        for content in contents.contents().values():
            stick.put(content, contents.piece_size)
    return stick.write(root, contents.document())


def in_place_files(contents: Set) -> dict[str, bytes]:
    """Return where each carried file lies when the stick itself is a cache."""
    found = {}
    for name, revisions in contents.repos.items():
        kind, _, repo_id = name.partition(":")
        folder = "--".join([f"{kind}s", *repo_id.split("/")])
        for revision in revisions:
            for path, content in revision.files.items():
                if sha256_of(content) not in contents.requires:
                    found[f"data/hub/{folder}/snapshots/{revision.commit}/{path}"] = content
    return found


def several_sticks(root: Path, contents: Set, count: int, *, part_pieces: int = 4) -> list[Path]:
    """Spread a set over sticks: parts of large contents go round, so that none is whole."""
    sticks = [Stick(number, count) for number in range(1, count + 1)]
    turn = 0
    for content in contents.contents().values():
        part_size = part_pieces * contents.piece_size
        for offset in range(0, max(len(content), 1), part_size):
            end = min(offset + part_size, len(content))
            sticks[turn % count].put_part(content, offset, end, contents.piece_size)
            turn += 1
    document = contents.document()
    return [stick.write(root / f"usb{stick.number}", document) for stick in sticks]


MODEL_FILES = {
    "config.json": b'{"model_type": "bert"}',
    "empty.txt": b"",
    "model-00001-of-00002.safetensors": noise(700_000, 1),
    "model-00002-of-00002.safetensors": noise(1_500_000, 2),
    "sub dir/deep/\u00fc.txt": "grüße".encode(),
    "dup/copy.safetensors": noise(700_000, 1),
}


def model_set() -> Set:
    """Return a set of one small model of two shards."""
    return Set({"model:org/model": (Revision(MODEL_FILES),)})
