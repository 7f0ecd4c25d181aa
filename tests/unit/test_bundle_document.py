"""What bundle.json says, and what is derived from it."""

from __future__ import annotations

import pytest

from hfaria.bundle.document import (
    NO_BASE,
    Base,
    Card,
    base_of_bundle,
    bundle_text,
    hub_texts,
    in_place_obstacle,
    plan_revisions,
    read_card,
    unsafe_counts,
)
from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.values import Bundle, FileEntry, Repo, Revision

FOLDER = "models--org--name"
COMMIT, OLD = "a" * 40, "b" * 40
LFS, PLAIN, PLAIN_NAME = "1" * 64, "2" * 64, "c" * 40


def repo(
    refs: dict[str, str] | None = None, *, is_complete: bool = True, repo_id: str = "org/name"
) -> Repo:
    files = (
        FileEntry("config.json", PLAIN_NAME, PLAIN, 5),
        FileEntry("model.safetensors", LFS, LFS, 5_000_000),
    )
    patterns = None if is_complete else {"include": ["*"], "exclude": []}
    revisions = {commit: Revision(commit, is_complete, patterns, files) for commit in (COMMIT, OLD)}
    return Repo("model", repo_id, None, False, refs or {"main": COMMIT}, revisions)


def text_of(*repos: Repo, base: Base = NO_BASE) -> bytes:
    return bundle_text(
        repos, base, created="2026-11-22T15:40:00Z", endpoint="https://hub", version="0.1.0"
    )


def bundle_of(*repos: Repo, base: Base = NO_BASE) -> Bundle:
    return parse_bundle(text_of(*repos, base=base))


def test_each_content_is_an_object_once_with_gits_name_where_it_has_one() -> None:
    bundle = bundle_of(repo())
    assert {sha256: tuple(item) for sha256, item in bundle.objects.items()} == {
        LFS: (5_000_000, None),
        PLAIN: (5, PLAIN_NAME),
    }


def test_the_day_and_the_tool_do_not_change_the_sets_id() -> None:
    other = bundle_text(
        [repo()], NO_BASE, created="2027-01-01T00:00:00Z", endpoint="https://m", version="9"
    )
    assert parse_bundle(other).set_id == bundle_of(repo()).set_id


@pytest.mark.parametrize(("size", "is_there"), [(5_000_000, True), (4_999_999, False)])
def test_what_the_target_has_counts_by_name_and_size(size: int, is_there: bool) -> None:
    bundle = bundle_of(repo(), base=Base("inventory", "x", {LFS: (size, None)}))
    assert (LFS in bundle.requires) is is_there
    assert (LFS in bundle.objects) is not is_there


def test_a_base_of_a_set_has_what_it_carried_and_what_it_needed() -> None:
    first = bundle_of(repo(), base=Base("inventory", "x", {LFS: (5_000_000, None)}))
    base = base_of_bundle(first)
    assert base.blobs == {LFS: (5_000_000, None), PLAIN_NAME: (5, "model:org/name")}
    assert bundle_of(repo(), base=base).objects == {}


def test_main_is_the_default_and_everything_is_where_there_is_no_main() -> None:
    by_commit = {r.commit: r.is_default for r in plan_revisions(bundle_of(repo()))}
    assert by_commit == {COMMIT: True, OLD: False}
    tagged = plan_revisions(bundle_of(repo({"v1": OLD})))
    assert all(revision.is_default for revision in tagged)


def test_refs_and_listings_come_with_revisions_that_are_in_place_only() -> None:
    bundle = bundle_of(repo({"main": COMMIT, "v1": OLD, "MAIN": COMMIT}))
    texts = hub_texts(bundle, [f"{FOLDER}/{COMMIT}"])
    # A filesystem that ignores case can hold one of the two names.
    refs = {path.rpartition("/")[2]: text for path, text in texts.items() if "/refs/" in path}
    assert refs == {"MAIN": COMMIT.encode()}
    assert [path for path in texts if "/trees/" in path] == [
        f"data/hub/{FOLDER}/trees/{COMMIT}.json"
    ]
    assert hub_texts(bundle, []) == {}
    filtered = hub_texts(bundle_of(repo(is_complete=False)), [f"{FOLDER}/{COMMIT}"])
    assert list(filtered) == [f"data/hub/{FOLDER}/refs/main"]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["a/aux.json"], "Windows device name"),
        (["CON"], "Windows device name"),
        (["a."], "ends in a dot or space"),
        (["b "], "ends in a dot or space"),
        (["what?"], "a character that Windows forbids"),
        (["50%.txt"], "disagree about %"),
        (["Config.json", "config.json"], "differ only in case"),
        (["A/x", "a/y"], "differ only in case"),
        (["e\u0301"], "composed form"),
        (["x" * 200], "characters, more than 240"),
        (["d/" * 80 + "f"], "characters, more than 240"),
        (["line\nbreak"], "control character"),
    ],
)
def test_names_that_keep_a_revision_out_of_place(paths: list[str], words: str) -> None:
    obstacle = in_place_obstacle(FOLDER, paths, ())
    assert obstacle is not None
    assert words in obstacle
    assert obstacle.isascii()
    assert obstacle.isprintable()


def test_folders_of_repos_that_differ_only_in_case_are_not_both_in_place() -> None:
    both = (repo(), repo(repo_id="Org/name"))
    assert in_place_obstacle("models--Org--name", ["a"], both) is None
    assert in_place_obstacle(FOLDER, ["a"], both) == (
        f"{FOLDER} and models--Org--name differ only in case"
    )


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("---\nlicense: apache-2.0\ntags: x\n---\nlicense: mit\n", Card("apache-2.0", False)),
        ("---\r\nlicense: 'mit'\r\n---\r\n", Card("mit", False)),
        ("---\nlicense: other\nlicense_name: llama3\n---\n", Card("llama3", False)),
        ("---\nlicense: other\n---\n", Card("other", False)),
        ("---\nextra_gated_prompt: agree\nlicense: x\n---\n", Card("x", True)),
        ("---\nlicense: \x1b[31mred\n---\n", Card(None, False)),
        ("license: mit\n", Card(None, False)),
        ("---\nlicense: mit\n", Card(None, False)),
        ("", Card(None, False)),
    ],
)
def test_a_card_says_its_licence_in_the_front_matter_alone(text: str, card: Card) -> None:
    assert read_card(text) == card


def test_files_that_can_run_code_are_counted_by_suffix() -> None:
    names = ["a.py", "b/C.PY", "pytorch_model.bin", "model.safetensors", "x.pkl.txt"]
    assert unsafe_counts(names) == ((".bin", 1), (".py", 2))
