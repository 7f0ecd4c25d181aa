from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from huggingface_hub._local_folder import _validate_relative_filename
from huggingface_hub.utils.sha import git_hash
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import InconsistentListing, MalformedListing, UnsafePath
from hfaria.rules.listing import RemoteFile, check_file, check_path, git_blob_digest, make_listing
from unit.builders import COMMIT, git_file, lfs_file, listing

segments = st.text(alphabet="ab.\\:/ ü~", min_size=0, max_size=6)


def test_the_blob_is_named_by_sha256_for_lfs_and_by_git_else() -> None:
    plain, large = git_file("a"), lfs_file("b")
    assert plain.blob_name == plain.git_oid
    assert large.blob_name == large.sha256 == hashlib.sha256(b"weights").hexdigest()


@given(st.binary())
def test_git_ids_are_those_of_huggingface_hub(content: bytes) -> None:
    assert git_blob_digest(content) == git_hash(content)


def test_a_listing_is_sorted_and_knows_its_size() -> None:
    made = listing(lfs_file("b/c"), git_file("b.txt"), git_file("a"))
    assert [file.path for file in made.files] == ["a", "b.txt", "b/c"]
    assert made.size == 5004
    assert make_listing(COMMIT, []).size == 0


def test_a_path_that_comes_twice_is_refused() -> None:
    with pytest.raises(InconsistentListing, match="`a` twice"):
        listing(git_file("a"), git_file("b"), git_file("a", b"other"))


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b/c/d", "a/b"), ("x", "a/b/c", "a/b/d", "a")])
def test_a_file_that_is_also_a_folder_is_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(InconsistentListing, match="both as a file and a folder"):
        listing(*(git_file(path) for path in paths))


def test_one_content_with_two_sizes_is_refused() -> None:
    one = git_file("a")
    with pytest.raises(InconsistentListing, match="two sizes"):
        listing(one, replace(one, path="b", size=one.size + 1))


@given(st.lists(st.text(alphabet="ab/", min_size=1, max_size=5), unique=True))
def test_a_listing_is_refused_just_when_a_path_lies_below_another(paths: list[str]) -> None:
    is_bad = any(one.startswith(f"{other}/") for one in paths for other in paths)
    try:
        made = listing(*(git_file(path) for path in paths))
    except InconsistentListing:
        assert is_bad
    else:
        assert not is_bad
        assert [file.path for file in made.files] == sorted(paths)


# --- entries -----------------------------------------------------------------------------------


def test_true_entries_pass() -> None:
    for file in (git_file("a"), git_file("empty", b""), lfs_file("b"), lfs_file("c", size=0)):
        assert check_file(file) is file
    pointer_size = len(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5000\n"
    )
    check_file(lfs_file("b"), pointer_size=pointer_size)


@pytest.mark.parametrize(
    "file",
    [
        replace(git_file("a"), size=-1),
        replace(git_file("a"), git_oid=""),
        replace(git_file("a"), git_oid="0" * 39),
        replace(git_file("a"), git_oid="A" * 40),
        replace(git_file("a"), git_oid="0" * 40 + "\n"),
        replace(lfs_file("a"), sha256="0" * 63),
        replace(lfs_file("a"), sha256=""),
        replace(lfs_file("a"), sha256="../" + "0" * 61),
    ],
)
def test_entries_without_form_are_refused(file: RemoteFile) -> None:
    with pytest.raises(MalformedListing, match="`a`"):
        check_file(file)


@pytest.mark.parametrize(
    "file",
    [
        replace(lfs_file("a"), size=5001),
        replace(lfs_file("a"), sha256="0" * 64),
        replace(lfs_file("a"), git_oid="0" * 40),
    ],
    ids=["size", "sha256", "git_oid"],
)
def test_an_altered_lfs_entry_contradicts_its_pointer(file: RemoteFile) -> None:
    with pytest.raises(InconsistentListing, match="id "):
        check_file(file)


def test_a_pointer_of_another_length_is_a_contradiction() -> None:
    with pytest.raises(InconsistentListing, match="length 129, listed 131"):
        check_file(lfs_file("a"), pointer_size=131)


# --- paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["a", "a/b/c", ".gitattributes", "...", "..a", "a..", "a/...b", "ü/ñ 空.bin", "a b", "con",
     "a\\b", "size", "-", "~", "a\nb", "ab:c"],
)  # fmt: skip
def test_paths_that_stay_in_their_folder_pass(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "/", "/etc/passwd", "//host/share", "a/../b", "../a", "a/..", "a//b", "a/",
     "./a", "a/./b", "a\\..\\b", "..\\a", "a\\../b", "\\a", "\\\\host\\share\\a", "C:", "C:\\a",
     "C:a", "a/C:b", "a/\\b", "a\0b", "\ud800", "a/D:\\x"],
)  # fmt: skip
def test_paths_that_leave_their_folder_somewhere_are_refused(path: str) -> None:
    with pytest.raises(UnsafePath, match="the listing names"):
        check_path(path)


@given(st.lists(segments, min_size=1, max_size=4).map("/".join))
def test_what_huggingface_hub_refuses_is_refused_here(path: str) -> None:
    try:
        check_path(path)
    except UnsafePath:
        return
    _validate_relative_filename(path)
