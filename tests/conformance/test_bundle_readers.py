"""huggingface_hub reads what an import made: offline, and online without being misled."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import (
    get_cached_repo_tree,
    scan_cache_dir,
    snapshot_download,
)

from support.cli import wait_until
from support.importing import bring, brought, start
from support.repos import model
from support.sticks import Revision, Set, in_place_files, noise, one_stick
from support.trees import assert_clean, assert_holds, tree_of

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = [pytest.mark.conformance, pytest.mark.aria2]

SPEC = model()
FOLDER = "models--org--model"
FILES = {file.path: file.content.whole() for file in SPEC.head.files}

READ_OFFLINE = """
import json, sys, huggingface_hub as h
print(json.dumps([h.snapshot_download("org/model"), h.hf_hub_download("org/model", "vocab.txt")]))
"""


def whole() -> Set:
    return Set({"model:org/model": (Revision(FILES, commit=SPEC.commit_id),)})


def part() -> Set:
    some = {path: content for path, content in FILES.items() if path.endswith((".json", ".txt"))}
    revision = Revision(some, commit=SPEC.commit_id, is_complete=False)
    return Set({"model:org/model": (revision,)})


@pytest.mark.parametrize("symlinks", [True, False])
def test_offline_every_way_of_reading_finds_the_import(
    hub: LoopbackHub, user: User, tmp_path: Path, *, symlinks: bool
) -> None:
    ended = bring(one_stick(tmp_path, whole()), cache=user.cache, symlinks=symlinks)
    assert ended.code == 0, ended.stderr
    snapshot = user.cache / FOLDER / "snapshots" / SPEC.commit_id
    found = json.loads(user.python(READ_OFFLINE, HF_HUB_OFFLINE="1"))
    assert found == [str(snapshot), str(snapshot / "vocab.txt")]
    assert_holds(snapshot, SPEC)
    assert hub.records == ()
    tree = get_cached_repo_tree("org/model", revision="main", cache_dir=user.cache)
    assert tree is not None
    assert {entry.path for entry in tree} == set(FILES)
    (repo,) = scan_cache_dir(user.cache).repos
    assert {ref for revision in repo.revisions for ref in revision.refs} == {"main"}


def test_an_import_is_what_a_pull_would_have_made(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    hub.put_repo(SPEC)
    user.pulled("org/model")
    brought(one_stick(tmp_path, whole()), cache=tmp_path / "hub")
    pulled, imported = (
        tree_of(cache, without=(".locks", "trees", ".hfaria"))
        for cache in (user.cache, tmp_path / "hub")
    )
    assert imported == pulled
    tree = f"{FOLDER}/trees/{SPEC.commit_id}.json"
    ours, theirs = (
        json.loads((cache / tree).read_text()) for cache in (tmp_path / "hub", user.cache)
    )
    for entry in theirs["files"].values():
        entry.pop("xet_hash", None)
    assert ours == theirs


def test_online_a_whole_import_costs_no_request_by_commit(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    hub.put_repo(SPEC)
    brought(one_stick(tmp_path, whole()), cache=user.cache)
    snapshot_download(
        "org/model",
        revision=SPEC.commit_id,
        cache_dir=user.cache,
        endpoint=hub.url("origin"),
        token=False,
    )
    assert hub.records == ()


def test_a_part_loads_and_never_poisons_a_later_whole(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    hub.put_repo(SPEC)
    ended = brought(one_stick(tmp_path, part()), cache=user.cache)
    assert "W-TREE" in ended.stderr
    assert not (user.cache / FOLDER / "trees").exists()
    offline = snapshot_download("org/model", cache_dir=user.cache, local_files_only=True)
    assert {path.name for path in Path(offline).rglob("*") if path.is_file()} == {
        "config.json",
        "empty.txt",
        "vocab.txt",
    }
    online = snapshot_download(
        "org/model", cache_dir=user.cache, endpoint=hub.url("origin"), token=False
    )
    assert_holds(Path(online), SPEC)
    assert_clean(user.cache)


def test_a_pull_completes_an_imported_part(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    hub.put_repo(SPEC)
    brought(one_stick(tmp_path, part()), cache=user.cache)
    assert_holds(user.pulled("org/model").path, SPEC)
    assert hub.bytes_sent(blob=SPEC.head.by_path["vocab.txt"].blob_name) == 0


def test_a_whole_stick_completes_what_hf_began(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    hub.put_repo(SPEC)
    snapshot_download(
        "org/model",
        cache_dir=user.cache,
        endpoint=hub.url("origin"),
        token=False,
        allow_patterns=["*.json"],
    )
    brought(one_stick(tmp_path, whole()), cache=user.cache)
    assert_holds(user.cache / FOLDER / "snapshots" / SPEC.commit_id, SPEC)
    assert_clean(user.cache)


def test_an_import_waits_for_a_blob_that_another_writes(user: User, tmp_path: Path) -> None:
    weights = SPEC.head.by_path["model.safetensors"]
    lock = user.cache / ".locks" / FOLDER / f"{weights.blob_name}.lock"
    blob = user.cache / FOLDER / "blobs" / weights.blob_name
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        bag = one_stick(tmp_path, whole())
        running = start("import", bag, "--cache", user.cache, "--reserve", "0")
        wait_until(blob.parent.exists, running)
        assert not running.has_ended
        # What the other publishes is taken as it is, and not written again.
        blob.write_bytes(FILES["model.safetensors"])
        inode = blob.stat().st_ino
    ended = running.wait()
    assert ended.code == 0, ended.stderr
    assert blob.stat().st_ino == inode
    assert_holds(user.cache / FOLDER / "snapshots" / SPEC.commit_id, SPEC)


def test_the_stick_itself_is_a_cache(user: User, tmp_path: Path) -> None:
    bag = one_stick(tmp_path, whole(), in_place=True)
    hub_folder = bag / "data" / "hub"
    (hub_folder / FOLDER / "refs").mkdir()
    (hub_folder / FOLDER / "refs" / "main").write_text(SPEC.commit_id)
    found = json.loads(user.python(READ_OFFLINE, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(hub_folder)))
    assert_holds(Path(found[0]), SPEC)
    assert len(in_place_files(whole())) == len(FILES)
    brought(bag, cache=user.cache)
    assert_clean(user.cache)


def test_load_check_loads_every_ref(user: User, tmp_path: Path) -> None:
    repos = {
        "model:org/model": (Revision({"config.json": b"{}"}),),
        "dataset:org/data": (Revision({"train.bin": noise(5000)}, refs=("main", "v2")),),
    }
    bag = one_stick(tmp_path, Set(repos))
    ended = brought(bag, cache=user.cache, options=("--load-check",))
    loaded = [line for line in ended.stderr.splitlines() if line.startswith("loads: ")]
    assert loaded == [
        "loads: model org/model @ main",
        "loads: dataset org/data @ main",
        "loads: dataset org/data @ v2",
    ]
