from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from huggingface_hub._local_folder import _create_cachedir_tag, get_local_download_paths
from huggingface_hub._tree_cache import tree_cache_folder_for_local_dir
from huggingface_hub.file_download import _get_pointer_path, repo_folder_name
from hypothesis import given
from hypothesis import strategies as st

from hfaria.rules.layout import CACHEDIR_TAG, LocalDirLayout, RepoLayout, pointer_target
from hfaria.rules.spec import RepoSpec
from unit.builders import COMMIT

CACHE = Path("cache_hub")
LAYOUT = RepoLayout(CACHE, RepoSpec("org/name").folder_name)
BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_the_paths_of_a_repo_are_those_of_huggingface_hub() -> None:
    repo = CACHE / repo_folder_name(repo_id="org/name", repo_type="model")
    assert LAYOUT.repo == repo == CACHE / "models--org--name"
    assert LAYOUT.blob(BLOB) == repo / "blobs" / BLOB
    assert LAYOUT.ref("refs/pr/1") == repo / "refs" / "refs" / "pr" / "1"
    assert LAYOUT.snapshot(COMMIT) == repo / "snapshots" / COMMIT
    assert LAYOUT.tree_file(COMMIT) == repo / "trees" / f"{COMMIT}.json"
    assert LAYOUT.blob_lock(BLOB) == CACHE / ".locks" / "models--org--name" / f"{BLOB}.lock"
    assert str(LAYOUT.pointer(COMMIT, "a/b.txt")) == _get_pointer_path(str(repo), COMMIT, "a/b.txt")


def test_what_is_ours_lies_where_no_reader_looks() -> None:
    workspace = LAYOUT.workspace
    ours = [
        workspace.partials,
        workspace.quarantine,
        workspace.staging,
        workspace.partial(BLOB),
        workspace.direct(BLOB),
    ]
    for path in ours:
        assert path.is_relative_to(LAYOUT.repo / ".hfaria")
    assert len(set(ours)) == len(ours)
    assert LAYOUT.pull_lock.parent == LAYOUT.blob_lock(BLOB).parent
    assert not LAYOUT.pull_lock.is_relative_to(LAYOUT.repo)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("config.json", f"../../blobs/{BLOB}"),
        ("sub dir/ü.txt", f"../../../blobs/{BLOB}"),
        ("a/b/c/d", f"../../../../../blobs/{BLOB}"),
    ],
)
def test_a_pointer_climbs_out_of_its_snapshot(path: str, target: str) -> None:
    assert pointer_target(path, BLOB) == target


@given(
    st.lists(st.text(alphabet="ab.-ü", min_size=1).filter(lambda s: set(s) != {"."}), min_size=1)
)
def test_every_pointer_leads_to_its_blob(segments: list[str]) -> None:
    path = "/".join(segments)
    pointer = LAYOUT.pointer(COMMIT, path)
    target = pointer_target(path, BLOB)
    assert not PurePosixPath(target).is_absolute()
    assert os.path.normpath(pointer.parent / target) == str(LAYOUT.blob(BLOB))
    assert target == os.path.relpath(LAYOUT.blob(BLOB), pointer.parent).replace(os.sep, "/")


def test_the_tag_is_that_of_huggingface_hub(tmp_path: Path) -> None:
    _create_cachedir_tag(tmp_path)
    assert (tmp_path / "CACHEDIR.TAG").read_text(encoding="utf-8") == CACHEDIR_TAG


@pytest.mark.parametrize("path", ["config.json", "a/b c/ü.bin"])
def test_the_paths_of_a_local_dir_are_those_of_huggingface_hub(path: str, tmp_path: Path) -> None:
    layout = LocalDirLayout(tmp_path)
    theirs = get_local_download_paths(tmp_path, path)
    assert layout.file(path) == theirs.file_path
    assert layout.file_record(path) == theirs.metadata_path
    folder = Path(tree_cache_folder_for_local_dir(str(tmp_path)))
    assert layout.bookkeeping == folder
    assert layout.tree_file(COMMIT) == folder / "trees" / f"{COMMIT}.json"


def test_what_is_ours_in_a_local_dir_hides_in_the_bookkeeping(tmp_path: Path) -> None:
    layout = LocalDirLayout(tmp_path)
    for path in (layout.workspace.partial(BLOB), layout.pull_lock):
        assert path.is_relative_to(layout.bookkeeping)
