from __future__ import annotations

import pytest

from hfaria.errors import UsageError
from hfaria.rules.document import KeyFault
from hfaria.rules.manifest import WantedRepo, read_manifest
from hfaria.rules.spec import RepoSpec, RepoType


def fault_of(document: dict[str, object]) -> KeyFault:
    with pytest.raises(KeyFault) as caught:
        read_manifest(document)
    return caught.value


def test_a_repo_needs_an_id_alone() -> None:
    manifest = read_manifest({"repo": [{"id": "org/model"}]})
    assert manifest.repos == (WantedRepo(RepoSpec("org/model")),)


def test_every_key_of_a_repo_is_read() -> None:
    manifest = read_manifest(
        {
            "repo": [
                {
                    "id": "org/data",
                    "type": "dataset",
                    "revision": "v1",
                    "include": ["*.parquet"],
                    "exclude": ["test/*"],
                    "variant": "Q4_K_M",
                    "priority": 3,
                    "groups": ["train"],
                    "endpoints": ["hf-mirror", "origin"],
                }
            ]
        }
    )
    assert manifest.repos == (
        WantedRepo(
            RepoSpec("org/data", RepoType.DATASET, "v1"),
            include=("*.parquet",),
            exclude=("test/*",),
            variant="Q4_K_M",
            priority=3,
            groups=("train",),
            endpoints=("hf-mirror", "origin"),
        ),
    )


def test_a_repo_says_it_itself_where_defaults_say_otherwise() -> None:
    defaults = {"revision": "v1", "exclude": ["*.bin"], "priority": 5, "endpoint": "hf-mirror"}
    manifest = read_manifest(
        {
            "defaults": defaults,
            "repo": [
                {"id": "org/a"},
                {"id": "org/b", "revision": "v2", "exclude": [], "priority": 0, "endpoints": ["x"]},
            ],
        }
    )
    assert manifest.repos == (
        WantedRepo(
            RepoSpec("org/a", revision="v1"),
            exclude=("*.bin",),
            priority=5,
            endpoints=("hf-mirror",),
        ),
        WantedRepo(RepoSpec("org/b", revision="v2"), endpoints=("x",)),
    )


def test_a_reference_says_type_and_revision() -> None:
    manifest = read_manifest({"repo": [{"id": "hf://datasets/org/data@v1"}]})
    assert manifest.repos[0].spec == RepoSpec("org/data", RepoType.DATASET, "v1")


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        ({"repos": []}, ("repos",), "is not a key that is known here"),
        ({"repo": {"id": "a/b"}}, ("repo",), "[[repo]]"),
        ({"repo": [{}]}, ("repo", 0), "has no `id`"),
        ({"repo": [{"id": "a/b"}, {"id": 3}]}, ("repo", 1, "id"), "must be a text"),
        ({"repo": [{"id": "a b"}]}, ("repo", 0, "id"), "is not a repo id"),
        ({"repo": [{"id": "a/b", "type": "modell"}]}, ("repo", 0, "type"), "is not a repo type"),
        ({"repo": [{"id": "a/b", "revision": "a..b/.."}]}, ("repo", 0, "revision"), "revision"),
        ({"repo": [{"id": "a/b", "priority": "1"}]}, ("repo", 0, "priority"), "whole number"),
        ({"repo": [{"id": "a/b", "priority": True}]}, ("repo", 0, "priority"), "whole number"),
        ({"repo": [{"id": "a/b", "include": "*"}]}, ("repo", 0, "include"), "array of texts"),
        ({"repo": [{"id": "a/b", "include": [""]}]}, ("repo", 0, "include"), "no empty one"),
        ({"repo": [{"id": "a/b", "inculde": ["*"]}]}, ("repo", 0, "inculde"), "not a key"),
        ({"repo": [{"id": "a/b"}, {"id": "a/b"}]}, ("repo", 1, "id"), "there twice"),
        (
            {"repo": [{"id": "a/b", "endpoint": "x", "endpoints": ["y"]}]},
            ("repo", 0, "endpoint"),
            "keep one",
        ),
        ({"defaults": {"id": "a/b"}}, ("defaults", "id"), "is not a key"),
        ({"defaults": {"type": "x"}, "repo": [{"id": "a/b"}]}, ("defaults", "type"), "repo type"),
        ({"repo": [{"id": "hf://a/b", "type": "model"}]}, ("repo", 0, "type"), "reference"),
        ({"repo": [{"id": "hf://a/b/c.txt"}]}, ("repo", 0, "id"), "names a file"),
        ({"repo": [{"id": "hf://a/b/c/d@e@f"}]}, ("repo", 0, "id"), ""),
    ],
)
def test_a_fault_names_its_key(
    document: dict[str, object], path: tuple[str | int, ...], said: str
) -> None:
    fault = fault_of(document)
    assert fault.path == path
    assert said in fault.message


def test_a_misspelt_key_is_told_what_it_may_mean() -> None:
    assert fault_of({"repo": [{"id": "a/b", "revison": "x"}]}).hint == "did you mean `revision`?"


def test_the_most_urgent_come_first_and_equals_stay_in_order() -> None:
    manifest = read_manifest(
        {
            "repo": [
                {"id": "org/a"},
                {"id": "org/b", "priority": 1},
                {"id": "org/c", "priority": -1},
                {"id": "org/d", "priority": 1},
            ]
        }
    )
    assert [repo.spec.repo_id for repo in manifest.in_groups(())] == [
        "org/b",
        "org/d",
        "org/a",
        "org/c",
    ]


def test_groups_choose_and_an_unknown_one_is_told() -> None:
    manifest = read_manifest(
        {
            "repo": [
                {"id": "org/a", "groups": ["serve", "test"]},
                {"id": "org/b", "groups": ["train"]},
                {"id": "org/c"},
            ]
        }
    )
    assert [repo.spec.repo_id for repo in manifest.in_groups(["test"])] == ["org/a"]
    assert len(manifest.in_groups(["test", "train"])) == 2
    with pytest.raises(UsageError, match="group `tests`") as caught:
        manifest.in_groups(["tests"])
    assert caught.value.hint == "groups: serve, test, train"


@pytest.mark.parametrize(
    "name", ["org/data", "datasets/org/data", "hf://datasets/org/data", "org/data@v1"]
)
def test_a_repo_is_found_by_what_users_call_it(name: str) -> None:
    manifest = read_manifest(
        {"repo": [{"id": "org/model"}, {"id": "org/data", "type": "dataset", "revision": "v1"}]}
    )
    assert [repo.spec.repo_id for repo in manifest.named(name)] == ["org/data"]
