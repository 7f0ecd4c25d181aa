"""`hfaria repair`: what is wrong is never visible meanwhile, and only that is fetched."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfaria.rules.records import MARK_SPACING
from loopback_hub import Fault, LoopbackHub, Shape, Status, WrongBytes
from support.cli import refused, wait_until
from support.repos import model, one_file
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import User

pytestmark = pytest.mark.aria2

LARGE = one_file(size=40_000_000)
MODEL = model()


def snapshot(user: User, name: str, commit: str) -> Path:
    return user.cache / f"models--org--{name}/snapshots" / commit


@pytest.fixture
def large(hub: LoopbackHub, user: User) -> Path:
    """A pulled file of several marks; it is the blob's path."""
    hub.put_repo(LARGE)
    path = user.pulled(LARGE.repo_id).path / "model.safetensors"
    hub.reset_records()
    return path.resolve()


def damage(path: Path, at: int, content: bytes = b"oops") -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def forget_marks(user: User) -> None:
    for records in user.cache.glob("*/.hfaria/verified.jsonl"):
        records.unlink()


def repaired(user: User, *arguments: str) -> dict[str, Any]:
    run = user.run("repair", "--json", *arguments)
    assert run.code == 0, run.stderr
    (repo,) = run.document["repos"]
    result: dict[str, Any] = repo
    return result


def assert_right(user: User, large: Path) -> None:
    assert_holds(snapshot(user, "one", LARGE.commit_id), LARGE)
    assert_clean(user.cache)
    assert user.run("verify", "--full").code == 0
    assert large.is_file()
    left = {path.name for path in (user.cache / "models--org--one/.hfaria").iterdir()}
    assert left == {"verified.jsonl", "wanted.json"}


def test_one_wrong_byte_costs_one_piece(hub: LoopbackHub, user: User, large: Path) -> None:
    damage(large, 13_000_000, b"\x00")
    repo = repaired(user)
    (mended,) = repo["mended"]
    assert mended["ranges"] == [[13_000_000, 13_000_001]]
    assert hub.file_bytes_sent() == repo["bytes_fetched"] == MARK_SPACING
    assert_right(user, large)


def test_damage_at_several_places_is_found_one_after_the_other(
    hub: LoopbackHub, user: User, large: Path
) -> None:
    for at in (0, 20_000_000, 39_999_990):
        damage(large, at)
    (mended,) = repaired(user)["mended"]
    assert [start for start, _ in mended["ranges"]] == [0, 20_000_000, 39_999_990]
    assert hub.file_bytes_sent() <= 3 * MARK_SPACING
    assert_right(user, large)


@pytest.mark.parametrize("size", [35_000_000, 45_000_000], ids=["too short", "too long"])
def test_a_wrong_length_is_put_right(hub: LoopbackHub, user: User, large: Path, size: int) -> None:
    os.truncate(large, size)
    repaired(user)
    assert hub.file_bytes_sent() <= 3 * MARK_SPACING
    assert_right(user, large)


def test_without_marks_the_file_is_compared(hub: LoopbackHub, user: User, large: Path) -> None:
    damage(large, 1_000_000)
    forget_marks(user)
    run = user.run("repair")
    assert run.code == 0
    assert "nothing tells where it is wrong; comparing it" in run.stderr
    assert hub.file_bytes_sent() < LARGE.head.total_size / 2
    assert_right(user, large)


def test_the_next_source_is_asked_where_one_sends_wrong_bytes(
    hub: LoopbackHub, user: User, large: Path
) -> None:
    hub.faults.add(Fault(WrongBytes(at=13_000_001), site="mirror", kind="bytes"))
    damage(large, 13_000_000)
    repo = repaired(user, "--endpoint", hub.url("mirror"))
    (mended,) = repo["mended"]
    assert mended["source"] in hub.url("origin")
    assert mended["bytes_fetched"] == 2 * MARK_SPACING
    assert_right(user, large)


