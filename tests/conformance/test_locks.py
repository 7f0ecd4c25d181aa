"""Two writers of one blob: locks both sides know, and what wins when they are ignored."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from hfaria.cache.hub_cache import HubCache
from hfaria.rules.layout import RepoLayout
from hfaria.rules.listing import RemoteFile
from loopback_hub import Shape
from support.cli import wait_until
from support.repos import ENGINE_SIZE, one_file
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = [pytest.mark.conformance, pytest.mark.aria2]

SPEC = one_file()
FILE = SPEC.head.files[0]
FOLDER = "models--org--one"
WATCHED_SECONDS = 0.4

HOLD = """
import fcntl, os, sys
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o664)
fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another(lock: Path) -> Iterator[Callable[[], None]]:
    """Hold an flock in another process, as `hf download` does; yields what releases it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        yield holder.stdin.close
        if not holder.stdin.closed:
            holder.stdin.close()


def stays(is_true: Callable[[], bool]) -> bool:
    """Watch that something stays as it is for a while."""
    deadline = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < deadline:
        if not is_true():
            return False
        time.sleep(0.01)
    return True


def test_a_blob_that_another_holds_is_published_when_it_lets_go(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    lock = user.cache / ".locks" / FOLDER / f"{FILE.blob_name}.lock"
    blob = user.cache / FOLDER / "blobs" / FILE.blob_name
    with held_by_another(lock) as let_go:
        running = user.start("pull", SPEC.repo_id)
        wait_until(lambda: hub.file_bytes_sent() >= FILE.size, running)
        assert stays(lambda: not running.has_ended and not blob.exists())
        let_go()
        run = running.wait()
    assert run.code == 0, run.stderr
    assert_holds(run.path, SPEC)
    assert_clean(user.cache)


def test_the_blob_of_a_winner_is_kept(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    lock = user.cache / ".locks" / FOLDER / f"{FILE.blob_name}.lock"
    blob = user.cache / FOLDER / "blobs" / FILE.blob_name
    with held_by_another(lock) as let_go:
        running = user.start("pull", SPEC.repo_id)
        wait_until(lambda: hub.file_bytes_sent() >= FILE.size, running)
        blob.write_bytes(FILE.content.whole())
        inode = blob.stat().st_ino
        let_go()
        assert running.wait().code == 0
    assert blob.stat().st_ino == inode
    assert_clean(user.cache)


def test_a_lock_that_is_never_let_go_delays_but_does_not_stop(tmp_path: Path) -> None:
    content = FILE.content.whole()
    layout = RepoLayout(tmp_path, FOLDER)
    cache = HubCache(layout, lock_seconds=0.3)
    layout.blobs.mkdir(parents=True)
    staged = tmp_path / "staged"
    staged.write_bytes(content)
    file = RemoteFile(FILE.path, FILE.size, FILE.git_oid, FILE.content.sha256)
    with held_by_another(layout.blob_lock(FILE.blob_name)):
        started = time.monotonic()
        cache.publish(staged, [file], SPEC.commit_id, replace=False)
        waited = time.monotonic() - started
    assert waited >= 0.3
    assert layout.pointer(SPEC.commit_id, FILE.path).read_bytes() == content


def test_lock_files_are_those_of_hf(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    hub.put_repo(SPEC)
    user.pulled(SPEC.repo_id)
    snapshot_download(SPEC.repo_id, cache_dir=tmp_path, endpoint=hub.url("origin"), token=False)
    ours = {path.name for path in (user.cache / ".locks" / FOLDER).iterdir()}
    theirs = {path.name for path in (tmp_path / ".locks" / FOLDER).iterdir()}
    assert ours - {"hfaria-pull.lock"} == theirs


def test_hf_waits_for_us_and_takes_our_blob(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    hub.put_repo(SPEC)
    layout = RepoLayout(user.cache, FOLDER)
    layout.blobs.mkdir(parents=True)
    text = f"import huggingface_hub as h; print(h.snapshot_download('{SPEC.repo_id}'))"
    with held_by_another(layout.blob_lock(FILE.blob_name)) as let_go:
        reader = subprocess.Popen(
            [sys.executable, "-c", text],
            env=user.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: bool(hub.requests(kind="resolve")))
        layout.blob(FILE.blob_name).write_bytes(FILE.content.whole())
        inode = layout.blob(FILE.blob_name).stat().st_ino
        let_go()
        reader.communicate(timeout=30)
    assert reader.returncode == 0
    assert hub.file_bytes_sent() == 0
    assert layout.blob(FILE.blob_name).stat().st_ino == inode


def test_a_pull_and_hf_at_once_leave_one_right_cache(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    hub.shape("cdn", Shape(rate_total=8e6))
    text = f"import huggingface_hub as h; print(h.snapshot_download('{SPEC.repo_id}'))"
    running = user.start("pull", SPEC.repo_id)
    user.python(text)
    run = running.wait()
    assert run.code == 0, run.stderr
    assert_holds(run.path, SPEC)
    assert_clean(user.cache)


# --- huggingface_hub's shared store: blobs that are links out of the repo's folder ---------------


def put_into_shared_store(cache: Path, content: bytes) -> Path:
    """Lay out a blob as huggingface_hub 2.x does after a transfer by Xet; returns the store's."""
    xet_hash = "c" * 64
    store = cache / "blobs"
    (store / "cc").mkdir(parents=True)
    (store / ".huggingface-shared-blobs").write_text("1\n", encoding="utf-8")
    shared = store / "cc" / xet_hash
    shared.write_bytes(content)
    shared.chmod(0o444)
    blob = cache / FOLDER / "blobs" / FILE.blob_name
    blob.parent.mkdir(parents=True)
    (cache / FOLDER / "snapshots").mkdir()
    blob.symlink_to(f"../../blobs/cc/{xet_hash}")
    return shared


