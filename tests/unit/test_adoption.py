from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.rules.adoption import (
    Folder,
    FoundFile,
    Trace,
    glob_of_hfd,
    read_clone,
    read_hfd,
    read_local_dir,
    read_remote,
)
from hfaria.rules.plan import View
from hfaria.rules.spec import RepoType
from unit.builders import COMMIT, git_file, lfs_file

OTHER = "f" * 40


def found(path: str, size: int) -> FoundFile:
    return FoundFile(path, size, Path("there") / path)


def folder(
    *files: FoundFile,
    objects: tuple[FoundFile, ...] = (),
    partials: tuple[FoundFile, ...] = (),
) -> Folder:
    return Folder(Path("there"), Trace(), files, objects, partials)


# --- bookkeeping ----------------------------------------------------------------------------------


def test_the_newest_commit_of_a_local_dir_counts_and_its_files_were_wanted() -> None:
    trace = read_local_dir(
        [
            ("a.json", f"{OTHER}\netag\n100.5\n"),
            ("sub/b", f"{COMMIT}\netag\n200.5\n"),
            ("torn", f"{COMMIT}\n"),
        ]
    )
    assert (trace.commit_hash, trace.repo_id) == (COMMIT, None)
    assert trace.wanted == frozenset({"a.json", "sub/b"})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [({"modelId": "org/name"}, RepoType.MODEL), ({}, RepoType.DATASET)],
)
def test_the_script_tells_repo_commit_and_files(answer: dict[str, str], kind: RepoType) -> None:
    metadata = json.dumps({"id": "org/name", "sha": COMMIT, **answer})
    trace = read_hfd(metadata, "12\ta b.json\n0\tsub/empty\nnonsense\n")
    assert (trace.repo_id, trace.repo_type, trace.commit_hash) == ("org/name", kind, COMMIT)
    assert trace.wanted == frozenset({"a b.json", "sub/empty"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}', "\x00"])
def test_bookkeeping_that_is_broken_tells_nothing(text: str) -> None:
    assert read_hfd(text, text).commit_hash is None
    assert read_local_dir([("a", text)]).commit_hash is None
    assert read_clone(text, text, text).repo_id is None


@pytest.mark.parametrize(
    ("url", "repo_id", "kind"),
    [
        ("https://huggingface.co/org/name", "org/name", RepoType.MODEL),
        ("https://user:key@hf-mirror.com/org/name.git", "org/name", RepoType.MODEL),
        ("https://huggingface.co/datasets/org/name", "org/name", RepoType.DATASET),
        ("https://host.example/prefix/spaces/org/name", "org/name", RepoType.SPACE),
        ("git@hf.co:org/name", "org/name", RepoType.MODEL),
        ("git@hf.co:datasets/org/name", "org/name", RepoType.DATASET),
        ("https://huggingface.co/gpt2", "gpt2", RepoType.MODEL),
    ],
)
def test_a_remote_names_its_repo(url: str, repo_id: str, kind: RepoType) -> None:
    assert read_remote(url) == (repo_id, kind)


def test_a_clone_tells_repo_branch_and_commit() -> None:
    config = (
        '[core]\n\tbare = false\n[remote "up"]\n\turl = https://x.example/no/no\n'
        '[remote "origin"]\n\tfetch = +refs/heads/*\n\turl = https://huggingface.co/org/name\n'
    )
    trace = read_clone(config, "ref: refs/heads/dev/next", COMMIT)
    assert (trace.repo_id, trace.branch, trace.commit_hash) == ("org/name", "dev/next", COMMIT)
    assert trace.wants_all


# --- matching -------------------------------------------------------------------------------------


def test_a_file_is_found_by_path_and_size() -> None:
    files = (lfs_file("model.bin", size=5), lfs_file("b", "other", size=6))
    there = folder(found("model.bin", 5), found("b", 7))
    assert there.sources(files) == {files[0].blob_name: Path("there/model.bin")}


def test_a_file_that_was_moved_is_found_if_no_other_can_be_meant() -> None:
    one, two = lfs_file("a/model.bin", size=5), lfs_file("b/model.bin", "other", size=6)
    moved = folder(found("model.bin", 5), found("renamed", 6))
    assert moved.sources((one, two)) == {
        one.blob_name: Path("there/model.bin"),
        two.blob_name: Path("there/renamed"),
    }
    same_size = lfs_file("c", "third", size=6)
    assert two.blob_name not in moved.sources((one, two, same_size))


def test_a_content_is_found_by_its_digest() -> None:
    file = lfs_file("model.bin", size=5)
    there = folder(objects=(found(file.blob_name, 5),))
    assert there.sources([file]) == {file.blob_name: Path("there") / file.blob_name}


def test_both_copies_of_a_content_are_told() -> None:
    files = (lfs_file("a", size=5), lfs_file("b", size=5))
    there = folder(found("a", 5), found("b", 5))
    assert [place.name for _, place in there.places(files)] == ["a", "b"]


def test_what_is_there_is_offered_to_the_plan() -> None:
    file = lfs_file("a", size=5)
    view = folder(found("a", 5)).offer(View(blobs=frozenset({"x"})), [file])
    assert view.blobs == {"x"}
    assert view.elsewhere == {file.blob_name: Path("there/a")}


def test_an_unfinished_file_is_continued_unless_it_is_too_long() -> None:
    file = lfs_file("a", size=5)
    assert folder(partials=(found("a", 4),)).begun([file]) == {file.blob_name: Path("there/a")}
    assert folder(partials=(found("a", 6),)).begun([file]) == {}


paths = st.text("abc", min_size=1, max_size=4)
sizes = st.integers(0, 3)


@given(st.dictionaries(paths, sizes), st.dictionaries(paths, sizes))
def test_no_file_is_offered_for_a_content_of_another_size(
    listed: dict[str, int], there: dict[str, int]
) -> None:
    files = [git_file(path, path.encode() * size) for path, size in listed.items()]
    place = folder(*(found(path, size) for path, size in there.items()))
    by_place = {each.place: each.size for each in place.files}
    for name, source in place.sources(files).items():
        assert {file.size for file in files if file.blob_name == name} == {by_place[source]}


@pytest.mark.parametrize(
    ("theirs", "ours"), [("*.json", "*.json*"), ("fp16", "*fp16*"), ("onnx/*", "*onnx/*")]
)
def test_a_pattern_of_the_script_matches_anywhere(theirs: str, ours: str) -> None:
    assert glob_of_hfd(theirs) == ours
