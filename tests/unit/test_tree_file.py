from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub._tree_cache import TreeCacheEntry, read_tree_cache, write_tree_cache
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import HfariaError
from hfaria.rules.listing import Listing, RemoteFile, check_file, make_listing
from hfaria.rules.tree_file import parse, serialize
from unit.builders import COMMIT, git_file, lfs_file, listing

if TYPE_CHECKING:
    from pathlib import Path

XET = "ab" * 32
ODD_NAMES = [
    "size", "blob_id", "files", "format_version", "lfs_sha256", "xet_hash", "lfs_size/size",
    'quote".txt', "back\\slash", "new\nline", "tab\t", "ü", "空/白", "😀", "a b", "{}", "\x7f", "é",
]  # fmt: skip


def text_of(files: Listing) -> str:
    return "".join(serialize(files))


def written_by_huggingface_hub(files: Listing, folder: Path) -> bytes:
    entries = {
        file.path: TreeCacheEntry(
            file.size,
            file.git_oid,
            file.sha256,
            file.size if file.sha256 else None,
            file.xet_hash,
        )
        for file in files.files
    }
    write_tree_cache(str(folder), files.commit_hash, entries)
    return (folder / "trees" / f"{files.commit_hash}.json").read_bytes()


@pytest.mark.parametrize(
    "files",
    [
        listing(),
        listing(git_file("a")),
        listing(git_file("config.json"), lfs_file("m.bin", xet_hash=XET), lfs_file("n.bin")),
        listing(*(git_file(name) for name in ODD_NAMES)),
        listing(*(lfs_file(name, xet_hash=XET) for name in ODD_NAMES)),
    ],
    ids=["none", "one", "all kinds", "odd names", "odd names of LFS files"],
)
def test_the_bytes_are_those_that_huggingface_hub_writes(files: Listing, tmp_path: Path) -> None:
    assert text_of(files).encode() == written_by_huggingface_hub(files, tmp_path)
    assert parse(text_of(files), COMMIT) == files


names = st.text(min_size=1, max_size=12) | st.sampled_from(ODD_NAMES)
files_of_any_name = st.builds(git_file, names, st.binary(max_size=3)) | st.builds(
    lfs_file, names, st.text(max_size=3), xet_hash=st.sampled_from([None, XET])
)


@given(st.lists(files_of_any_name, max_size=6))
def test_what_is_written_is_read_again(files: list[RemoteFile]) -> None:
    try:
        made = make_listing(COMMIT, map(check_file, files))
    except HfariaError:
        return
    text = text_of(made)
    document = {
        "format_version": 1,
        "files": {
            file.path: {
                "size": file.size,
                "blob_id": file.git_oid,
                **({"lfs_sha256": file.sha256, "lfs_size": file.size} if file.sha256 else {}),
                **({"xet_hash": file.xet_hash} if file.xet_hash else {}),
            }
            for file in made.files
        },
    }
    assert text == json.dumps(document, indent=1)
    assert parse(text, COMMIT) == made


def test_a_xet_hash_without_form_is_left_out_and_the_rest_stays_readable(tmp_path: Path) -> None:
    bad = listing(lfs_file("a", xet_hash="not hex"), lfs_file("b", xet_hash=XET))
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / f"{COMMIT}.json").write_text(text_of(bad), encoding="utf-8")
    entries = read_tree_cache(str(tmp_path), COMMIT)
    assert entries is not None
    assert (entries["a"].xet_hash, entries["b"].xet_hash) == (None, XET)


def test_pieces_are_small() -> None:
    many = listing(*(git_file(f"{n}") for n in range(100)))
    assert max(map(len, serialize(many))) < 200


GOOD: dict[str, Any] = {"size": 2, "blob_id": git_file("a").git_oid}
LFS = lfs_file("a")
GOOD_LFS: dict[str, Any] = {
    "size": LFS.size, "blob_id": LFS.git_oid, "lfs_sha256": LFS.sha256, "lfs_size": LFS.size,
}  # fmt: skip


def document(**files: object) -> str:
    return json.dumps({"format_version": 1, "files": files})


def test_a_file_of_another_writer_is_read() -> None:
    assert parse(document(a=GOOD), COMMIT) == listing(git_file("a"))
    assert parse(document(a=GOOD_LFS), COMMIT) == listing(LFS)
    assert parse(document(a={**GOOD, "xet_hash": 5, "new": []}), COMMIT) == listing(git_file("a"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "5",
        '"text"',
        "{}",
        "[" * 100_000,
        '{"format_version": 1}',
        '{"format_version": 2, "files": {}}',
        '{"format_version": "1", "files": {}}',
        '{"files": {}}',
        '{"format_version": 1, "files": null}',
        '{"format_version": 1, "files": [0]}',
        '{"format_version": 1, "files": "a"}',
        '{"format_version": 1, "files": {"size": 5, "blob_id": "x"}}',
        '{"size": 5, "blob_id": "x", "format_version": 1}',
        document(a=None),
        document(a=5),
        document(a={}),
        document(a=[1, 2, 3, 4]),
        document(a={"w": 1, "x": 2, "y": 3, "z": 4}),
        document(a={**GOOD, "size": "2"}),
        document(a={**GOOD, "size": 2.0}),
        document(a={**GOOD, "size": -2}),
        document(a={**GOOD, "blob_id": "x"}),
        document(a={**GOOD, "blob_id": 5}),
        document(a={"size": 2}),
        document(a={"blob_id": GOOD["blob_id"]}),
        document(a={**GOOD_LFS, "lfs_sha256": "x"}),
        document(a={**GOOD_LFS, "lfs_sha256": 5}),
        document(a={**GOOD_LFS, "size": LFS.size + 1}),
        document(**{"../a": GOOD}),
        document(**{"/a": GOOD}),
        document(**{"": GOOD}),
        document(**{"a": GOOD, "a/b": GOOD}),
        document(**{"\ud800": GOOD}),
    ],
    ids=lambda text: text[:60],
)
def test_what_can_not_be_relied_on_is_none(text: str) -> None:
    assert parse(text, COMMIT) is None


@given(st.data())
def test_a_cut_or_changed_file_is_none_or_a_true_listing(data: st.DataObject) -> None:
    files = listing(git_file("a"), lfs_file("b"), git_file("size"))
    text = text_of(files)
    cut = data.draw(st.integers(0, len(text) - 1))
    assert parse(text[:cut], COMMIT) is None
    found = parse(text[:cut] + data.draw(st.text(max_size=2)) + text[cut + 1 :], COMMIT)
    if found is not None:
        assert found == make_listing(COMMIT, map(check_file, found.files))


def test_the_commit_is_the_one_that_was_asked_for() -> None:
    files = replace(listing(git_file("a")), commit_hash="f" * 40)
    assert parse(text_of(files), "f" * 40) == files
