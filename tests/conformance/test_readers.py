"""huggingface_hub reads what was pulled: offline, online at the least cost, after a part of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import (
    get_cached_repo_tree,
    hf_hub_download,
    scan_cache_dir,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

from loopback_hub import odd_names_repo
from support.repos import model
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = [pytest.mark.conformance, pytest.mark.aria2]

SPEC = model()
FOLDER = "models--org--model"

READ_OFFLINE = """
import json, huggingface_hub as h
print(json.dumps({
    "main": h.snapshot_download("org/model"),
    "file": h.hf_hub_download("org/model", "onnx/small.onnx"),
    "cached": h.try_to_load_from_cache("org/model", "config.json"),
}))
"""


def test_offline_every_way_of_reading_finds_the_pull(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    snapshot = user.pulled("org/model").path
    hub.reset_records()
    found = json.loads(user.python(READ_OFFLINE, HF_HUB_OFFLINE="1"))
    assert found == {
        "main": str(snapshot),
        "file": str(snapshot / "onnx/small.onnx"),
        "cached": str(snapshot / "config.json"),
    }
    assert_holds(Path(found["main"]), SPEC)
    assert hub.records == ()


def test_offline_a_commit_a_tag_and_a_pull_request_are_found(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    old = SPEC.commits[0].commit_id
    for revision in ("v1.0", "refs/pr/1"):
        user.pulled("org/model", "--revision", revision)
    for revision in ("v1.0", "refs/pr/1", old):
        path = snapshot_download(
            "org/model", revision=revision, cache_dir=user.cache, local_files_only=True
        )
        assert path == str(user.cache / FOLDER / "snapshots" / old)
    with pytest.raises(LocalEntryNotFoundError):
        snapshot_download("org/model", cache_dir=user.cache, local_files_only=True)


def test_every_file_is_found_by_its_name(hub: LoopbackHub, user: User) -> None:
    spec = odd_names_repo()
    hub.put_repo(spec)
    snapshot = user.pulled(spec.repo_id).path
    for file in spec.head.files:
        found = try_to_load_from_cache(spec.repo_id, file.path, cache_dir=user.cache)
        assert found == str(snapshot / file.path)
        assert (
            hf_hub_download(spec.repo_id, file.path, cache_dir=user.cache, local_files_only=True)
            == found
        )
    tree = get_cached_repo_tree(spec.repo_id, revision="main", cache_dir=user.cache)
    assert tree is not None
    assert {entry.path for entry in tree} == {file.path for file in spec.head.files}


@pytest.mark.parametrize(("by_commit", "requests"), [(False, 1), (True, 0)])
def test_hf_asks_as_little_after_a_pull_as_after_its_own(
    hub: LoopbackHub, user: User, requests: int, *, by_commit: bool
) -> None:
    hub.put_repo(SPEC)
    user.pulled("org/model")
    hub.reset_records()
    snapshot_download(
        "org/model",
        revision=SPEC.commit_id if by_commit else "main",
        cache_dir=user.cache,
        endpoint=hub.url("origin"),
        token=False,
    )
    assert len(hub.records) == requests


@pytest.mark.parametrize(("by_commit", "requests"), [(False, 1), (True, 0)])
def test_a_second_pull_asks_as_little(
    hub: LoopbackHub, user: User, requests: int, *, by_commit: bool
) -> None:
    hub.put_repo(SPEC)
    user.pulled("org/model")
    hub.reset_records()
    run = user.pulled("org/model", *(["--revision", SPEC.commit_id] if by_commit else []))
    assert_holds(run.path, SPEC)
    assert len(hub.records) == requests


def test_a_part_of_a_repo_is_told_from_the_whole(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    run = user.pulled("org/model", "--include", "*.json", "--include", "*.txt")
    assert "needs the same patterns" in run.stderr
    with pytest.raises(IncompleteSnapshotError):
        snapshot_download("org/model", cache_dir=user.cache, local_files_only=True)
    assert snapshot_download(
        "org/model",
        cache_dir=user.cache,
        local_files_only=True,
        allow_patterns=["*.json", "*.txt"],
    ) == str(run.path)
    assert_clean(user.cache)


def test_hf_completes_what_was_pulled_in_part(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    user.pulled("org/model", "--include", "onnx/*")
    hub.reset_records()
    path = snapshot_download(
        "org/model", cache_dir=user.cache, endpoint=hub.url("origin"), token=False
    )
    assert_holds(Path(path), SPEC)
    small = SPEC.head.by_path["onnx/small.onnx"]
    assert hub.bytes_sent(blob=small.blob_name) == 0


def test_a_pull_completes_what_hf_began(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    snapshot_download(
        "org/model",
        cache_dir=user.cache,
        endpoint=hub.url("origin"),
        token=False,
        allow_patterns=["model.safetensors"],
    )
    hub.reset_records()
    assert_holds(user.pulled("org/model").path, SPEC)
    assert hub.bytes_sent(blob=SPEC.head.by_path["model.safetensors"].blob_name) == 0
    assert_clean(user.cache)


def test_the_scanner_counts_what_was_pulled(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    user.pulled("org/model")
    user.pulled("org/model", "--revision", "v1.0")
    report = scan_cache_dir(user.cache)
    assert report.warnings == []
    (found,) = report.repos
    assert found.refs.keys() == {"main", "v1.0"}
    assert found.size_on_disk == sum(
        {f.blob_name: f.size for c in SPEC.commits for f in c.files}.values()
    )


def test_others_may_read_what_the_umask_lets_them(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    umask = os.umask(0o022)
    try:
        user.pulled("org/model")
    finally:
        os.umask(umask)
    modes = {
        path.stat().st_mode & 0o777
        for path in user.cache.glob(f"{FOLDER}/*/**/*")
        if path.is_file()
    }
    assert modes == {0o644}
