from __future__ import annotations

import pytest
from huggingface_hub.file_download import repo_folder_name
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import InvalidSpec, UsageError
from hfaria.rules.spec import (
    RepoSpec,
    RepoType,
    is_commit,
    parse_pinned,
    parse_reference,
    parse_repo_type,
)
from unit.builders import COMMIT


@pytest.mark.parametrize("repo_type", RepoType, ids=lambda kind: kind.value)
@pytest.mark.parametrize("repo_id", ["gpt2", "org/name", "Org.x/n_a-m.e"])
def test_the_folder_is_named_as_huggingface_hub_names_it(repo_id: str, repo_type: RepoType) -> None:
    spec = RepoSpec(repo_id, repo_type)
    assert spec.folder_name == repo_folder_name(repo_id=repo_id, repo_type=repo_type.value)


@pytest.mark.parametrize(
    "repo_id",
    ["", "a/b/c", "a//b", "/a", "a/", "..", "a/..", "../b", "a--b/c", "a b", "x.git", "a" * 97,
     "-a", "a\n", "a/b\n", "models/../x", "a\\b", "\udcff"],
)  # fmt: skip
def test_what_is_no_repo_id_is_refused(repo_id: str) -> None:
    with pytest.raises(InvalidSpec, match="is not a repo id") as caught:
        RepoSpec(repo_id)
    assert "\n" not in caught.value.message.replace(repo_id, "")
    assert not caught.value.message.endswith(".")


@pytest.mark.parametrize(
    "revision", ["main", "v1.0", "refs/pr/1", "feature/x", COMMIT, "abc1234", "ünïcode", "a" * 200]
)
def test_branches_tags_refs_and_commits_are_revisions(revision: str) -> None:
    assert RepoSpec("a/b", revision=revision).revision == revision


@pytest.mark.parametrize(
    "revision",
    ["", "..", "a/../b", "/etc", "a/", "a//b", ".", "a/./b", "C:x", "a\\b", "a*", "a?", 'a"b',
     "a\nb", "a\0b", "a\x7f", "a" * 201, "ü" * 101, "<", ">", "|", "a~1", "a^", "\udcff"],
)  # fmt: skip
def test_what_could_be_no_file_below_refs_is_refused(revision: str) -> None:
    with pytest.raises(InvalidSpec, match="is not a revision"):
        RepoSpec("a/b", revision=revision)


@given(st.text())
def test_no_revision_climbs_out_of_refs(revision: str) -> None:
    try:
        spec = RepoSpec("a/b", revision=revision)
    except InvalidSpec:
        return
    assert not {"", ".", ".."} & set(revision.replace("\\", "/").split("/"))
    assert "/" not in spec.head_path().rpartition("/revision/")[2]


def test_only_a_full_commit_is_a_commit() -> None:
    assert is_commit(COMMIT)
    for text in (COMMIT[:-1], COMMIT + "0", COMMIT.upper(), COMMIT + "\n", "main"):
        assert not is_commit(text)


def test_api_paths_are_those_of_the_hub() -> None:
    model = RepoSpec("org/name", revision="refs/pr/1")
    assert model.head_path() == "api/models/org/name/revision/refs%2Fpr%2F1"
    assert model.tree_path(COMMIT) == f"api/models/org/name/tree/{COMMIT}"
    assert model.resolve_path(COMMIT, "a b/ü#?.txt") == (
        f"org/name/resolve/{COMMIT}/a%20b/%C3%BC%23%3F.txt"
    )
    data = RepoSpec("org/name", RepoType.DATASET)
    assert data.head_path() == "api/datasets/org/name/revision/main"
    assert data.resolve_path(COMMIT, "x") == f"datasets/org/name/resolve/{COMMIT}/x"
    assert (model.label, data.label) == ("org/name", "datasets/org/name")


def test_a_plain_id_takes_its_options() -> None:
    spec, names = parse_reference(
        "org/name", repo_type=RepoType.SPACE, revision="v1", filenames=("a", "b")
    )
    assert spec == RepoSpec("org/name", RepoType.SPACE, "v1")
    assert names == ("a", "b")
    assert parse_reference("org/name")[0] == RepoSpec("org/name")


@pytest.mark.parametrize(
    ("text", "spec", "names"),
    [
        ("hf://org/name", RepoSpec("org/name"), ()),
        ("hf://datasets/org/name@v1", RepoSpec("org/name", RepoType.DATASET, "v1"), ()),
        ("hf://spaces/org/name/app.py", RepoSpec("org/name", RepoType.SPACE), ("app.py",)),
        ("hf://org/name/data/", RepoSpec("org/name"), ("data/",)),
        ("hf://org/name@refs/pr/1/x", RepoSpec("org/name", revision="refs/pr/1"), ("x",)),
    ],
)
def test_a_reference_says_everything_itself(
    text: str, spec: RepoSpec, names: tuple[str, ...]
) -> None:
    assert parse_reference(text) == (spec, names)


def test_filenames_may_follow_a_reference_that_names_none() -> None:
    assert parse_reference("hf://org/name", filenames=("a",))[1] == ("a",)


def test_a_reference_and_options_that_say_it_again_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="--repo-type"):
        parse_reference("hf://org/name", repo_type=RepoType.MODEL)
    with pytest.raises(UsageError, match="--revision"):
        parse_reference("hf://org/name", revision="main")
    with pytest.raises(UsageError, match="names a file") as caught:
        parse_reference("hf://org/name/a", filenames=("b",))
    assert caught.value.hint is not None


@pytest.mark.parametrize("text", ["hf://", "hf://a//b", "hf://datasets/x@", "hf://a/../../b@x"])
def test_a_reference_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_reference(text)


def test_a_bucket_is_no_repo() -> None:
    with pytest.raises(InvalidSpec, match="bucket") as caught:
        parse_reference("hf://buckets/org/name")
    assert caught.value.hint is not None


@given(st.text(max_size=40))
def test_any_reference_is_read_or_refused(text: str) -> None:
    for reference in (text, f"hf://{text}"):
        try:
            parse_reference(reference)
        except InvalidSpec:
            continue


@pytest.mark.parametrize("kind", RepoType, ids=lambda kind: kind.value)
def test_a_repo_type_is_read(kind: RepoType) -> None:
    assert parse_repo_type(kind.value) is kind


@pytest.mark.parametrize("text", ["", "models", "Model", "bucket"])
def test_what_is_no_repo_type_is_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidSpec, match="is not a repo type") as caught:
        parse_repo_type(text)
    assert caught.value.hint == "one of: model, dataset, space, kernel"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", RepoSpec("org/name")),
        ("gpt2@v1", RepoSpec("gpt2", revision="v1")),
        ("org/name@refs/pr/1", RepoSpec("org/name", revision="refs/pr/1")),
        ("datasets/org/name@v1", RepoSpec("org/name", RepoType.DATASET, "v1")),
        ("models/org/name", RepoSpec("org/name")),
        ("datasets/name", RepoSpec("name", RepoType.DATASET)),
        ("hf://spaces/org/name@main", RepoSpec("org/name", RepoType.SPACE)),
    ],
)
def test_lists_name_repos_with_type_and_revision(text: str, expected: RepoSpec) -> None:
    assert parse_pinned(text) == expected


@pytest.mark.parametrize(
    "text", ["", "org/name@", "a/b/c", "hf://org/name/config.json", "org/name@a..b/", "org/na me"]
)
def test_what_names_no_repo_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_pinned(text)
