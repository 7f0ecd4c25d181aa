from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from hfaria.rules.document import KeyFault
from hfaria.rules.listing_changes import compare_files
from hfaria.rules.listing_digest import digest_of_files, digest_of_set
from hfaria.rules.lock import (
    LOCK_VERSION,
    Lock,
    LockedRepo,
    LockViolated,
    make_lock,
    read_lock,
    serialize,
)
from hfaria.rules.manifest import WantedRepo
from hfaria.rules.spec import RepoSpec, RepoType
from unit.builders import COMMIT, git_file, lfs_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = (git_file("a b.txt"), lfs_file("w.bin"))
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def locked(repo_id: str = "org/model", **changes: object) -> LockedRepo:
    repo = LockedRepo(
        RepoSpec(repo_id),
        COMMIT,
        digest_of_files(FILES),
        files=2,
        size=5002,
        endpoint="https://huggingface.co",
        locked_at=NOW,
    )
    return replace(repo, **changes)  # type: ignore[arg-type]


# --- digests -------------------------------------------------------------------------------------


def test_the_digest_is_what_the_reference_says_it_is() -> None:
    oid, sha = FILES[0].git_oid, FILES[1].sha256
    text = f"{oid} 2 a b.txt\0{sha} 5000 w.bin\0"
    assert digest_of_files(FILES) == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_digest_does_not_depend_on_the_order_of_the_files() -> None:
    assert digest_of_files(reversed(FILES)) == digest_of_files(FILES)


@pytest.mark.parametrize(
    "other",
    [
        (FILES[0],),
        (*FILES, git_file("more")),
        (git_file("a b.txt", b"[]"), FILES[1]),
        (git_file("renamed"), FILES[1]),
        (FILES[0], lfs_file("w.bin", size=5001)),
    ],
    ids=["less", "more", "other content", "other name", "other size"],
)
def test_every_difference_makes_another_digest(other: tuple[object, ...]) -> None:
    assert digest_of_files(other) != digest_of_files(FILES)  # type: ignore[arg-type]


def test_the_digest_of_a_set_is_what_the_reference_says_it_is() -> None:
    digest = digest_of_files(FILES)
    text = f"datasets/org/d {COMMIT} {digest}\nmodels/org/m {COMMIT} {digest}\n"
    repos = [
        (RepoSpec("org/m"), COMMIT, digest),
        (RepoSpec("org/d", RepoType.DATASET), COMMIT, digest),
        (RepoSpec("org/m", revision="v1"), COMMIT, digest),
    ]
    assert digest_of_set(repos) == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


# --- the file ------------------------------------------------------------------------------------


def test_a_lock_reads_as_it_was_written() -> None:
    lock = make_lock(
        [
            locked("org/b", include=('"*".json', "ä\x7f\\"), exclude=("x",), variant="Q4_K_M"),
            locked("org/a"),
        ]
    )
    assert read_lock(tomllib.loads(serialize(lock))) == lock


def test_the_text_does_not_depend_on_the_order_of_the_repos() -> None:
    one, two = locked("org/a"), locked("org/b")
    assert serialize(make_lock([one, two])) == serialize(make_lock([two, one]))


def test_a_repo_that_moves_changes_its_own_lines_alone() -> None:
    before = serialize(make_lock([locked("org/a"), locked("org/b")])).splitlines()
    moved = locked("org/b", commit_hash="f" * 40, locked_at=NOW + timedelta(days=1))
    after = serialize(make_lock([locked("org/a"), moved])).splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split(" ")[0] for line in changed] == ["commit", "locked_at"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"version": 2}, ("version",)),
        ({"version": None}, ()),
        ({"commit": "main"}, ("repo", 0, "commit")),
        ({"digest": "md5:1"}, ("repo", 0, "digest")),
        ({"files": -1}, ("repo", 0, "files")),
        ({"files": None}, ("repo", 0)),
        ({"id": "a b"}, ("repo", 0)),
        ({"type": "modell"}, ("repo", 0)),
        ({"locked_at": "today"}, ("repo", 0, "locked_at")),
        ({"comit": "x"}, ("repo", 0, "comit")),
    ],
)
def test_a_fault_of_a_lock_names_its_key(
    changes: dict[str, object], path: tuple[str | int, ...]
) -> None:
    document = tomllib.loads(serialize(make_lock([locked()])))
    for key, value in changes.items():
        table = document if key == "version" else document["repo"][0]
        table[key] = value
        if value is None:
            del table[key]
    with pytest.raises(KeyFault) as caught:
        read_lock(document)
    assert caught.value.path == path


def test_an_empty_lock_has_a_version() -> None:
    assert tomllib.loads(serialize(Lock())) == {"version": LOCK_VERSION}


# --- what it holds to ----------------------------------------------------------------------------


def test_a_listing_that_is_the_locked_one_passes() -> None:
    locked().check(tuple(reversed(FILES)), listed_by="mirror")


def test_another_listing_is_refused_with_who_gave_it() -> None:
    with pytest.raises(LockViolated, match=r"mirror lists other files of `org/model`") as caught:
        locked().check(FILES[:1], listed_by="mirror")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ((WantedRepo(RepoSpec("org/model")),), ()),
        ((WantedRepo(RepoSpec("org/model"), priority=9, groups=("x",)),), ()),
        ((WantedRepo(RepoSpec("org/model"), include=("*",)),), ("was locked with other",)),
        ((WantedRepo(RepoSpec("org/model"), variant="fp16"),), ("was locked with other",)),
        (
            (WantedRepo(RepoSpec("org/model", revision="v2")),),
            ("`v2` is not locked", "is locked, not wanted"),
        ),
        ((), ("is locked, not wanted",)),
    ],
)
def test_the_lock_tells_where_the_manifest_disagrees(
    wanted: tuple[WantedRepo, ...], said: tuple[str, ...]
) -> None:
    lines = make_lock([locked()]).disagreements(wanted)
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))


# --- changes -------------------------------------------------------------------------------------


def test_changes_are_told_by_path_and_content() -> None:
    before = (git_file("gone"), git_file("kept"), git_file("other", b"1"))
    after = (git_file("kept"), git_file("new"), git_file("other", b"2"))
    changes = compare_files(before, after)
    assert [file.path for file in changes.added] == ["new"]
    assert [file.path for file in changes.removed] == ["gone"]
    assert [old.path for old, _ in changes.altered] == ["other"]
    assert compare_files(before, before).is_empty
