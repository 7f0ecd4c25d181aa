"""Who may have what, and where the token goes: to the origin, and to nobody who was not named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopback_hub import GOOD_TOKEN, UNLICENSED_TOKEN, Behind, Fault
from support.cli import refused
from support.repos import model
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopback_hub import LoopbackHub, RepoSpec
    from support.cli import User

pytestmark = pytest.mark.aria2

CLOSED = {
    "gated": model("org/gated", gated="auto"),
    "private": model("org/private", private=True),
    "gated and private": model("org/both", gated="manual", private=True),
    "a gated dataset": model("org/data", gated="auto", repo_type="dataset"),
}
OPEN = model("org/open")


def by_variable(user: User) -> tuple[User, tuple[str, ...]]:
    return user.having(HF_TOKEN=GOOD_TOKEN), ()


def by_file(user: User) -> tuple[User, tuple[str, ...]]:
    path = user.home / "token.txt"
    path.write_text(f"{GOOD_TOKEN}\n", encoding="utf-8")
    return user, ("--token-file", str(path))


def by_login(user: User) -> tuple[User, tuple[str, ...]]:
    path = user.home / "hf" / "token"
    path.parent.mkdir()
    path.write_text(GOOD_TOKEN, encoding="utf-8")
    return user, ()


def by_flag(user: User) -> tuple[User, tuple[str, ...]]:
    return user, ("--token", GOOD_TOKEN)


def assert_token_only_at_the_origin(hub: LoopbackHub) -> None:
    assert hub.requests_with_token("origin") != ()
    assert hub.requests_with_token("mirror") == ()
    assert hub.requests_with_token("cdn") == ()
    assert [record.cookie for record in hub.records if record.cookie] == []
    assert not any(GOOD_TOKEN in record.path for record in hub.records)


@pytest.mark.parametrize("spec", CLOSED.values(), ids=CLOSED)
def test_a_closed_repo_is_pulled_with_a_token_through_a_mirror(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    hub.put_repo(spec)
    run = user.having(HF_TOKEN=GOOD_TOKEN, HF_ENDPOINT=hub.url("mirror")).pulled(
        spec.repo_id, "--repo-type", spec.repo_type
    )
    assert_holds(run.path, spec)
    assert_clean(user.cache)
    assert_token_only_at_the_origin(hub)


@pytest.mark.parametrize("given", [by_variable, by_file, by_login, by_flag])
def test_a_token_is_found_wherever_it_was_put(
    hub: LoopbackHub, user: User, given: Callable[[User], tuple[User, tuple[str, ...]]]
) -> None:
    spec = CLOSED["gated"]
    hub.put_repo(spec)
    somebody, arguments = given(user)
    run = somebody.pulled(spec.repo_id, "--endpoint", hub.url("mirror"), *arguments)
    assert_holds(run.path, spec)
    assert_token_only_at_the_origin(hub)
    assert GOOD_TOKEN not in run.stderr + run.stdout
    assert ("other users" in run.stderr) == (given is by_flag)


def test_the_engine_never_sees_the_token(hub: LoopbackHub, user: User) -> None:
    spec = CLOSED["gated"]
    hub.put_repo(spec)
    user.having(HF_TOKEN=GOOD_TOKEN).pulled(spec.repo_id)
    engine_made = [r for r in hub.records if "aria2" in (r.user_agent or "").lower()]
    assert [record for record in engine_made if record.has_token] == []
    assert_token_only_at_the_origin(hub)


def test_a_token_stays_at_home_for_an_open_repo_at_a_mirror(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(OPEN)
    somebody = user.having(HF_TOKEN=GOOD_TOKEN, HF_ENDPOINT=hub.url("mirror"))
    somebody.pulled(OPEN.repo_id, "--stale", "accept")
    assert hub.requests_with_token() == ()
    assert hub.requests(site="origin") == ()


@pytest.mark.parametrize("by", ["flag", "variable", "config"])
def test_an_endpoint_that_is_trusted_by_name_gets_the_token(
    hub: LoopbackHub, user: User, by: str
) -> None:
    hub.put_repo(OPEN)
    mirror = hub.url("mirror")
    somebody = user.having(HF_TOKEN=GOOD_TOKEN, HF_ENDPOINT=mirror)
    arguments = ("--trust-endpoint", mirror) if by == "flag" else ()
    if by == "variable":
        somebody = somebody.having(HFARIA_TRUSTED_ENDPOINTS=mirror)
    if by == "config":
        path = user.home / "config.toml"
        path.write_text(f'trusted_endpoints = ["{mirror}"]\n', encoding="utf-8")
        somebody = somebody.having(HFARIA_CONFIG=str(path))
    assert_holds(somebody.pulled(OPEN.repo_id, *arguments).path, OPEN)
    assert hub.requests_with_token("mirror") != ()
    assert hub.requests_with_token("cdn") == ()


@pytest.mark.parametrize("spec", [OPEN, model("org/open", repo_type="dataset")])
def test_a_bad_token_does_not_keep_from_a_public_repo(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    hub.put_repo(spec)
    run = user.having(HF_TOKEN="hf_expired").pulled(spec.repo_id, "--repo-type", spec.repo_type)
    assert_holds(run.path, spec)
    assert run.stderr.count("warning: the token is not accepted") == 1
    assert "hf_expired" not in run.stderr


# --- refusals: which of missing, private, gated, bad token, no licence, and what to do ------------

REFUSALS: dict[str, tuple[str, dict[str, str], tuple[str, ...], tuple[str, ...]]] = {
    "gated, no token": ("org/gated", {}, ("gated", "needs a token"), ("licence", "hf auth login")),
    "gated, no licence": (
        "org/gated",
        {"HF_TOKEN": UNLICENSED_TOKEN},
        ("gated", "no access"),
        ("accept its licence",),
    ),
    "gated, bad token": ("org/gated", {"HF_TOKEN": "hf_bad"}, ("gated",), ()),
    "private, no token": (
        "org/private",
        {},
        ("missing, private or gated",),
        ("spelling", "hf auth login"),
    ),
    "private, another's token": (
        "org/private",
        {"HF_TOKEN": UNLICENSED_TOKEN},
        ("your token may see",),
        ("private",),
    ),
    "private, bad token": (
        "org/private",
        {"HF_TOKEN": "hf_bad"},
        ("missing, private or gated",),
        ("hf auth login",),
    ),
    "missing, no token": ("org/none", {}, ("org/none", "missing"), ("spelling", "--repo-type")),
    "missing, good token": (
        "org/none",
        {"HF_TOKEN": GOOD_TOKEN},
        ("your token may see",),
        ("spelling",),
    ),
}


@pytest.mark.parametrize("at", ["origin", "mirror"])
@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_is_possible_and_what_to_do(
    hub: LoopbackHub, user: User, case: str, at: str
) -> None:
    repo_id, settings, said, hinted = REFUSALS[case]
    hub.put_repo(CLOSED["gated"])
    hub.put_repo(CLOSED["private"])
    run = user.having(**settings, HF_ENDPOINT=hub.url(at)).pull(repo_id)
    error = refused(run, 5)
    if at == "origin":
        assert all(word in error for word in said), run.stderr
        assert all(word in run.hint for word in hinted), run.stderr
    assert repo_id in error
    assert run.hint
    assert "None" not in run.stderr
    assert hub.requests_with_token("mirror") == ()
    assert hub.file_bytes_sent() == 0
    assert list(user.cache.glob("*--*")) == []


def test_a_licence_that_is_missing_is_said_with_the_page_to_accept_it(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(CLOSED["a gated dataset"])
    run = user.having(HF_TOKEN=UNLICENSED_TOKEN).pull("org/data", "--repo-type", "dataset")
    refused(run, 5)
    assert f"{hub.url('origin')}/datasets/org/data" in run.hint


def test_a_mirror_s_refusal_is_not_taken_for_the_hub_s(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(CLOSED["private"])
    run = user.having(HF_ENDPOINT=hub.url("mirror")).pull("org/private", "--no-origin")
    refused(run, 5)
    assert hub.url("origin").removeprefix("http://") in run.hint


def test_a_missing_revision_is_told_from_a_missing_repo(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(OPEN)
    run = user.pull(OPEN.repo_id, "--revision", "v9")
    assert "no revision `v9`" in refused(run, 5)
    assert "mirror may be behind" in run.hint


def test_a_mirror_that_is_behind_lacks_the_revision(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(OPEN)
    hub.faults.add(Fault(Behind(1), site="mirror"))
    run = user.having(HF_ENDPOINT=hub.url("mirror")).pull(
        OPEN.repo_id, "--revision", OPEN.commit_id, "--no-origin"
    )
    assert "no revision" in refused(run, 5)


@pytest.mark.parametrize("name", ["nope.bin", "nope/", "*.nope"])
def test_a_missing_file_is_named(hub: LoopbackHub, user: User, name: str) -> None:
    hub.put_repo(OPEN)
    run = user.pull(OPEN.repo_id, name)
    assert f"`{name}` is not in the repo" in refused(run, 5)
    assert run.hint
    assert hub.file_bytes_sent() == 0


@pytest.mark.parametrize("at", ["origin", "mirror"])
def test_a_disabled_repo_is_said_to_be(hub: LoopbackHub, user: User, at: str) -> None:
    import dataclasses  # noqa: PLC0415

    hub.put_repo(dataclasses.replace(OPEN, disabled=True))
    run = user.having(HF_ENDPOINT=hub.url(at)).pull(OPEN.repo_id)
    assert "disabled" in refused(run, 5)
    assert "token" not in run.stderr


def test_a_closed_repo_resumes_and_is_complete_by_commit_without_a_token(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    spec = CLOSED["gated"]
    hub.put_repo(spec)
    user.having(HF_TOKEN=GOOD_TOKEN).pulled(spec.repo_id)
    hub.reset_records()
    run = user.pulled(spec.repo_id, "--revision", spec.commit_id)
    assert_holds(run.path, spec)
    assert hub.records == ()
