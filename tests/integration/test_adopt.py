"""`hfaria adopt` and `hfaria hfd`: what other tools fetched is not fetched again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hfaria.engine.binary import find_engine
from loopback_hub import LoopbackHub, Shape
from support.cli import refused, wait_until
from support.repos import ENGINE_SIZE, model, one_file
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import RepoSpec
    from support.cli import User

pytestmark = pytest.mark.aria2

MODEL = model()
LARGE = one_file(size=30_000_000)


@pytest.fixture(autouse=True)
def repos(hub: LoopbackHub) -> None:
    hub.put_repo(MODEL)
    hub.put_repo(LARGE)


def write(folder: Path, spec: RepoSpec, *, without: tuple[str, ...] = ()) -> Path:
    for file in spec.head.files:
        if file.path not in without:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).write_bytes(file.content.whole())
    return folder


def local_dir(user: User, *patterns: str) -> Path:
    """Fetch a folder with `hf`'s own code."""
    folder = user.home / "local"
    user.python(
        "from huggingface_hub import snapshot_download\n"
        f"snapshot_download('org/model', local_dir={str(folder)!r}, "
        f"allow_patterns={list(patterns) or None})"
    )
    return folder


def script_folder(user: User, spec: RepoSpec) -> Path:
    folder = user.home / "script"
    (folder / ".hfd").mkdir(parents=True)
    answer = {"id": spec.repo_id, "modelId": spec.repo_id, "sha": spec.commit_id}
    (folder / ".hfd/repo_metadata.json").write_text(json.dumps(answer), encoding="utf-8")
    lines = (f"{file.size}\t{file.path}\n" for file in spec.head.files)
    (folder / ".hfd/manifest").write_text("".join(lines), encoding="utf-8")
    return folder


def begin(hub: LoopbackHub, folder: Path) -> int:
    """Let an aria2c of the script's own begin the large file, and be interrupted."""
    engine = find_engine(None, search_path=os.environ["PATH"])
    hub.shape("cdn", Shape(rate_total=10e6))
    url = f"{hub.url('origin')}/{LARGE.repo_id}/resolve/main/model.safetensors"
    options = ["--quiet", "--file-allocation=none", "-x4", "-s4", "-k1M", "--auto-save-interval=1"]
    process = subprocess.Popen(
        [str(engine.path), *options, "-d", str(folder), "-o", "model.safetensors", url]
    )
    wait_until(lambda: hub.file_bytes_sent() > 15_000_000)
    process.terminate()
    process.wait()
    hub.shape("cdn", Shape())
    sent = hub.file_bytes_sent()
    hub.reset_records()
    assert (folder / "model.safetensors.aria2").is_file()
    return sent


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def assert_adopted(user: User, spec: RepoSpec = MODEL) -> Path:
    repo = user.cache / f"models--{spec.repo_id.replace('/', '--')}"
    assert_holds(repo / "snapshots" / spec.commit_id, spec)
    assert (repo / "refs/main").read_text(encoding="utf-8") == spec.commit_id
    assert_clean(user.cache)
    assert user.run("verify", "--full").code == 0
    return repo


def test_a_local_dir_is_linked_without_a_byte(hub: LoopbackHub, user: User) -> None:
    folder = local_dir(user)
    hub.reset_records()
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id)
    assert run.code == 0, run.stderr
    assert hub.file_bytes_sent() == 0
    assert "6 of 6 files found there" in run.stderr
    repo = assert_adopted(user)
    assert inodes(repo / "blobs") <= inodes(folder)
    assert_holds(folder, MODEL)


def test_what_was_wanted_there_is_fetched_and_no_more(hub: LoopbackHub, user: User) -> None:
    folder = local_dir(user, "*.json", "vocab.txt", "model.safetensors")
    (folder / "vocab.txt").unlink()
    hub.reset_records()
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--json")
    assert run.code == 0, run.stderr
    (document,) = run.document["folders"]
    assert document["files"] == 3
    assert document["files_found"] == 2
    assert hub.file_bytes_sent() == document["bytes_fetched"] == 4
    assert user.run("verify").code == 0
    everything = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--all", "-q")
    assert everything.stdout.strip().endswith(MODEL.commit_id)
    assert_adopted(user)


def test_moved_files_leave_the_folder(hub: LoopbackHub, user: User) -> None:
    folder = local_dir(user)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    hub.reset_records()
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--move")
    assert run.code == 0, run.stderr
    assert "6 moved away" in run.stderr
    assert_adopted(user)
    assert {path.name for path in folder.iterdir()} == {".cache", "notes.txt"}


@pytest.mark.parametrize("symlinks", ["", "1"], ids=["symlinks", "no symlinks"])
def test_copies_are_files_of_their_own(hub: LoopbackHub, user: User, symlinks: str) -> None:
    user = user.having(HF_HUB_DISABLE_SYMLINKS=symlinks)
    folder = write(user.home / "plain", MODEL)
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--copy")
    assert run.code == 0, run.stderr
    repo = assert_adopted(user)
    assert inodes(repo).isdisjoint(inodes(folder))
    assert hub.file_bytes_sent() == 0


def test_wrong_bytes_are_not_adopted(hub: LoopbackHub, user: User) -> None:
    folder = write(user.home / "plain", MODEL)
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"oops")
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--move")
    assert run.code == 0, run.stderr
    assert ENGINE_SIZE <= hub.file_bytes_sent() < 1.6 * ENGINE_SIZE
    assert_adopted(user)
    assert (folder / "model.safetensors").read_bytes().startswith(b"oops")


