"""A pull leaves on the disk what huggingface_hub's own download leaves, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi, snapshot_download

from loopback_hub import Generated, generated_repo, odd_names_repo, repo
from support.repos import model
from support.trees import assert_clean, assert_nothing_left, tree_of

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub, RepoSpec
    from support.cli import User

pytestmark = [pytest.mark.conformance, pytest.mark.aria2]

TWINS = {
    "model": model(),
    "dataset": model("org/data", repo_type="dataset"),
    "space": model("org/app", repo_type="space"),
    "odd names": odd_names_repo(),
    "no namespace": generated_repo("gpt", [("config.json", 20), ("weights.bin", 4000)]),
    "duplicates": repo(
        "org/twice",
        {name: Generated(4, 1_200_000) for name in ("a.bin", "b.bin", "c/d/e.bin", "c/f.bin")},
    ),
    "empty file alone": repo("org/void", {"nothing": b""}),
    "plain file the size of a large one": repo(
        "org/plain", {"big.json": Generated(9, 4_500_000)}, lfs={"big.json": False}
    ),
}


def hf_download(hub: LoopbackHub, spec: RepoSpec, cache: Path, revision: str | None = None) -> Path:
    return Path(
        snapshot_download(
            spec.repo_id,
            repo_type=spec.repo_type,
            revision=revision,
            cache_dir=cache,
            endpoint=hub.url("origin"),
            token=False,
        )
    )


def hf_download_to_folder(hub: LoopbackHub, spec: RepoSpec, folder: Path) -> None:
    # Without a cache named, a ref would be written to that of whoever runs the tests.
    snapshot_download(
        spec.repo_id,
        local_dir=folder,
        endpoint=hub.url("origin"),
        token=False,
        cache_dir=folder.with_name("unused"),
    )


def pull(user: User, spec: RepoSpec, *arguments: str) -> Path:
    return user.pulled(spec.repo_id, "--repo-type", spec.repo_type, *arguments).path


@pytest.mark.parametrize("spec", TWINS.values(), ids=TWINS)
def test_a_pull_is_the_twin_of_snapshot_download(
    hub: LoopbackHub, user: User, tmp_path: Path, spec: RepoSpec
) -> None:
    hub.put_repo(spec)
    theirs = hf_download(hub, spec, tmp_path / "theirs")
    ours = pull(user, spec)
    assert ours.relative_to(user.cache) == theirs.relative_to(tmp_path / "theirs")
    assert tree_of(user.cache, without=(".locks", ".hfaria")) == tree_of(
        tmp_path / "theirs", without=(".locks", ".hfaria")
    )
    assert_clean(user.cache)
    assert_nothing_left(user.cache)


@pytest.mark.parametrize("revision", ["commit", "v1.0", "refs/pr/1", "dev/next"])
def test_a_pull_of_a_revision_is_the_twin(
    hub: LoopbackHub, user: User, tmp_path: Path, revision: str
) -> None:
    spec = TWINS["model"]
    hub.put_repo(spec)
    named = spec.commits[0].commit_id if revision == "commit" else revision
    hf_download(hub, spec, tmp_path / "theirs", named)
    pull(user, spec, "--revision", named)
    ours = tree_of(user.cache, without=(".locks", ".hfaria"))
    assert ours == tree_of(tmp_path / "theirs", without=(".locks", ".hfaria"))
    refs = [name for name in ours if "/refs/" in name and ours[name][0] == "file"]
    assert refs == ([] if revision == "commit" else [f"models--org--model/refs/{revision}"])


def test_two_revisions_in_one_cache_are_the_twin(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    spec = TWINS["model"]
    hub.put_repo(spec)
    for revision in ("v1.0", "main"):
        hf_download(hub, spec, tmp_path / "theirs", revision)
        pull(user, spec, "--revision", revision)
    assert tree_of(user.cache, without=(".locks", ".hfaria")) == tree_of(
        tmp_path / "theirs", without=(".locks", ".hfaria")
    )


def test_the_tree_file_of_a_hub_with_xet_is_the_twin(tmp_path: Path) -> None:
    from loopback_hub import HubConfig, LoopbackHub  # noqa: PLC0415 - this hub differs
    from support.cli import user_of  # noqa: PLC0415

    spec = TWINS["model"]
    with LoopbackHub(HubConfig(repos=(spec,), announces_xet=True)) as hub:
        user = user_of(hub, tmp_path / "home")
        theirs = user.having(HF_HUB_DISABLE_XET="1", HF_HUB_CACHE=str(tmp_path / "theirs"))
        theirs.python(f"import huggingface_hub as h; h.snapshot_download('{spec.repo_id}')")
        pull(user, spec)
    name = f"models--org--model/trees/{spec.commit_id}.json"
    assert (user.cache / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert "xet_hash" in json.loads((user.cache / name).read_text())["files"]["model.safetensors"]


def test_without_symlinks_a_pull_is_the_twin(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    spec = TWINS["model"]
    hub.put_repo(spec)
    theirs = user.having(HF_HUB_DISABLE_SYMLINKS="1", HF_HUB_CACHE=str(tmp_path / "theirs"))
    theirs.python(f"import huggingface_hub as h; h.snapshot_download('{spec.repo_id}')")
    hub.reset_records()
    flat = user.having(HF_HUB_DISABLE_SYMLINKS="1")
    flat.pulled(spec.repo_id)
    assert tree_of(user.cache, without=(".locks", ".hfaria")) == tree_of(
        tmp_path / "theirs", without=(".locks", ".hfaria")
    )
    twice = spec.head.by_path["onnx/copy/small.onnx"]
    assert hub.bytes_sent(blob=twice.blob_name) == twice.size
    assert_clean(user.cache)
    hub.reset_records()
    flat.pulled(spec.repo_id)
    assert hub.file_bytes_sent() == 0


def test_without_symlinks_what_is_here_is_copied_not_fetched(hub: LoopbackHub, user: User) -> None:
    spec = TWINS["model"].with_commit({"moved.safetensors": TWINS["model"].head.files[3].content})
    hub.put_repo(TWINS["model"])
    flat = user.having(HF_HUB_DISABLE_SYMLINKS="1")
    first = flat.pulled(spec.repo_id).path
    hub.put_repo(spec)
    hub.reset_records()
    second = flat.pulled(spec.repo_id).path
    assert hub.file_bytes_sent() == 0
    moved = second / "moved.safetensors"
    assert moved.read_bytes() == (first / spec.commits[1].files[3].path).read_bytes()
    assert moved.stat().st_nlink == 1


def test_a_local_dir_is_the_twin(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    spec = TWINS["model"]
    hub.put_repo(spec)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    hf_download_to_folder(hub, spec, theirs)
    run = user.pulled(spec.repo_id, "--local-dir", str(ours))
    assert run.path == ours
    left, right = (_without_times(tree_of(root)) for root in (ours, theirs))
    assert left == right


def _without_times(tree: dict[str, tuple[str, object]]) -> dict[str, tuple[str, object]]:
    """Forget what differs from run to run: the records' time of writing, and lock files."""
    plain: dict[str, tuple[str, object]] = {}
    for name, (kind, content) in tree.items():
        if name.endswith(".lock"):
            continue
        if name.endswith(".metadata") and isinstance(content, bytes):
            plain[name] = (kind, content.splitlines()[:2])
        else:
            plain[name] = (kind, content)
    return plain


