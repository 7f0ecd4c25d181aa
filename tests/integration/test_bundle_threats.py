"""A hostile stick: nothing outside the cache, no hang, little time and memory, a clear refusal."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.importing import IMPORTER, bring, brought, code_of, run
from support.sticks import (
    COMMIT,
    MODEL_FILES,
    OLD_COMMIT,
    Revision,
    Set,
    Stick,
    git_sha1_of,
    model_set,
    noise,
    one_stick,
    renamed,
    sha256_of,
    spelled,
)
from support.trees import assert_clean, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REPO = "models--org--model"
MOST_SECONDS = 1.0
MOST_BYTES = 200 << 20


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that must stay as it is, but for the stick and the cache in it."""
    outside = tmp_path / "world"
    (outside / "etc").mkdir(parents=True)
    (outside / "etc" / "passwd").write_text("root")
    monkeypatch.chdir(outside)
    return outside


# A process counts the memory of the one that forked it, so a small one does.
MEASURED = """
import os, resource, subprocess, sys
ended = subprocess.run(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
sys.exit(ended.returncode)
"""


def attacked(bag: Path, world: Path, *options: str) -> tuple[int, str]:
    """Import a hostile stick; return exit code and errors.

    CPU time is what is bounded, so that a busy machine does not fail the test.
    """
    cache = world / "hub"
    before = tree_of(world, without=("hub", "hfaria-receipts"))
    links = {path for path in cache.rglob("*") if path.is_symlink()}
    words = ["import", "--json", str(bag), "--cache", str(cache), "--reserve", "0", *options]
    command = [sys.executable, "-I", "-S", str(IMPORTER), *words]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", MEASURED, *command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=bag.parent,  # what is written for the way back falls there
    )
    memory, seconds = ended.stdout.splitlines()[-1].split()
    assert "Traceback" not in ended.stderr
    assert tree_of(world, without=("hub", "hfaria-receipts")) == before
    for link in {path for path in cache.rglob("*") if path.is_symlink()} - links:
        assert os.readlink(link).startswith("../../")  # noqa: PTH115
    assert int(memory) * 1024 < MOST_BYTES
    assert float(seconds) < MOST_SECONDS
    return ended.returncode, ended.stderr


def bag_of(
    root: Path, alter: Callable[[dict[str, Any]], None], contents: Set | None = None
) -> Path:
    """Write a stick whose bundle.json was altered before its id was made."""
    contents = contents or model_set()
    document = copy.deepcopy(contents.document())
    alter(document)
    stick = Stick(1, 1)
    for content in contents.contents().values():
        stick.put(content, contents.piece_size)
    return stick.write(root, renamed(document))


def files_of(document: dict[str, Any]) -> list[list[Any]]:
    files: list[list[Any]] = document["repos"][0]["revisions"][COMMIT]["files"]
    return files


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "/etc/passwd", "a/../../../../x", "C:evil", "..\\x", "a\0b"]
)
def test_a_path_that_climbs_refuses_the_whole_bundle(
    tmp_path: Path, world: Path, path: str
) -> None:
    def alter(document: dict[str, Any]) -> None:
        files_of(document)[0][0] = path
        files_of(document).sort()

    code, error = attacked(bag_of(tmp_path, alter), world)
    assert (code, "E-PATH" in error) == (2, True)
    assert not (world / "hub").exists()


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "a/../../b", "x.lock", "._main", "/x"])
def test_a_ref_that_climbs_refuses_the_whole_bundle(tmp_path: Path, world: Path, name: str) -> None:
    def alter(document: dict[str, Any]) -> None:
        document["repos"][0]["refs"] = {name: COMMIT}

    code, error = attacked(bag_of(tmp_path, alter), world)
    assert (code, "E-PATH" in error) == (2, True)


@pytest.mark.parametrize("repo_id", ["../..", "a/../b", "..--x/y", "/etc", "x/y/z"])
def test_a_repo_id_that_climbs_refuses_the_whole_bundle(
    tmp_path: Path, world: Path, repo_id: str
) -> None:
    def alter(document: dict[str, Any]) -> None:
        document["repos"][0]["id"] = repo_id

    assert attacked(bag_of(tmp_path, alter), world)[0] == 2


def test_names_that_only_trick_the_eye_are_kept_and_shown_as_escapes(
    tmp_path: Path, world: Path
) -> None:
    names = {
        "invoice\u202egnp.safetensors": b"1",
        "CON": b"2",
        "aux.txt": b"3",
        "a.": b"4",
        "b ": b"",
    }
    contents = Set({"model:org/model": (Revision(names),)})
    bag = one_stick(tmp_path, contents)
    shown = run("inspect", bag, "--files").stdout
    assert "\\u202e" in shown
    assert shown.isascii()
    assert attacked(bag, world)[0] == 0
    assert {path.name for path in (world / "hub" / REPO / "snapshots" / COMMIT).iterdir()} == set(
        names
    )


