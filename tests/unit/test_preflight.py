from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.rules.plan import Plan, View, make_plan
from hfaria.rules.preflight import (
    LARGEST_OVER_HTTP,
    Filesystem,
    bytes_needed,
    device_name,
    find_problems,
    joint_bytes_needed,
    joint_bytes_to_fetch,
    space_problem,
)
from hfaria.rules.spec import RepoSpec
from unit.builders import COMMIT, git_file, lfs_file

if TYPE_CHECKING:
    from hfaria.rules.listing import RemoteFile

EXT4 = Filesystem(free_bytes=10**12, kind="ext4")
EXFAT = Filesystem(
    free_bytes=10**12, kind="exfat", has_windows_names=True, ignores_case=True, has_symlinks=False
)


def plan(*files: RemoteFile, view: View | None = None) -> Plan:
    return make_plan(RepoSpec("a/b"), COMMIT, files, view or View(), ref=None)


def problems(*files: RemoteFile, on: Filesystem, reserve: int = 0) -> tuple[str, ...]:
    return find_problems(plan(*files), on, reserve=reserve, folder="cache_hub")


def test_all_is_well() -> None:
    assert problems(git_file("a"), lfs_file("b/c"), on=EXT4, reserve=10**9) == ()


def test_space_is_needed_for_the_files_and_the_reserve() -> None:
    tight = replace(EXT4, free_bytes=5100)
    assert problems(lfs_file("a"), on=tight, reserve=100) == ()
    assert problems(lfs_file("a"), on=tight, reserve=101) == (
        "not enough space at `cache_hub`: needs 5.00 kB and a reserve of 101 B, has 5.10 kB",
    )


def test_a_pull_that_needs_nothing_needs_no_reserve() -> None:
    file = git_file("a")
    done = plan(file, view=View(linked=frozenset({"a"})))
    assert find_problems(done, replace(EXT4, free_bytes=0), reserve=10, folder="x") == ()


def test_links_share_their_bytes() -> None:
    made = plan(lfs_file("a"), lfs_file("b"), git_file("c"))
    assert bytes_needed(made, EXT4) == 5002
    assert bytes_needed(made, EXFAT) == 10002


def test_without_links_what_is_copied_or_published_takes_space_too() -> None:
    here, there, staged = lfs_file("a", "a"), lfs_file("b", "b"), lfs_file("c", "c")
    view = View(
        blobs=frozenset({here.blob_name}),
        elsewhere={there.blob_name: Path("x")},
        partial_bytes={staged.blob_name: 4000},
    )
    made = plan(here, there, staged, view=view)
    assert bytes_needed(made, EXT4) == 1000
    assert bytes_needed(made, EXFAT) == 5000 + 5000 + 1000


def test_every_problem_is_told_at_once() -> None:
    bad = replace(EXFAT, free_bytes=0, largest_file=100, refusals=("`cache_hub` is read-only",))
    found = problems(lfs_file("what?"), git_file("A"), git_file("a"), on=bad)
    assert [line.split("`")[1] for line in found] == [
        "cache_hub",
        "cache_hub",
        "what?",
        "what?",
        "A",
    ]
    assert all("\n" not in line and not line.endswith(".") for line in found)


def test_a_file_too_large_for_http_is_named() -> None:
    assert problems(lfs_file("a", size=LARGEST_OVER_HTTP), on=EXT4) == ()
    (problem,) = problems(lfs_file("a", size=LARGEST_OVER_HTTP + 1), on=EXT4)
    assert "`hf download`" in problem


def test_a_file_too_large_for_the_filesystem_is_named() -> None:
    fat = replace(EXT4, kind="vfat", largest_file=4999)
    assert problems(lfs_file("a", size=4999), on=fat) == ()
    assert problems(lfs_file("a"), on=fat) == ("`a` is 5.00 kB: vfat stops at 5.00 kB a file",)


@pytest.mark.parametrize("name", ["a" * 256, "ü" * 128, f"folder/{'b' * 256}/c"])
def test_a_name_too_long_is_named_by_its_start(name: str) -> None:
    (problem,) = problems(git_file(name), on=EXT4)
    assert "has 256 bytes: the filesystem allows 255" in problem
    assert len(problem) < 200


def test_a_path_too_long_is_named_by_its_start() -> None:
    (problem,) = problems(git_file("/".join(["abc"] * 30)), on=replace(EXT4, longest_path=100))
    assert problem.endswith("… has 119 bytes: the path is too long".removeprefix("…"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ('a"b', '`a"b` has " in it'),
        ("a/b?c*", "has * ? in it"),
        ("a\\b", "has \\ in it"),
        ("a\tb", "has a control character in it"),
        ("a/b.", "ends in a dot or space"),
        ("a /b", "ends in a dot or space"),
    ],
)
def test_names_that_windows_forbids_matter_only_where_windows_reads(name: str, said: str) -> None:
    assert problems(git_file(name), on=EXT4) == ()
    (problem,) = problems(git_file(name), on=EXFAT)
    assert said in problem


def test_good_names_are_good_everywhere() -> None:
    assert problems(git_file(".gitattributes"), git_file("ü (1)/x-y_z.tar.gz"), on=EXFAT) == ()


def test_paths_that_differ_only_in_case_are_told_where_case_is_ignored() -> None:
    files = (git_file("README.md"), git_file("readme.MD"), git_file("x"))
    assert problems(*files, on=EXT4) == ()
    assert problems(*files, on=EXFAT) == (
        "`README.md` and `readme.MD` differ only in case, which the filesystem ignores",
    )


@pytest.mark.parametrize("path", ["con", "a/NUL.txt", "Com1", "LPT9.tar.gz", "aux /x", "prn.a/b"])
def test_device_names_of_windows_are_found(path: str) -> None:
    assert device_name(path) in path.split("/")


@pytest.mark.parametrize("path", ["console", "a/null", "com", "com0", "com10", "xcon", "a.con", ""])
def test_other_names_are_no_devices(path: str) -> None:
    assert device_name(path) is None


# --- several repos -------------------------------------------------------------------------------


def test_what_repos_share_is_fetched_once_and_takes_space_once() -> None:
    first = plan(lfs_file("a", "x", size=5000), lfs_file("b", "shared", size=700))
    second = plan(lfs_file("c", "shared", size=700), lfs_file("d", "y", size=60))
    assert joint_bytes_to_fetch([first, second]) == 5760
    assert joint_bytes_needed([first, second], EXT4) == 5760
    assert joint_bytes_to_fetch([]) == 0


def test_without_links_each_repo_holds_the_bytes_itself() -> None:
    first, second = plan(lfs_file("a", size=700)), plan(lfs_file("b", size=700))
    assert joint_bytes_to_fetch([first, second]) == 700
    assert joint_bytes_needed([first, second], EXFAT) == 1400


@pytest.mark.parametrize(("free", "is_enough"), [(1000, True), (999, False)])
def test_space_is_needed_beside_the_reserve(free: int, is_enough: bool) -> None:
    on = replace(EXT4, free_bytes=free)
    found = space_problem(700, on, reserve=300, folder="cache_hub")
    assert (found == ()) is is_enough
    assert space_problem(0, on, reserve=10**9, folder="cache_hub") == ()
