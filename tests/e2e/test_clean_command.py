"""`hfaria clean` and `hfaria outdated`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from huggingface_hub.utils import WeakFileLock

from loopback_hub import Generated, Shape, repo
from support.cli import refused, wait_until
from support.repos import model, one_file
from support.trees import assert_clean, assert_holds, tree_of

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = pytest.mark.aria2

MODEL = model()
LARGE = one_file(size=10_000_000)


@pytest.fixture
def folder(hub: LoopbackHub, user: User) -> Path:
    """The folder of a repo that was pulled whole; by commit, so that no ref names it."""
    hub.put_repo(MODEL)
    user.pulled(MODEL.repo_id, "--revision", MODEL.commit_id)
    return user.cache / "models--org--model"


def litter(folder: Path) -> None:
    (folder / "blobs" / ("1" * 64)).write_bytes(b"x" * 1000)
    (folder / "blobs" / f"{'2' * 64}.incomplete").write_bytes(b"x" * 2000)
    (folder / "blobs" / f"{'3' * 40}.aria2").write_bytes(b"x" * 10)
    for name in ("partial", "stage", "quarantine", "mending"):
        (folder / ".hfaria" / name).mkdir()
        (folder / ".hfaria" / name / ("4" * 64)).write_bytes(b"x" * 3000)


def test_leftovers_are_shown_and_removed_only_when_told(user: User, folder: Path) -> None:
    before = tree_of(user.cache, without=(".locks",))
    litter(folder)
    littered = tree_of(user.cache, without=(".locks",))
    run = user.run("clean")
    assert run.code == 0
    assert "15.0 kB could go" in run.stdout
    assert "1.00 kB  orphan           blobs/1111" in run.stdout
    assert "nothing was removed; `--yes` removes what is shown" in run.stderr
    assert tree_of(user.cache, without=(".locks",)) == littered
    done = user.run("clean", "--yes", "--json").document
    assert done["is_done"]
    assert sum(len(each["leftovers"]) for each in done["repos"]) == 7
    assert tree_of(user.cache, without=(".locks",)) == before
    assert_holds(folder / "snapshots" / MODEL.commit_id, MODEL)
    assert_clean(user.cache)
    assert user.run("clean").stdout == "nothing is left over\n"


def test_what_a_reader_needs_is_never_a_leftover(user: User, folder: Path) -> None:
    # Entries that are missing can be made again, and a hard link is an entry, too.
    snapshot = folder / "snapshots" / MODEL.commit_id
    (snapshot / "vocab.txt").unlink()
    blob = (snapshot / "config.json").resolve()
    (snapshot / "config.json").unlink()
    os.link(blob, snapshot / "config.json")
    (folder / "trees" / f"{MODEL.commit_id}.json").rename(folder / "elsewhere.json")
    found = user.run("clean", "--json").document
    kept = {path.name for path in (folder / "blobs").iterdir()}
    named = {each["path"].rpartition("/")[2] for r in found["repos"] for each in r["leftovers"]}
    assert blob.name not in named
    assert len(named & kept) == 1  # without a listing nobody knows what `vocab.txt` was


def test_partials_can_be_kept(user: User, folder: Path) -> None:
    litter(folder)
    kinds = [
        each["kind"]
        for repo in user.run("clean", "--yes", "--keep-partials", "--json").document["repos"]
        for each in repo["leftovers"]
    ]
    assert "partial" not in kinds
    assert len(kinds) == 6
    assert (folder / ".hfaria/partial").is_dir()


def test_a_pull_that_runs_is_left_alone(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(LARGE)
    hub.shape("cdn", Shape(rate_total=4e6))
    running = user.start("pull", LARGE.repo_id)
    wait_until(lambda: hub.file_bytes_sent() > 2_000_000, running)
    run = user.run("clean", "--yes")
    assert run.code == 0
    assert "left alone: a pull of it is running" in run.stdout
    hub.shape("cdn", Shape())
    assert running.wait().code == 0
    assert hub.file_bytes_sent() <= 1.3 * LARGE.head.total_size  # none of it is fetched again


def test_what_another_tool_has_locked_is_left_alone(user: User, folder: Path) -> None:
    litter(folder)
    lock = user.cache / ".locks/models--org--model" / f"{'2' * 64}.lock"
    with WeakFileLock(lock):
        run = user.run("clean", "--yes")
    assert "left alone: another tool is writing there" in run.stdout
    assert [path.name for path in (folder / "blobs").glob("*.incomplete")] == [
        f"{'2' * 64}.incomplete"
    ]
    assert not (folder / "blobs" / ("1" * 64)).exists()


# --- outdated -------------------------------------------------------------------------------------


def test_refs_are_compared_with_upstream(hub: LoopbackHub, user: User) -> None:
    old = repo("org/moving", {"a.txt": b"1"}, tags={"v1": 0})
    hub.put_repo(old)
    hub.put_repo(MODEL)
    for arguments in (["org/moving"], ["org/moving", "--revision", "v1"], [MODEL.repo_id]):
        user.pulled(*arguments)
    assert user.run("outdated").stdout.count("up to date") == 3
    new = repo("org/moving", {"a.txt": b"1"}, {"a.txt": Generated(1, 9)}, tags={"v1": 0})
    hub.put_repo(new)
    run = user.run("outdated")
    assert run.code == 0
    assert f"outdated: {new.commit_id[:12]} at" in run.stdout
    assert user.run("outdated", "-q").stdout == "org/moving main\n"
    document = user.run("outdated", "--json", "org/moving").document
    assert document["is_outdated"]
    assert [(each["ref"], each["is_outdated"]) for each in document["refs"]] == [
        ("main", True), ("v1", False)
    ]  # fmt: skip
    assert [each["upstream"] for each in document["refs"]] == [new.commit_id, old.commit_id]


def test_a_ref_that_is_gone_is_told_and_one_that_nobody_answers_for_is_an_error(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(MODEL)
    user.pulled(MODEL.repo_id, "--revision", "v1.0")
    hub.put_repo(repo(MODEL.repo_id, {"a": b"1"}))
    run = user.run("outdated")
    assert run.code == 0
    assert "gone: " in run.stdout
    assert "offline" in refused(user.having(HF_HUB_OFFLINE="1").run("outdated"), 5)
    dead = user.having(HF_ENDPOINT="http://127.0.0.1:9", HFARIA_ORIGIN="http://127.0.0.1:9")
    unreachable = dead.run("outdated", "--patience", "1")
    assert unreachable.code == 5
    assert "unknown: " in unreachable.stdout