def assert_repo_is_clean(cache: Path) -> None:
    """Let the scanner look; before 1.32 it doesn't know the store, and says so of that alone."""
    warnings = [str(warning) for warning in scan_cache_dir(cache).warnings]
    assert [warning for warning in warnings if FOLDER in warning] == []


def test_a_blob_in_the_shared_store_counts_as_present(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    shared = put_into_shared_store(user.cache, FILE.content.whole())
    before = shared.stat()
    run = user.pulled(SPEC.repo_id)
    assert hub.file_bytes_sent() == 0
    assert_holds(run.path, SPEC)
    assert_repo_is_clean(user.cache)
    after = shared.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_mode,
    )


@pytest.mark.parametrize("arguments", [(), ("--force-download",)], ids=["damaged", "forced"])
def test_a_blob_in_the_shared_store_is_never_written_through(
    hub: LoopbackHub, user: User, arguments: tuple[str, ...]
) -> None:
    hub.put_repo(SPEC)
    wrong = b"x" * (ENGINE_SIZE if arguments else 10)
    shared = put_into_shared_store(user.cache, wrong)
    run = user.pulled(SPEC.repo_id, *arguments)
    assert_holds(run.path, SPEC)
    assert shared.read_bytes() == wrong
    assert not (user.cache / FOLDER / "blobs" / FILE.blob_name).is_symlink()


def test_a_dangling_link_to_the_shared_store_means_missing(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    put_into_shared_store(user.cache, b"").unlink()
    assert_holds(user.pulled(SPEC.repo_id).path, SPEC)
    assert_repo_is_clean(user.cache)


def test_content_of_the_shared_store_is_reused_by_another_repo(
    hub: LoopbackHub, user: User
) -> None:
    other = one_file("org/other")
    hub.put_repo(other)
    put_into_shared_store(user.cache, FILE.content.whole())
    assert_holds(user.pulled(other.repo_id).path, other)
    assert hub.file_bytes_sent() == 0
    assert FILE.size == ENGINE_SIZE
    blob = user.cache / "models--org--other" / "blobs" / FILE.blob_name
    assert not blob.is_symlink()
    assert blob.stat().st_size == FILE.size