# --- what lies on the stick ----------------------------------------------------------------------


def replace_with(kind: str, path: Path, target: Path) -> None:
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(path.parent)
            server.bind(path.name)
    else:
        path.symlink_to(target if kind == "link" else target.parent)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "folder link", "socket"])
@pytest.mark.parametrize("name", ["bundle.json", "stick.json", "bundle.json.sig", "content"])
def test_what_is_no_plain_file_is_not_followed_and_not_waited_for(
    tmp_path: Path, world: Path, kind: str, name: str
) -> None:
    bag = one_stick(tmp_path, model_set())
    secret = world / "etc" / "passwd"
    (bag / "bundle.json.sig").write_bytes(b"x")
    path = bag / name
    if name == "content":
        path = max((path for path in bag.rglob("*.o*")), key=lambda path: path.stat().st_size)
        secret = tmp_path / "twin"  # even the right bytes are not read through a link
        secret.write_bytes(path.read_bytes())
    replace_with(kind, path, secret)
    if name != "bundle.json.sig":
        (bag / "bundle.json.sig").unlink()
    os.chdir(world)
    code, error = attacked(bag, world)
    assert (code, "E-LINK" in error) == (2, True)


def test_a_linked_folder_on_the_stick_is_not_followed(tmp_path: Path, world: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    (bag / "data").rename(tmp_path / "elsewhere")
    (bag / "data").symlink_to(tmp_path / "elsewhere")
    code, error = attacked(bag, world)
    assert (code, "E-LINK" in error) == (2, True)


def test_a_file_larger_than_it_says_is_read_no_further(tmp_path: Path, world: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    for path in bag.rglob("*.o*"):
        os.truncate(path, 1 << 40)
    code, _ = attacked(bag, world)
    assert code == 0
    assert sum(path.stat().st_size for path in (world / "hub").rglob("*") if path.is_file()) < 10**7


def test_a_file_shorter_than_it_says_is_a_bad_piece(tmp_path: Path, world: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    path = max(bag.rglob("*.o*"), key=lambda path: path.stat().st_size)
    os.truncate(path, 1000)
    code, error = attacked(bag, world)
    assert (code, "E-PIECE" in error) == (4, True)


def test_files_that_no_list_names_are_reported_and_not_touched(tmp_path: Path, world: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    (bag / "autorun.inf").write_text("[autorun]\nopen=evil.exe")
    (bag / "data" / "hub").mkdir()
    os.mkfifo(bag / "data" / "hub" / "pipe")
    (bag / "link").symlink_to("/etc")
    ended = run("verify", bag, "--json")
    assert (ended.code, code_of(ended)) == (4, "E-EXTRA")
    assert ended.document["extra"] == ["autorun.inf", "data/hub/pipe", "link"]
    assert "3 EXTRA" in run("inspect", bag).stdout
    assert attacked(bag, world)[0] == 0


# --- documents -----------------------------------------------------------------------------------

BOMBS: dict[str, Callable[[], bytes]] = {
    "deep": lambda: b"[" * 30_000_000,
    "deep and closed": lambda: b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "dense": lambda: b"[" + b"[]," * 15_000_000 + b"[]]",
    "number": lambda: b'{"a":' + b"9" * 10_000_000 + b"}",
    "float": lambda: b'{"a":1e999}',
    "twice": lambda: b'{"format":"hfaria-bundle/1","format":"hfaria-bundle/1"}',
    "text": lambda: b'{"format":"' + b"x" * 60_000_000 + b'"}',
    "rubbish": lambda: noise(1_000_000),
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("name", ["bundle.json", "stick.json"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_json_bomb_does_not_go_off(tmp_path: Path, world: Path, name: str, bomb: str) -> None:
    bag = one_stick(tmp_path, model_set())
    (bag / name).write_bytes(BOMBS[bomb]())
    code, error = attacked(bag, world)
    assert (code, "E-FORMAT" in error) == (2, True)


@pytest.mark.parametrize("name", ["bundle.json", "stick.json", "bundle.json.sig"])
def test_a_huge_document_is_not_read(tmp_path: Path, world: Path, name: str) -> None:
    bag = one_stick(tmp_path, model_set())
    (bag / name).touch()
    os.truncate(bag / name, 1 << 40)
    code, error = attacked(bag, world)
    assert (code, "is larger than" in error) == (2, True)


# --- lies about contents -------------------------------------------------------------------------


def test_bytes_under_another_files_git_id_are_not_published(tmp_path: Path, world: Path) -> None:
    other = git_sha1_of(b"the true content")

    def alter(document: dict[str, Any]) -> None:
        row = files_of(document)[0]
        row[1] = other
        document["objects"][row[2]]["git_sha1"] = other

    code, error = attacked(bag_of(tmp_path, alter), world)
    assert (code, "E-ETAG" in error) == (4, True)
    assert not (world / "hub" / REPO / "blobs" / other).exists()


def test_an_lfs_name_must_be_the_contents_own(tmp_path: Path, world: Path) -> None:
    def alter(document: dict[str, Any]) -> None:
        files_of(document)[2][1] = "0" * 64

    assert attacked(bag_of(tmp_path, alter), world)[0] == 2


def test_pieces_that_agree_with_a_lying_stick_json_are_not_published(
    tmp_path: Path, world: Path
) -> None:
    contents, wrong = model_set(), noise(1_500_000, 99)
    path = "model-00002-of-00002.safetensors"
    true = sha256_of(MODEL_FILES[path])
    stick = Stick(1, 1)
    for content in contents.contents().values():
        stick.put(content if sha256_of(content) != true else wrong, contents.piece_size)
    for held in stick.ranges:
        if held["sha256"] == sha256_of(wrong):
            held["sha256"] = true
            moved = f"data/pool/{true[:2]}/{true}.o000000000000"
            stick.files[moved] = stick.files.pop(held["path"])
            held["path"] = moved
    bag = stick.write(tmp_path, contents.document())
    code, error = attacked(bag, world)
    assert (code, "E-PIECE" in error) == (4, True)
    assert not (world / "hub" / REPO / "blobs" / true).exists()
    assert list((world / "hub" / REPO / "snapshots").iterdir()) == []


# --- links planted in the cache ------------------------------------------------------------------

PLANTED = [
    REPO,
    f"{REPO}/blobs",
    f"{REPO}/snapshots",
    f"{REPO}/snapshots/{COMMIT}",
    f"{REPO}/snapshots/{COMMIT}/sub dir",
    f"{REPO}/refs",
    f"{REPO}/refs/main",
    f"{REPO}/trees",
    f"{REPO}/.hfaria-import",
    ".locks",
    f".locks/{REPO}",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_nothing_is_written_through_a_link_in_the_cache(
    tmp_path: Path, world: Path, planted: str
) -> None:
    place = world / "hub" / planted
    place.parent.mkdir(parents=True)
    place.symlink_to(world / "etc")
    code, error = attacked(one_stick(tmp_path, model_set()), world)
    assert (code, "E-LINK" in error) == (7, True), error


def test_a_blob_that_links_out_of_the_cache_is_refused(tmp_path: Path, world: Path) -> None:
    weights = MODEL_FILES["model-00002-of-00002.safetensors"]
    (tmp_path / "twin").write_bytes(weights)
    blobs = world / "hub" / REPO / "blobs"
    blobs.mkdir(parents=True)
    (blobs / sha256_of(weights)).symlink_to(tmp_path / "twin")
    code, error = attacked(one_stick(tmp_path, model_set()), world)
    assert (code, "E-LINK" in error) == (7, True)


def test_a_blob_in_huggingface_hubs_shared_store_counts_as_there(
    tmp_path: Path, world: Path
) -> None:
    weights = MODEL_FILES["model-00002-of-00002.safetensors"]
    shared = world / "hub" / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    shared.write_bytes(weights)
    (world / "hub" / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
    blob = world / "hub" / REPO / "blobs" / sha256_of(weights)
    blob.parent.mkdir(parents=True)
    blob.symlink_to(f"../../blobs/ab/{'ab' * 32}")
    assert attacked(one_stick(tmp_path, model_set()), world)[0] == 0
    assert blob.is_symlink()
    assert_clean(world / "hub")


def test_what_another_bundle_staged_for_a_commit_is_not_used(tmp_path: Path, world: Path) -> None:
    repo = world / "hub" / REPO
    evil = repo / "blobs" / sha256_of(b"evil")
    staged = repo / ".hfaria-import" / COMMIT
    staged.mkdir(parents=True)
    evil.parent.mkdir()
    evil.write_bytes(b"evil")
    staged.parent.chmod(0o700)
    (staged / "config.json").symlink_to(f"../../blobs/{evil.name}")
    (staged / "extra.py").symlink_to(f"../../blobs/{evil.name}")
    assert attacked(one_stick(tmp_path, model_set()), world)[0] == 0
    snapshot = repo / "snapshots" / COMMIT
    assert (snapshot / "config.json").read_bytes() == MODEL_FILES["config.json"]
    assert not (snapshot / "extra.py").exists()


def test_a_staging_folder_that_others_may_write_to_is_refused(tmp_path: Path, world: Path) -> None:
    staging = world / "hub" / REPO / ".hfaria-import"
    staging.mkdir(parents=True)
    staging.chmod(0o777)
    code, error = attacked(one_stick(tmp_path, model_set()), world)
    assert (code, "E-CACHE" in error) == (7, True)


# --- trust ---------------------------------------------------------------------------------------


def signed(bag: Path, key: Path) -> None:
    if not key.exists():
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
        subprocess.run(make, check=True)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "hfaria-bundle", "-f", str(key)]
    (bag / "bundle.json.sig").unlink(missing_ok=True)
    subprocess.run([*command, str(bag / "bundle.json")], check=True, capture_output=True)


def test_signatures_decide_as_the_operator_says(tmp_path: Path, world: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    signed(bag, theirs)
    signed(bag, ours)
    trust = ("--trust", f"{ours}.pub")
    cases: list[tuple[tuple[str, ...], int, str]] = [
        ((), 0, "WRONG_KEY  claims to be of"),
        (("--require-signature",), 2, "E-TRUST"),
        (("--trust", f"{theirs}.pub"), 8, "E-KEY"),
        ((*trust, "--require-signature"), 0, "signature VALID"),
    ]
    for options, code, said in cases:
        ended, error = attacked(bag, world, *options)
        assert (options, ended, said in error) == (options, code, True)
    (bag / "bundle.json.sig").unlink()
    for options, code, said in [
        (trust, 0, "signature UNSIGNED"),
        ((*trust, "--require-signature"), 8, "E-UNSIGNED"),
    ]:
        ended, error = attacked(bag, world, *options)
        assert (options, ended, said in error) == (options, code, True)


def test_a_signed_bundle_that_was_altered_is_refused(tmp_path: Path, world: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    signed(bag, tmp_path / "key")
    document = json.loads((bag / "bundle.json").read_bytes())
    document["created"] = "2027-01-01T00:00:00Z"
    stick = json.loads((bag / "stick.json").read_bytes())
    stick["bundle_sha256"] = sha256_of(spelled(document))
    (bag / "bundle.json").write_bytes(spelled(document))
    (bag / "stick.json").write_bytes(spelled(stick))
    code, error = attacked(bag, world)
    assert (code, "E-SIGNATURE" in error) == (8, True)
    assert not (world / "hub").exists()


def test_a_key_on_the_stick_vouches_for_nothing(tmp_path: Path, world: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    signed(bag, tmp_path / "key")
    (bag / "trusted.pub").write_bytes((tmp_path / "key.pub").read_bytes())
    (bag / "allowed_signers").write_bytes((tmp_path / "key.pub").read_bytes())
    _, error = attacked(bag, world)
    assert "VALID" not in error
    assert "which nobody here vouches for" in error


# --- old and dangerous bundles -------------------------------------------------------------------


def month(created: str, commit: str) -> Set:
    files = {"config.json": f'"{created}"'.encode()}
    return Set({"model:org/model": (Revision(files, commit=commit),)}, created=created)


def test_an_old_set_does_not_bring_an_old_ref_back(tmp_path: Path, world: Path) -> None:
    old = one_stick(tmp_path / "1", month("2026-10-01T00:00:00Z", OLD_COMMIT))
    new = one_stick(tmp_path / "2", month("2026-11-01T00:00:00Z", COMMIT))
    trust = ("--trust", f"{tmp_path / 'key'}.pub")
    for bag in (old, new):
        signed(bag, tmp_path / "key")
    cache = world / "hub"
    ref = cache / REPO / "refs" / "main"
    brought(old, cache=cache, options=trust)
    assert ref.read_text() == OLD_COMMIT
    brought(new, cache=cache, options=trust)
    assert ref.read_text() == COMMIT  # a valid signature moves it forwards
    ended = brought(old, cache=cache, options=trust)
    assert ref.read_text() == COMMIT  # but not back
    assert "E-REF" in ended.stderr
    refused = bring(old, cache=cache, options=("--not-before", "2026-10-15"))
    assert (refused.code, code_of(refused)) == (8, "E-OLD")


def test_an_unsigned_set_does_not_move_a_ref(tmp_path: Path, world: Path) -> None:
    cache = world / "hub"
    brought(one_stick(tmp_path / "1", month("2026-10-01T00:00:00Z", OLD_COMMIT)), cache=cache)
    brought(one_stick(tmp_path / "2", month("2026-11-01T00:00:00Z", COMMIT)), cache=cache)
    assert (cache / REPO / "refs" / "main").read_text() == OLD_COMMIT


def test_safe_only_refuses_pickles_and_programs(tmp_path: Path, world: Path) -> None:
    files = {"config.json": b"{}", "pytorch_model.bin": b"pickle", "modeling.py": b"import os"}
    bag = one_stick(tmp_path, Set({"model:org/model": (Revision(files),)}))
    assert "2 files can run code when loaded (.bin, .py)" in run("inspect", bag).stdout
    code, error = attacked(bag, world, "--safe-only")
    assert (code, "E-UNSAFE" in error) == (8, True)
    assert not (world / "hub").exists()
