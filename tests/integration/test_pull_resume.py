"""What was fetched is not fetched again, whatever ended the last run or changed meanwhile."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from loopback_hub import Generated, HubConfig, LoopbackHub, Shape, generated_repo, repo
from support.cli import is_alive, user_of, wait_until
from support.repos import ENGINE_SIZE, one_file
from support.trees import assert_clean, assert_holds, assert_nothing_left

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import RepoSpec
    from support.cli import User

pytestmark = pytest.mark.aria2

LARGE = one_file(size=10_000_000)
SMALL = generated_repo("org/small", [(f"{n}.bin", 1_500_000) for n in range(6)])
LINE = Shape(rate_total=8e6)


def after(hub: LoopbackHub, size: int) -> bool:
    """Tell whether more than ``size`` bytes of files went out."""
    return hub.file_bytes_sent() > size


@pytest.mark.parametrize("spec", [LARGE, SMALL], ids=["by the engine", "by our client"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pull_sends_only_the_rest(
    hub: LoopbackHub, user: User, spec: RepoSpec, number: int
) -> None:
    hub.put_repo(spec)
    hub.shape("cdn", LINE)
    running = user.start("pull", spec.repo_id)
    wait_until(lambda: after(hub, 4_000_000), running)
    running.send(number)
    run = running.wait()
    assert run.code == 130
    assert "rerun the same command to resume" in run.stderr
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    assert_clean(user.cache)
    again = user.pulled(spec.repo_id)
    assert_holds(again.path, spec)
    # What was on its way is lost: sockets hold up to some hundred kB a connection. The 4 MB that
    # were here would be 1.4.
    assert hub.file_bytes_sent() <= 1.2 * spec.head.total_size
    assert_nothing_left(user.cache)


@pytest.mark.parametrize("spec", [LARGE, SMALL], ids=["by the engine", "by our client"])
def test_a_killed_pull_sends_only_the_rest(hub: LoopbackHub, user: User, spec: RepoSpec) -> None:
    hub.put_repo(spec)
    hub.shape("cdn", LINE)
    for part in (1, 2):
        running = user.start("pull", spec.repo_id)
        wait_until(lambda part=part: after(hub, part * 3_000_000), running)  # type: ignore[misc]
        running.kill()
        assert_clean(user.cache)
    again = user.pulled(spec.repo_id)
    assert_holds(again.path, spec)
    # What was on its way at each cut is lost: sockets hold up to some hundred kB a connection.
    assert hub.file_bytes_sent() <= 1.25 * spec.head.total_size


def test_the_engine_ends_with_the_tool(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(LARGE)
    hub.shape("cdn", LINE)
    running = user.start("pull", LARGE.repo_id)
    wait_until(lambda: after(hub, 1_000_000), running)
    (engine,) = running.engines()
    assert not any("secret" in word and len(word) > 12 for word in engine.cmdline())
    running.send(signal.SIGKILL)
    running.wait()
    wait_until(lambda: not is_alive(engine))


def test_a_resumed_pull_says_what_it_had(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(LARGE)
    hub.shape("cdn", LINE)
    running = user.start("pull", LARGE.repo_id)
    wait_until(lambda: after(hub, 6_000_000), running)
    running.send(signal.SIGINT)
    running.wait()
    planned = user.pull(LARGE.repo_id, "--dry-run", "--json").document
    assert 0 < planned["bytes_to_fetch"] < 6_000_000
    receipt = user.pulled(LARGE.repo_id, "--json").document
    assert receipt["bytes_fetched"] + receipt["bytes_reused"] == LARGE.head.total_size
    assert receipt["bytes_reused"] > 3_000_000


def test_a_damaged_partial_costs_a_refetch_and_nothing_else(hub: LoopbackHub, user: User) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    hub.put_repo(LARGE)
    hub.shape("cdn", LINE)
    running = user.start("pull", LARGE.repo_id)
    wait_until(lambda: after(hub, 5_000_000), running)
    running.kill()
    partial = user.cache / "models--org--one/.hfaria/partial" / LARGE.head.files[0].blob_name
    with partial.open("r+b") as file:
        file.seek(random.Random(seed).randrange(100_000))
        file.write(b"damage")
    hub.shape("cdn", Shape())
    assert_holds(user.pulled(LARGE.repo_id).path, LARGE)
    assert_clean(user.cache)


@pytest.mark.parametrize("size", [ENGINE_SIZE, 2_000_000], ids=["engine", "our client"])
def test_a_content_at_two_paths_is_fetched_once(hub: LoopbackHub, user: User, size: int) -> None:
    spec = repo("org/twice", {"a.bin": Generated(8, size), "sub/b.bin": Generated(8, size)})
    hub.put_repo(spec)
    hub.shape("cdn", Shape(rate_total=2e7))
    run = user.pulled(spec.repo_id, "--json")
    assert_holds(user.cache / "models--org--twice/snapshots" / spec.commit_id, spec)
    assert run.document["bytes_fetched"] == size
    assert hub.file_bytes_sent() <= 1.05 * size


def test_what_another_revision_has_is_not_fetched(hub: LoopbackHub, user: User) -> None:
    spec = one_file().with_commit({"renamed.safetensors": Generated(11, ENGINE_SIZE), "new": b"1"})
    hub.put_repo(spec.behind(1))
    user.pulled(spec.repo_id)
    hub.put_repo(spec)
    hub.reset_records()
    assert_holds(user.pulled(spec.repo_id).path, spec)
    assert hub.file_bytes_sent() == 1


@pytest.mark.parametrize("symlinks", ["", "1"], ids=["symlinks", "no symlinks"])
def test_what_another_repo_has_is_not_fetched(hub: LoopbackHub, user: User, symlinks: str) -> None:
    fork = one_file("org/fork")
    hub.put_repo(one_file())
    hub.put_repo(fork)
    user.pulled("org/one")
    hub.reset_records()
    run = user.having(HF_HUB_DISABLE_SYMLINKS=symlinks).pulled("org/fork", "--json")
    assert_holds(user.cache / "models--org--fork/snapshots" / fork.commit_id, fork)
    assert hub.file_bytes_sent() == 0
    assert run.document["bytes_reused"] == ENGINE_SIZE
    assert_clean(user.cache)


def test_a_damaged_content_of_another_repo_is_fetched_instead(hub: LoopbackHub, user: User) -> None:
    fork = one_file("org/fork")
    hub.put_repo(one_file())
    hub.put_repo(fork)
    user.pulled("org/one")
    blob = user.cache / "models--org--one/blobs" / fork.head.files[0].blob_name
    with blob.open("r+b") as file:
        file.seek(ENGINE_SIZE // 2)
        file.write(b"damage")
    damaged = blob.read_bytes()
    hub.reset_records()
    assert_holds(user.pulled("org/fork").path, fork)
    assert hub.file_bytes_sent() >= ENGINE_SIZE
    assert blob.read_bytes() == damaged  # not ours to change


def test_a_forced_pull_fetches_again_and_heals(hub: LoopbackHub, user: User) -> None:
    spec = one_file()
    hub.put_repo(spec)
    path = user.pulled("org/one").path / "model.safetensors"
    blob = path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(b"x" * ENGINE_SIZE)
    user.pulled("org/one")  # a second look compares sizes only
    assert_holds(user.pulled("org/one", "--force-download").path, spec)


def test_a_cache_made_without_symlinks_is_taken_as_it_is(hub: LoopbackHub, user: User) -> None:
    spec = one_file()
    hub.put_repo(spec)
    path = user.having(HF_HUB_DISABLE_SYMLINKS="1").pulled("org/one").path / "model.safetensors"
    hub.reset_records()
    assert_holds(user.pulled("org/one").path, spec)
    assert len(hub.records) == 1
    assert not path.is_symlink()


def test_a_file_of_another_size_in_place_of_a_pointer_is_replaced(
    hub: LoopbackHub, user: User
) -> None:
    spec = one_file()
    hub.put_repo(spec)
    path = user.pulled("org/one").path / "model.safetensors"
    path.unlink()
    path.write_bytes(b"my notes")
    assert_holds(user.pulled("org/one").path, spec)
    assert path.is_symlink()


def test_urls_that_expire_on_the_way_lose_no_bytes(tmp_path: Path) -> None:
    spec = one_file(size=10_000_000)
    with LoopbackHub(HubConfig(repos=(spec,), url_lifetime_seconds=1.0)) as hub:
        hub.prepare()
        hub.shape("cdn", Shape(rate_total=4e6))
        user = user_of(hub, tmp_path / "home")
        # Each connection's request for its next range meets a URL that is too old by then.
        run = user.pulled(spec.repo_id, "-x", "2", "--json")
        assert_holds(user.cache / "models--org--one/snapshots" / spec.commit_id, spec)
        assert hub.file_bytes_sent() <= 1.1 * spec.head.total_size
        assert run.document["is_complete"]


def test_urls_that_expired_while_paused_are_asked_for_anew(tmp_path: Path) -> None:
    spec = one_file(size=8_000_000)
    with LoopbackHub(HubConfig(repos=(spec,), url_lifetime_seconds=1.0)) as hub:
        hub.prepare()
        hub.shape("cdn", LINE)
        user = user_of(hub, tmp_path / "home")
        running = user.start("pull", spec.repo_id)
        wait_until(lambda: after(hub, 3_000_000), running)
        for engine in running.engines():
            engine.suspend()
        os.kill(running.pid, signal.SIGSTOP)  # the laptop sleeps
        fresh = len(hub.requests(method="HEAD"))
        hub.faults.clear()
        started = hub.records[-1].time
        wait_until(lambda: time.time() > started + 2.2)
        for engine in running.engines():
            engine.resume()
        os.kill(running.pid, signal.SIGCONT)
        run = running.wait()
        assert run.code == 0, run.stderr
        assert_holds(run.path, spec)
        assert len(hub.requests(method="HEAD")) >= fresh
        assert hub.file_bytes_sent() <= 1.1 * spec.head.total_size
