"""What a bundle is asked to carry: by name, by a manifest, by a lock."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from hfaria.errors import UsageError
from hfaria.rules.carried import (
    CarriedRepo,
    joined,
    of_lock,
    of_manifest,
    patterns_of,
    request_name,
)
from hfaria.rules.lock import Lock, LockedRepo
from hfaria.rules.manifest import WantedRepo
from hfaria.rules.selection import Selection
from hfaria.rules.spec import RepoSpec

SPEC = RepoSpec("org/name")
COMMIT = "a" * 40
LOCKED = LockedRepo(
    SPEC,
    COMMIT,
    f"sha256:{'0' * 64}",
    files=1,
    size=2,
    endpoint="https://huggingface.co",
    locked_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
    include=("*.json",),
    variant="Q4",
)


def test_a_lock_is_taken_as_it_is() -> None:
    (carried,) = of_lock(Lock((LOCKED,)))
    assert carried.commit_hash == COMMIT
    assert carried.locked is LOCKED
    assert carried.selection == Selection(("*.json",), variant="Q4")


def test_a_manifest_holds_to_the_lock_what_was_locked_and_no_more() -> None:
    exact = WantedRepo(SPEC, ("*.json",), variant="Q4")
    other = WantedRepo(SPEC, ("*.txt",))
    new = WantedRepo(RepoSpec("org/new"), endpoints=("hf-mirror",))
    lock = Lock((LOCKED,))
    assert [(repo.commit_hash, repo.locked) for repo in of_manifest([exact], lock)] == [
        (COMMIT, LOCKED)
    ]
    assert [(repo.commit_hash, repo.locked) for repo in of_manifest([other, new], lock)] == [
        (COMMIT, None),
        (None, None),
    ]
    assert of_manifest([new], lock)[0].endpoints == ("hf-mirror",)


def test_what_is_named_twice_is_carried_once_and_held_to_the_list() -> None:
    listed = CarriedRepo(SPEC, commit_hash=COMMIT)
    named = CarriedRepo(SPEC)
    tagged = CarriedRepo(RepoSpec("org/name", revision="v1"))
    assert joined([named, tagged], [listed], listed_in="x.lock") == (listed, tagged)


def test_two_selections_of_one_revision_are_refused() -> None:
    listed = CarriedRepo(SPEC, Selection(("*.json",)))
    with pytest.raises(UsageError, match=r"`org/name` is named, and `x\.lock` selects other files"):
        joined([CarriedRepo(SPEC)], [listed], listed_in="x.lock")


def test_a_request_is_known_again_in_any_order_and_by_nothing_less() -> None:
    one, two = CarriedRepo(SPEC), CarriedRepo(RepoSpec("org/other"), Selection(("*.json",)))

    def name(*repos: CarriedRepo) -> str:
        return request_name(repos, base_kind="none", base_id=None)

    assert name(one, two) == name(two, one)
    others = [
        CarriedRepo(SPEC, commit_hash=COMMIT),
        CarriedRepo(SPEC, Selection(("*.json",))),
        CarriedRepo(SPEC, Selection(exclude=("*.json",))),
        CarriedRepo(SPEC, Selection(variant="Q4")),
        CarriedRepo(RepoSpec("org/name", revision="v1")),
    ]
    assert len({name(each) for each in (one, *others)}) == 1 + len(others)


def test_patterns_stay_and_what_they_cannot_say_is_spelled_path_by_path() -> None:
    plain = Selection(("*.json",), ("x*",))
    assert patterns_of([plain], ["b.json"]) == {"include": ["*.json"], "exclude": ["x*"]}
    paths = ["b.gguf", "a[1]*?.txt"]
    spelled = {"include": ["a[[]1][*][?].txt", "b.gguf"], "exclude": []}
    assert patterns_of([Selection(variant="Q4")], paths) == spelled
    assert patterns_of([plain, Selection(("*.txt",))], paths) == spelled