def test_wrong_bytes_are_not_visible_while_they_are_mended(
    hub: LoopbackHub, user: User, large: Path
) -> None:
    damage(large, 13_000_000)
    hub.shape("cdn", Shape(rate_total=1e6))
    running = user.start("repair")
    wait_until(lambda: hub.file_bytes_sent() > 200_000, running)
    assert not large.exists()
    assert not (snapshot(user, "one", LARGE.commit_id) / "model.safetensors").exists()
    again = user.run("repair")
    assert again.code == 7
    assert "another pull into" in again.error
    running.kill()
    hub.shape("cdn", Shape())
    hub.reset_records()
    assert user.run("verify").code == 3
    repaired(user)
    assert hub.file_bytes_sent() == MARK_SPACING
    assert_right(user, large)


def test_nothing_is_touched_while_nobody_can_help(
    hub: LoopbackHub, user: User, large: Path
) -> None:
    damage(large, 13_000_000)
    offline = user.having(HF_HUB_OFFLINE="1").run("repair")
    assert "offline" in refused(offline, 5)
    hub.faults.add(Fault(Status(404), kind="api"))
    assert user.run("repair").code == 5
    assert large.is_file()


def test_a_file_that_others_hold_too_is_not_written(
    hub: LoopbackHub, user: User, large: Path
) -> None:
    other = user.home / "other.safetensors"
    damage(large, 13_000_000)
    os.link(large, other)
    before = other.read_bytes()
    repaired(user)
    assert other.read_bytes() == before
    assert hub.file_bytes_sent() == MARK_SPACING
    assert_right(user, large)


@pytest.mark.parametrize("symlinks", ["", "1"], ids=["symlinks", "no symlinks"])
def test_what_is_missing_or_small_is_pulled(hub: LoopbackHub, user: User, symlinks: str) -> None:
    user = user.having(HF_HUB_DISABLE_SYMLINKS=symlinks)
    hub.put_repo(MODEL)
    folder = user.pulled(MODEL.repo_id).path
    (folder / "vocab.txt").unlink()
    damage(folder / "onnx/small.onnx", 5)
    (folder / "config.json").resolve().unlink()
    assert user.run("verify").code == 4
    repaired(user)
    assert_holds(folder, MODEL)
    assert_clean(user.cache)
    # The wish is what it was: all of it.
    (folder / "vocab.txt").unlink()
    assert user.run("verify").code == 3


def test_what_another_tool_left_out_is_not_fetched_unasked(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(MODEL)
    user.python(
        "from huggingface_hub import snapshot_download\n"
        "snapshot_download('org/model', allow_patterns=['*.json', 'vocab.txt'])"
    )
    folder = snapshot(user, "model", MODEL.commit_id)
    damage(folder / "vocab.txt", 0)
    run = user.run("repair")
    assert run.code == 3
    assert "4 files may never have been asked for: `hfaria pull org/model`" in run.stdout
    assert (folder / "vocab.txt").read_bytes() == b"a\nb\n"
    assert not (folder / "model.safetensors").exists()


def test_a_wrong_blob_that_no_listing_knows_is_set_aside(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(MODEL)
    user.pulled(MODEL.repo_id)
    stray = user.cache / "models--org--model/blobs" / ("0" * 64)
    stray.write_bytes(b"not that")
    assert user.run("repair").code == 0
    assert not stray.exists()


def test_a_disk_that_takes_no_more_leaves_nothing_wrong_visible(
    hub: LoopbackHub, user: User, large: Path
) -> None:
    damage(large, 13_000_000)
    limit = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, 10**7)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    full = replace(user, prefix=(sys.executable, "-c", limit))
    run = full.run("repair")
    assert "mending" in refused(run, 7)
    assert not large.exists()
    assert user.run("verify").code == 3
    repaired(user)
    assert hub.file_bytes_sent() <= 2 * MARK_SPACING
    assert_right(user, large)


def test_a_right_cache_needs_nobody(hub: LoopbackHub, user: User, large: Path) -> None:
    run = user.having(HF_HUB_OFFLINE="1").run("repair")
    assert run.stdout == "org/one: right\n"
    assert hub.requests() == ()
    assert large.is_file()
