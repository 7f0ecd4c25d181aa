"""Sticks into a cache: any order, any number of times, several at once, seen by other readers."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.importer.format import receipt_code
from support.importing import bring, brought, code_of, run, start
from support.sticks import (
    COMMIT,
    MODEL_FILES,
    OLD_COMMIT,
    Revision,
    Set,
    Stick,
    model_set,
    noise,
    one_stick,
    several_sticks,
    sha256_of,
)
from support.trees import assert_clean, tree_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REPO = "models--org--model"
LOCKS = (".locks",)


def files_in(cache: Path, commit: str = COMMIT, repo: str = REPO) -> dict[str, bytes]:
    """Return what a reader of a snapshot sees, links followed."""
    snapshot = cache / repo / "snapshots" / commit
    return {
        str(path.relative_to(snapshot)): path.read_bytes()
        for path in snapshot.rglob("*")
        if path.is_file()
    }


def assert_whole(cache: Path, files: Mapping[str, bytes] = MODEL_FILES) -> None:
    assert files_in(cache) == dict(files)
    assert (cache / REPO / "refs" / "main").read_bytes() == COMMIT.encode()
    assert not (cache / REPO / ".hfaria-import").exists()
    assert_clean(cache)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sticks go; what is written for the way back falls beside it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hf" / "hub"


def test_a_stick_becomes_a_revision_that_loads(tmp_path: Path, cache: Path) -> None:
    ended = brought(one_stick(tmp_path, model_set()), cache=cache)
    assert_whole(cache)
    set_id = model_set().document()["set_id"]
    assert ended.stdout.splitlines()[-1] == f"receipt {receipt_code(set_id)}"
    receipt = json.loads((cache.parent / "hfaria-receipts" / f"{set_id[:8]}.json").read_text())
    assert receipt["set_id"] == set_id
    assert receipt["signature"] == "UNSIGNED"
    pointer = cache / REPO / "snapshots" / COMMIT / "config.json"
    assert os.readlink(pointer).startswith("../../blobs/")  # noqa: PTH115


def test_in_place_parts_and_packs_come_to_the_same(tmp_path: Path, cache: Path) -> None:
    contents = model_set()
    packed = Stick(1, 1)
    small = [content for content in contents.contents().values() if len(content) < 1000]
    packed.put_pack(small, contents.piece_size)
    for content in contents.contents().values():
        if content not in small:
            packed.put(content, contents.piece_size)
    sticks = {
        "pool": [one_stick(tmp_path / "pool", contents)],
        "place": [one_stick(tmp_path / "place", contents, in_place=True)],
        "parts": several_sticks(tmp_path / "parts", contents, 1),
        "packs": [packed.write(tmp_path / "packs", contents.document())],
    }
    for name, bags in sticks.items():
        brought(*bags, cache=cache / name)
        assert_whole(cache / name)
    trees = [tree_of(cache / name, without=LOCKS) for name in sticks]
    assert trees == trees[:1] * 4


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_three_sticks_come_in_any_order(
    tmp_path: Path, cache: Path, order: tuple[int, ...]
) -> None:
    bags = several_sticks(tmp_path, model_set(), 3)
    for number in order[:2]:
        ended = bring(bags[number], cache=cache)
        assert (ended.code, code_of(ended)) == (3, "E-MISSING")
        assert_clean(cache)
        assert list((cache / REPO / "snapshots").iterdir()) == []
        assert not (cache / REPO / "refs").exists()
    brought(bags[order[2]], cache=cache)
    assert_whole(cache)


def test_the_same_stick_twice_changes_nothing(tmp_path: Path, cache: Path) -> None:
    bags = several_sticks(tmp_path, model_set(), 2)
    for _ in range(2):
        assert bring(bags[0], cache=cache).code == 3
    assert bring(*bags, cache=cache).code == 0
    before = tree_of(cache, without=LOCKS)
    times = {path: path.lstat().st_mtime_ns for path in cache.rglob("*") if not path.is_dir()}
    for bag in bags:
        brought(bag, cache=cache)
    assert tree_of(cache, without=LOCKS) == before
    assert {p: p.lstat().st_mtime_ns for p in times if p.parent.name != ".locks"} == {
        p: time for p, time in times.items() if p.parent.name != ".locks"
    }


@pytest.mark.parametrize("same", [True, False], ids=["one stick", "two sticks"])
def test_two_imports_at_once_make_one_cache(tmp_path: Path, cache: Path, *, same: bool) -> None:
    files = {f"model-{n}.safetensors": noise(3_000_000, n) for n in range(6)}
    files.update({f"small-{n}.json": noise(100, n) for n in range(300)})
    contents = Set({"model:org/model": (Revision(files),)})
    bags = several_sticks(tmp_path, contents, 2, part_pieces=1000)
    pairs = [bags, bags] if same else [bags[:1], bags[1:]]
    runs = [start("import", *pair, "--cache", cache, "--reserve", "0") for pair in pairs]
    ends = [each.wait() for each in runs]
    assert {ended.code for ended in ends} <= ({0} if same else {0, 3}), [e.stderr for e in ends]
    brought(*bags, cache=cache)
    assert_whole(cache, files)


# --- what is there already -----------------------------------------------------------------------


def test_content_of_another_repo_is_linked_not_copied(tmp_path: Path, cache: Path) -> None:
    weights = noise(2_000_000, 5)
    repos = {
        "model:org/model": (Revision({"model.safetensors": weights}),),
        "dataset:org/twin": (Revision({"copy.safetensors": weights}),),
    }
    brought(one_stick(tmp_path, Set(repos)), cache=cache)
    blobs = [path for path in cache.glob("*/blobs/*") if path.is_file()]
    assert len(blobs) == 2
    assert len({path.stat().st_ino for path in blobs}) == 1


def second_month(requires: frozenset[str] = frozenset()) -> Set:
    files = {**MODEL_FILES, "config.json": b'{"new": true}', "new.safetensors": noise(90_000, 9)}
    return Set({"model:org/model": (Revision(files, commit="c" * 40),)}, requires=requires)


def test_a_bundle_against_an_inventory_brings_only_what_is_new(tmp_path: Path, cache: Path) -> None:
    brought(one_stick(tmp_path / "1", model_set()), cache=cache)
    old = frozenset(map(sha256_of, MODEL_FILES.values())) - {sha256_of(MODEL_FILES["config.json"])}
    bag = one_stick(tmp_path / "2", second_month(requires=old))
    assert sum(path.stat().st_size for path in (bag / "data").rglob("*") if path.is_file()) < 91_000
    brought(bag, cache=cache, options=("--update-refs",))
    assert (
        files_in(cache, "c" * 40).keys() == second_month().repos["model:org/model"][0].files.keys()
    )
    assert_clean(cache)


def test_missing_prerequisites_are_told_before_anything_is_written(
    tmp_path: Path, cache: Path
) -> None:
    old = frozenset({sha256_of(MODEL_FILES["model-00001-of-00002.safetensors"])})
    bag = one_stick(tmp_path / "2", second_month(requires=old))
    ended = bring(bag, cache=cache)
    assert (ended.code, code_of(ended)) == (8, "E-PREREQ")
    assert "--base none" in ended.hint
    assert list(cache.glob("models--*")) == []


def test_a_blob_of_the_wrong_size_counts_as_missing(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    brought(bag, cache=cache)
    blob = cache / REPO / "blobs" / sha256_of(MODEL_FILES["model-00002-of-00002.safetensors"])
    blob.write_bytes(b"cut off")
    brought(bag, cache=cache)
    assert_whole(cache)


def test_rehash_existing_finds_what_names_and_sizes_hide(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    brought(bag, cache=cache)
    blob = cache / REPO / "blobs" / sha256_of(MODEL_FILES["model-00002-of-00002.safetensors"])
    wrong = bytearray(blob.read_bytes())
    wrong[1000] ^= 1
    blob.write_bytes(wrong)
    brought(bag, cache=cache)
    assert blob.read_bytes() == bytes(wrong)
    ended = brought(bag, cache=cache, options=("--rehash-existing",))
    assert "is damaged" in ended.stderr
    assert_whole(cache)


def test_a_snapshot_with_another_file_is_a_conflict_and_stays(tmp_path: Path, cache: Path) -> None:
    snapshot = cache / REPO / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(b"x" * len(MODEL_FILES["config.json"]))
    before = tree_of(cache)
    ended = bring(one_stick(tmp_path, model_set()), cache=cache)
    assert (ended.code, code_of(ended)) == (4, "E-CONFLICT")
    assert tree_of(cache, without=(".locks", "CACHEDIR.TAG")) == before


def test_what_killed_runs_left_is_removed_and_what_is_others_stays(
    tmp_path: Path, cache: Path
) -> None:
    bag = one_stick(tmp_path, model_set())
    staging = cache / REPO / ".hfaria-import"
    (staging / COMMIT / "sub dir").mkdir(parents=True)
    staging.chmod(0o700)
    (staging / COMMIT / "sub dir" / "old").symlink_to("../x")
    ours, other = sha256_of(MODEL_FILES["config.json"]), "e" * 64
    for name in (f"{ours}.small", f"{ours}.pieces.new", "ref", f"{other}.part"):
        (staging / name).write_bytes(b"x")
    brought(bag, cache=cache)
    assert [path.name for path in staging.iterdir()] == [f"{other}.part"]
    assert_clean(cache)


def test_a_snapshot_with_a_part_gets_what_it_lacks(tmp_path: Path, cache: Path) -> None:
    brought(one_stick(tmp_path, model_set()), cache=cache)
    shutil.rmtree(cache / REPO / "snapshots" / COMMIT / "sub dir")
    (cache / REPO / "snapshots" / COMMIT / "config.json").unlink()
    brought(one_stick(tmp_path, model_set()), cache=cache)
    assert_whole(cache)


# --- refs ----------------------------------------------------------------------------------------


def test_a_ref_that_names_another_commit_stays_until_it_is_asked_for(
    tmp_path: Path, cache: Path
) -> None:
    old = Set({"model:org/model": (Revision({"config.json": b"{}"}, commit=OLD_COMMIT),)})
    brought(one_stick(tmp_path / "1", old), cache=cache)
    bag = one_stick(tmp_path / "2", model_set())
    ended = brought(bag, cache=cache)
    ref = cache / REPO / "refs" / "main"
    assert ref.read_text() == OLD_COMMIT
    assert f"stays at {OLD_COMMIT[:8]} (bundle: {COMMIT[:8]})" in ended.stderr
    assert files_in(cache) == MODEL_FILES
    brought(bag, cache=cache, options=("--update-refs",))
    assert ref.read_bytes() == COMMIT.encode()
    assert_clean(cache)


def test_nested_refs_are_written_last_and_without_newline(tmp_path: Path, cache: Path) -> None:
    revision = Revision(MODEL_FILES, refs=("main", "refs/pr/1", "v1.0"))
    brought(one_stick(tmp_path, Set({"model:org/model": (revision,)})), cache=cache)
    refs = cache / REPO / "refs"
    names = sorted(str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file())
    assert names == ["main", "refs/pr/1", "v1.0"]
    assert {(refs / name).read_bytes() for name in names} == {COMMIT.encode()}


def test_repo_brings_only_what_is_named(tmp_path: Path, cache: Path) -> None:
    repos = {
        "model:org/model": (Revision(MODEL_FILES),),
        "dataset:org/data": (Revision({"train.bin": noise(5000)}),),
    }
    bag = one_stick(tmp_path, Set(repos))
    ended = brought(bag, cache=cache, options=("--repo", "org/data"))
    assert [path.name for path in cache.glob("*--*")] == ["datasets--org--data"]
    assert "receipt" not in ended.stdout
    wrong = bring(bag, cache=cache, options=("--repo", "org/other"))
    assert (wrong.code, code_of(wrong)) == (2, "E-REPO")


# --- modes ---------------------------------------------------------------------------------------


def test_move_frees_the_bundle_and_link_shares_it(tmp_path: Path, cache: Path) -> None:
    contents = model_set()
    for mode in ("move", "link", "copy"):
        bag = one_stick(tmp_path / mode, contents)
        brought(bag, cache=cache / mode, options=("--mode", mode))
        assert_whole(cache / mode)
        left = [path for path in (bag / "data").rglob("*") if path.is_file()]
        shared = [path for path in left if path.stat().st_nlink > 1]
        assert (mode, len(left), bool(shared)) == (mode, 0 if mode == "move" else 5, mode == "link")


def test_dry_run_writes_nothing(tmp_path: Path, cache: Path) -> None:
    ended = brought(one_stick(tmp_path, model_set()), cache=cache, options=("--dry-run",))
    assert "would copy 2.2 MB" in ended.stdout
    assert not cache.parent.exists()


def test_an_unfinished_stick_is_imported_only_when_asked(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, model_set(), in_place=True)
    (bag / ".hfaria-journal.jsonl").write_text("{}\n")
    (bag / "stick.json").unlink()
    ended = bring(bag, cache=cache)
    assert (ended.code, code_of(ended)) == (3, "E-UNFINISHED")
    assert not cache.exists()
    brought(bag, cache=cache, options=("--partial",))
    assert_whole(cache)


# --- without symlinks ----------------------------------------------------------------------------


def test_without_symlinks_snapshots_hold_the_files(tmp_path: Path, cache: Path) -> None:
    two = (
        Revision(MODEL_FILES),
        Revision({**MODEL_FILES, "config.json": b"{}"}, commit=OLD_COMMIT, refs=("old",)),
    )
    contents = Set({"model:org/model": two})
    bags = several_sticks(tmp_path, contents, 2)
    assert bring(bags[0], cache=cache, symlinks=False).code == 3
    assert_clean(cache)
    assert bring(bags[1], cache=cache, symlinks=False).code == 0
    assert_whole(cache)
    assert files_in(cache, OLD_COMMIT) == {**MODEL_FILES, "config.json": b"{}"}
    assert [path for path in cache.rglob("*") if path.is_symlink()] == []
    assert list((cache / REPO / "blobs").iterdir()) == []
    again = bring(*bags, cache=cache, symlinks=False)
    assert again.code == 0
    assert run("inventory", "--cache", cache, "-o", "inventory.json").code == 0
    listed = {row[0] for row in json.loads((tmp_path / "inventory.json").read_text())["blobs"]}
    assert len(listed) == len(contents.contents())
