"""Whenever a pull is killed, the cache scans clean, shows no wrong byte, and is completed later."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from loopback_hub import Generated, Shape, repo
from support.repos import ENGINE_SIZE
from support.trees import assert_clean, assert_holds, assert_nothing_left, visible_files

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import LoopbackHub, RepoSpec
    from support.cli import User

pytestmark = [pytest.mark.conformance, pytest.mark.aria2]

SPEC = repo(
    "org/model",
    {"config.json": b"{}"},
    {
        "model-1.safetensors": Generated(5, ENGINE_SIZE),
        "model-2.safetensors": Generated(6, ENGINE_SIZE),
        **{f"part/{n}.txt": Generated(100 + n, 3000 * n) for n in range(30)},
    },
)
KILLS = 6


def assert_honest(cache: Path, spec: RepoSpec) -> None:
    """Check that nothing visible is wrong, and that an unfinished snapshot says so."""
    assert_clean(cache)
    right = {file.path: file.content.whole() for file in spec.head.files}
    snapshot = cache / "models--org--model" / "snapshots" / spec.commit_id
    for path in visible_files(cache):
        if snapshot in path.parents:
            assert path.read_bytes() == right[str(path.relative_to(snapshot))]
    blobs = {file.blob_name: file.content for file in spec.head.files}
    for path in (cache / "models--org--model" / "blobs").glob("*"):
        assert path.read_bytes() == blobs[path.name].whole()
    try:
        found = snapshot_download("org/model", cache_dir=cache, local_files_only=True)
    except LocalEntryNotFoundError:
        return
    # What offline readers take for whole must be whole.
    assert {str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if p.is_file()} == set(right)
    assert found == str(snapshot)


@pytest.mark.parametrize("symlinks", ["", "1"], ids=["symlinks", "no symlinks"])
def test_a_pull_killed_at_random_moments_is_always_honest_and_completes(
    hub: LoopbackHub, user: User, symlinks: str
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    dice = random.Random(seed)
    user = user.having(HF_HUB_DISABLE_SYMLINKS=symlinks)
    hub.put_repo(SPEC)
    hub.shape("cdn", Shape(rate_total=5e6))
    hub.shape("origin", Shape(latency_seconds=0.02, rate_total=5e6))
    for _ in range(KILLS):
        running = user.start("pull", "org/model")
        deadline = time.monotonic() + dice.uniform(0.15, 1.2)
        while time.monotonic() < deadline and not running.has_ended:
            time.sleep(0.01)
        if dice.random() < 0.5:
            running.kill()
        else:
            running.send(9)  # the engine lives on for a moment, and must do no harm
            running.wait()
        if user.cache.exists():
            assert_honest(user.cache, SPEC)
    hub.shape("cdn", Shape())
    run = user.pulled("org/model")
    assert_holds(run.path, SPEC)
    assert_honest(user.cache, SPEC)
    assert_nothing_left(user.cache)


def test_a_ref_stays_on_the_old_commit_until_the_new_one_is_whole(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC.behind(1))
    old = user.pulled("org/model").path
    hub.put_repo(SPEC)
    hub.shape("cdn", Shape(rate_total=5e6))
    running = user.start("pull", "org/model")
    new = old.with_name(SPEC.commit_id)
    while not any(new.glob("part/*")):
        assert not running.has_ended
        time.sleep(0.005)
    assert snapshot_download("org/model", cache_dir=user.cache, local_files_only=True) == str(old)
    running.kill()
    assert snapshot_download("org/model", cache_dir=user.cache, local_files_only=True) == str(old)
    assert_clean(user.cache)
    assert user.pulled("org/model").path == new
    assert snapshot_download("org/model", cache_dir=user.cache, local_files_only=True) == str(new)


def test_a_kill_while_the_filesystem_is_tried_out_leaves_nothing_that_is_scanned(
    tmp_path: Path,
) -> None:
    (tmp_path / ".locks").mkdir()
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from hfaria.cache.filesystem import has_symlinks\n"
        "def kill(event, arguments):\n"
        "    if event == 'os.remove' and '.hfaria-' in str(arguments[0]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(kill)\n"
        "has_symlinks(Path(sys.argv[1]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob(".hfaria-*"))) == 1
    assert_clean(tmp_path)
