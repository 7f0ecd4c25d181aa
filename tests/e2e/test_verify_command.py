"""`hfaria ls` and `hfaria verify`: what is here, and whether it is still right."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from support.cli import refused
from support.repos import model
from support.trees import assert_clean

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = pytest.mark.aria2

MODEL = model()
DATA = model("org/data", repo_type="dataset")


@pytest.fixture(autouse=True)
def pulled(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(MODEL)
    user.pulled(MODEL.repo_id)


def snapshot(user: User) -> Path:
    return user.cache / "models--org--model/snapshots" / MODEL.commit_id


def troubles(user: User, *arguments: str) -> list[tuple[str, str]]:
    run = user.run("verify", "--json", *arguments)
    return [
        (each["trouble"], each["path"])
        for repo in run.document["repos"]
        for each in repo["findings"]
    ]


@pytest.mark.parametrize("symlinks", ["", "1"], ids=["symlinks", "no symlinks"])
def test_what_was_pulled_is_not_read_again_unless_asked(
    hub: LoopbackHub, user: User, symlinks: str
) -> None:
    user = user.having(HF_HUB_DISABLE_SYMLINKS=symlinks, HF_HUB_CACHE=str(user.home / "other"))
    user.pulled(MODEL.repo_id)
    hub.reset_records()
    copies = 300_000 if symlinks else 0  # made without a look
    (fast,) = user.run("verify", "--json").document["repos"]
    assert fast["bytes_hashed"] == copies
    (again,) = user.run("verify", "--json").document["repos"]
    assert again["bytes_hashed"] == 0
    full = user.run("verify", "--full", "--json")
    assert full.code == 0
    (repo,) = full.document["repos"]
    assert repo["bytes_hashed"] == fast["bytes_unchanged"] + copies
    assert repo["findings"] == []
    assert hub.requests() == ()


def test_what_was_written_through_a_link_is_found(user: User) -> None:
    with (snapshot(user) / "model.safetensors").open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"oops")
    run = user.run("verify")
    assert run.code == 4
    assert run.error == "1 file is not what the listing says: `org/model`"
    assert "mismatched: model.safetensors" in run.stdout
    assert troubles(user) == [("mismatched", "model.safetensors")]
    assert_clean(user.cache)


def test_only_a_full_look_finds_bits_that_rot(user: User) -> None:
    blob = (snapshot(user) / "model.safetensors").resolve()
    before = blob.stat()
    with blob.open("r+b") as file:
        file.write(b"?")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert user.run("verify").code == 0
    assert user.run("verify", "--full").code == 4


def test_each_kind_of_trouble_is_told(user: User) -> None:
    folder = snapshot(user)
    (folder / "config.json").unlink()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "onnx/small.onnx").resolve().unlink()
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to((folder / "empty.txt").readlink())
    (folder / "model.safetensors").resolve().write_bytes(b"short")
    assert sorted(troubles(user)) == [
        ("extra", "notes.txt"),
        ("mismatched", "model.safetensors"),
        ("mismatched", "vocab.txt"),
        ("missing", "config.json"),
        ("missing", "onnx/copy/small.onnx"),
        ("missing", "onnx/small.onnx"),
    ]


def test_missing_files_are_incomplete_and_extra_ones_do_no_harm(user: User) -> None:
    (snapshot(user) / "notes.txt").write_text("mine", encoding="utf-8")
    assert user.run("verify", MODEL.repo_id).code == 0
    (snapshot(user) / "config.json").unlink()
    run = user.run("verify", MODEL.repo_id)
    assert run.code == 3
    assert run.error == "1 file is missing: `org/model`"
    assert run.hint == "`hfaria repair` fetches what is missing"


def test_a_blob_without_an_entry_is_looked_at_too(user: User) -> None:
    stray = user.cache / "models--org--model/blobs" / ("0" * 64)
    stray.write_bytes(b"not that")
    assert troubles(user) == [("mismatched", f"blobs/{'0' * 64}")]


def test_a_part_that_was_asked_for_is_whole(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(DATA)
    reference = "hf://datasets/org/data"
    user.pulled(reference, "--include", "*.json")
    assert user.run("verify", "--repo-type", "dataset", "org/data").code == 0
    assert "datasets/org/data      22 B          1  part " in user.run("ls").stdout
    user.pulled(reference, "vocab.txt")
    assert user.run("verify", reference).code == 0
    snapshots = user.cache / "datasets--org--data/snapshots"
    (snapshots / DATA.commit_id / "vocab.txt").unlink()
    assert user.run("verify", reference).code == 3
    user.pulled(reference)
    assert "complete" in user.run("ls", reference).stdout


def test_a_cache_of_another_tool_is_verified_too(user: User) -> None:
    text = "from huggingface_hub import snapshot_download; print(snapshot_download('org/model'))"
    theirs = user.having(HF_HUB_CACHE=str(user.home / "theirs"))
    path = theirs.python(text)
    run = theirs.run("verify", "--json")
    assert run.code == 0
    (repo,) = run.document["repos"]
    assert repo["findings"] == []
    assert repo["bytes_hashed"] > 5_000_000
    assert theirs.run("verify", "--json").document["repos"][0]["bytes_hashed"] == 0
    assert_clean(user.home / "theirs")
    listing = user.home / "theirs/models--org--model/trees" / f"{MODEL.commit_id}.json"
    listing.unlink()
    assert path.endswith(MODEL.commit_id)
    assert "what it lacks can't be told" in theirs.run("verify").stdout


def test_the_list_tells_sizes_states_and_what_is_left(user: User) -> None:
    repo = user.cache / "models--org--model"
    (repo / "blobs" / ("1" * 40)).write_bytes(b"x" * 1000)
    run = user.run("ls")
    assert "org/model   5.30 MB          1  complete    just now" in run.stdout
    assert "1.00 kB of leftovers; `hfaria clean` shows them" in run.stdout
    assert all(len(line) <= 80 or str(user.cache) in line for line in run.stdout.splitlines())
    assert "orphan: 1.00 kB" in user.run("ls", MODEL.repo_id).stdout
    assert user.run("ls", "-q").stdout == "org/model\n"


def test_shared_bytes_count_once(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(DATA)
    user.pulled("hf://datasets/org/data")
    document = user.run("ls", "--json").document
    one, other = document["repos"]
    assert document["size"] < 1.01 * one["size"]
    assert one["size"] == other["size"]


def test_a_repo_that_is_not_here_is_an_error(user: User) -> None:
    for command in ("ls", "verify"):
        assert "is not in the cache" in refused(user.run(command, "org/nope"), 5)


def test_a_cache_that_nobody_may_write_is_verified(user: User) -> None:
    repo = user.cache / "models--org--model"
    shutil.rmtree(repo / ".hfaria")
    (repo / ".hfaria").touch()  # root may write anywhere: a file in the way refuses everybody
    run = user.run("verify")
    assert run.code == 0, run.stderr
    assert "org/model: right" in run.stdout


# --- against a lock -------------------------------------------------------------------------------


@pytest.fixture
def lock(user: User) -> str:
    """A lock of the model, without its weights; the cache has all of it."""
    manifest = user.home / "hfaria.toml"
    text = f'[[repo]]\nid = "{MODEL.repo_id}"\nexclude = ["*.safetensors"]\n'
    manifest.write_text(text, encoding="utf-8")
    run = user.run("lock", "--manifest", str(manifest))
    assert run.code == 0, run.stderr
    return str(user.home / "hfaria.lock")


def test_a_cache_is_held_to_a_lock_and_nothing_else_counts(
    hub: LoopbackHub, user: User, lock: str
) -> None:
    hub.put_repo(DATA)
    user.pulled("hf://datasets/org/data")
    hub.reset_records()
    with (snapshot(user) / "model.safetensors").open("r+b") as file:
        file.write(b"oops")
    assert user.run("verify").code == 4
    run = user.run("verify", "--lock", lock)
    assert run.code == 0, run.stderr
    assert "org/model: right; 4 files" in run.stdout
    (snapshot(user) / "vocab.txt").unlink()
    assert user.run("verify", "--lock", lock).code == 3
    assert hub.requests() == ()


def test_a_locked_commit_that_is_not_here_is_missing(user: User, lock: str) -> None:
    empty = user.having(HF_HUB_CACHE=str(user.home / "empty"))
    run = empty.run("verify", "--lock", lock)
    assert run.code == 3
    assert "5 files at" in run.stdout
    assert "the locked commit is not in the cache" in run.stdout


def test_a_stored_listing_has_to_be_the_one_that_was_locked(user: User, lock: str) -> None:
    tree = user.cache / "models--org--model/trees" / f"{MODEL.commit_id}.json"
    document = json.loads(tree.read_text(encoding="utf-8"))
    del document["files"]["vocab.txt"]
    tree.write_text(json.dumps(document), encoding="utf-8")
    assert user.run("verify").code == 0
    run = user.run("verify", "--lock", lock)
    assert run.code == 4
    assert "lists other files of `org/model`" in run.stdout


def test_a_lock_that_can_not_be_used_is_refused(user: User, lock: str) -> None:
    absent = user.run("verify", "--lock", str(user.home / "absent.lock"))
    assert "there is no lock at" in refused(absent, 2)
    other = user.run("verify", "--lock", lock, "org/other")
    assert "`org/other` is not in the lock" in refused(other, 2)