def test_hf_fetches_nothing_into_a_local_dir_that_was_pulled(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    spec = TWINS["odd names"]
    hub.put_repo(spec)
    folder = tmp_path / "plain"
    user.pulled(spec.repo_id, "--local-dir", str(folder))
    before = tree_of(folder)
    hub.reset_records()
    hf_download_to_folder(hub, spec, folder)
    assert hub.file_bytes_sent() == 0
    assert hub.requests(kind="resolve") == ()
    assert _without_times(tree_of(folder)) == _without_times(before)


def test_a_local_dir_goes_on_where_hf_ended(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    spec = TWINS["model"]
    hub.put_repo(spec)
    folder = tmp_path / "plain"
    hf_download_to_folder(hub, spec, folder)
    hub.reset_records()
    user.pulled(spec.repo_id, "--local-dir", str(folder))
    assert hub.file_bytes_sent() == 0


def test_hf_verifies_what_was_pulled(hub: LoopbackHub, user: User) -> None:
    spec = TWINS["odd names"]
    hub.put_repo(spec)
    pull(user, spec)
    found = HfApi(endpoint=hub.url("origin"), token=False).verify_repo_checksums(
        spec.repo_id, cache_dir=user.cache
    )
    assert found.checked_count == len(spec.head.files)
    assert (found.mismatches, found.missing_paths, found.extra_paths) == ([], [], [])