def test_renamed_files_are_recognised(hub: LoopbackHub, user: User) -> None:
    folder = write(user.home / "plain", MODEL)
    (folder / "model.safetensors").rename(folder / "renamed.bin")
    assert user.run("adopt", str(folder), "--repo", MODEL.repo_id).code == 0
    assert hub.file_bytes_sent() == 0
    assert_adopted(user)


def test_a_folder_of_the_script_tells_its_repo_and_its_partial_goes_on(
    hub: LoopbackHub, user: User
) -> None:
    folder = script_folder(user, LARGE)
    sent = begin(hub, folder)
    run = user.run("adopt", str(folder))
    assert run.code == 0, run.stderr
    assert sent + hub.file_bytes_sent() <= 1.15 * LARGE.head.total_size
    assert_adopted(user, LARGE)
    assert [path.name for path in folder.iterdir()] == [".hfd"]


def test_the_scripts_options_go_on_with_the_scripts_folder(hub: LoopbackHub, user: User) -> None:
    folder = script_folder(user, LARGE)
    sent = begin(hub, folder)
    options = [
        "--include",
        "*.safetensors",
        "*.json",
        "--exclude",
        "onnx",
        "-x",
        "4",
        "-j",
        "5",
        "--tool",
        "aria2c",
    ]
    run = user.run("hfd", LARGE.repo_id, "--local-dir", str(folder), *options)
    assert run.code == 0, run.stderr
    assert sent + hub.file_bytes_sent() <= 1.15 * LARGE.head.total_size
    assert (folder / "model.safetensors").stat().st_size == 30_000_000
    assert not (folder / "model.safetensors.aria2").exists()
    hub.reset_records()
    assert user.run("hfd", LARGE.repo_id, "--local-dir", str(folder)).code == 0
    assert hub.file_bytes_sent() == 0


def test_the_scripts_options_can_fill_the_cache(user: User) -> None:
    assert user.run("hfd", MODEL.repo_id, "--to-cache", "--hf_username", "me").code == 0
    assert_adopted(user)
    wrong = user.run("hfd", MODEL.repo_id, "--to-cache", "--local-dir", "x")
    assert "can't be used together" in refused(wrong, 2)


def test_a_git_clone_tells_its_repo_and_its_objects_are_used(hub: LoopbackHub, user: User) -> None:
    folder = write(user.home / "clone", MODEL)
    git = folder / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    (git / "refs/heads/main").write_text(f"{MODEL.commit_id}\n", encoding="utf-8")
    remote = f'[remote "origin"]\n\turl = https://huggingface.co/{MODEL.repo_id}\n'
    (git / "config").write_text(remote, encoding="utf-8")
    (name,) = (f.blob_name for f in MODEL.head.files if f.path == "model.safetensors")
    objects = git / "lfs/objects" / name[:2] / name[2:4]
    objects.mkdir(parents=True)
    shutil.move(folder / "model.safetensors", objects / name)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize 5000000\n"
    (folder / "model.safetensors").write_text(pointer, encoding="utf-8")
    run = user.run("adopt", str(folder), "--move")
    assert run.code == 0, run.stderr
    assert hub.file_bytes_sent() == 0
    assert_adopted(user)
    assert (objects / name).is_file()
    assert not (folder / "config.json").exists()


def test_an_adoption_that_was_killed_goes_on(hub: LoopbackHub, user: User) -> None:
    folder = write(user.home / "plain", MODEL, without=("model.safetensors",))
    hub.shape("cdn", Shape(rate_total=0.5e6))
    running = user.start("adopt", str(folder), "--repo", MODEL.repo_id, "--all", "--move")
    wait_until(lambda: hub.file_bytes_sent() > 500_000, running)
    again = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--all", "--move")
    assert "another pull into" in refused(again, 7)
    running.kill()
    assert_clean(user.cache)
    assert (folder / "config.json").exists()
    hub.shape("cdn", Shape())
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--all", "--move")
    assert run.code == 0, run.stderr
    assert hub.file_bytes_sent() <= 1.4 * ENGINE_SIZE
    assert_adopted(user)
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_copied(user: User) -> None:
    folder = write(user.home / "plain", MODEL)
    small = user.having(HFARIA_RESERVE="900TB")
    run = small.run("adopt", str(folder), "--repo", MODEL.repo_id, "--copy")
    assert "not enough space" in refused(run, 7)
    assert small.run("adopt", str(folder), "--repo", MODEL.repo_id).code == 0


def test_a_dry_run_writes_nothing(user: User) -> None:
    folder = write(user.home / "plain", MODEL)
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id, "--dry-run")
    assert run.code == 0, run.stderr
    assert "0 of 6 files to fetch" in run.stdout
    assert not user.cache.exists()


def test_a_folder_that_can_not_be_adopted_is_refused(user: User) -> None:
    folder = user.home / "plain"
    assert "is not a folder" in refused(user.run("adopt", str(folder)), 2)
    folder.mkdir()
    run = user.run("adopt", str(folder))
    assert "doesn't tell its repo" in refused(run, 2)
    assert "--repo" in run.hint
    run = user.run("adopt", str(folder), "--repo", MODEL.repo_id)
    assert "nothing in" in refused(run, 2)
    assert "names the repo of one folder" in refused(
        user.run("adopt", "a", "b", "--repo", MODEL.repo_id), 2
    )


def test_the_clock_of_a_file_tells_who_wrote_through_a_link(hub: LoopbackHub, user: User) -> None:
    folder = write(user.home / "plain", MODEL)
    assert user.run("adopt", str(folder), "--repo", MODEL.repo_id).code == 0
    (folder / "vocab.txt").write_text(f"{time.time():.0f}", encoding="utf-8")
    assert user.run("verify").code == 4
    hub.reset_records()
    assert user.run("repair").code == 0
    assert_adopted(user)
    assert (folder / "vocab.txt").read_text(encoding="utf-8").isdigit()
