"""Several endpoints: who is preferred, who is passed over, who is behind, who contradicts whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from loopback_hub import (
    GOOD_TOKEN,
    AlterListing,
    Behind,
    Fault,
    Generated,
    Hangup,
    Lacks,
    Portal,
    RedirectTo,
    Refuse,
    Replace,
    Stall,
    Status,
    many_small_files,
    repo,
)
from loopback_hub.repos import stored_file
from support.cli import refused
from support.repos import WEIGHTS, model
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub, RepoSpec
    from loopback_hub.effects import Effect
    from support.cli import User

pytestmark = pytest.mark.aria2

SPEC = model()
SHARD, NEW_SHARD = Generated(21, 5_000_000), Generated(22, 5_000_000)
SMALL, NEW_SMALL = Generated(23, 30_000), Generated(24, 30_000)
GROWN = repo(
    "org/grown",
    {"config.json": b"{}", "a.safetensors": SHARD, "small.bin": SMALL},
    {
        "config.json": b'{"new": 1}',
        "a.safetensors": SHARD,
        "b.safetensors": NEW_SHARD,
        "moved/small.bin": SMALL,
        "new.bin": NEW_SMALL,
    },
)
"""A repo whose newest commit added a shard and moved a file."""


def notes(text: str, beginning: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(beginning)]


def hosts(hub: LoopbackHub, *sites: str) -> list[str]:
    return [hub.url(site).partition("://")[2] for site in sites]


def sites_of(hub: LoopbackHub, content: Generated) -> set[str]:
    """Return the sites that sent bytes of a content."""
    sent = [r for r in hub.requests(blob=content.sha256) if r.status in {200, 206}]
    return {record.site for record in sent if record.bytes_sent > 1}


def delivered(hub: LoopbackHub, site: str) -> int:
    """Count the bytes of files that a site sent, its refusals and pages left out."""
    files = [r for r in hub.requests(site=site) if r.blob and r.status in {200, 206}]
    return sum(r.bytes_sent for r in files if "Portal" not in r.faults)


# --- passing over --------------------------------------------------------------------------------


UNFIT: dict[str, Effect] = {
    "down": Refuse(),
    "silent": Hangup(),
    "failing": Status(503),
    "limited": Status(429, retry_after=100),
    "a portal": Portal(),
    "leads away": RedirectTo("cdn"),
    "lacks the repo": Lacks(repos=(SPEC.repo_id,)),
    "denies": Status(403),
}


@pytest.mark.parametrize("effect", UNFIT.values(), ids=UNFIT)
def test_an_endpoint_that_can_t_be_used_is_passed_over_with_one_line(
    hub: LoopbackHub, user: User, effect: Effect
) -> None:
    hub.put_repo(SPEC)
    other = hub.add_mirror("other", prefix="/hf")
    hub.faults.add(Fault(effect, site="mirror"))
    run = user.having(HFARIA_ENDPOINTS=f"{hub.url('mirror')} {other}").pulled(SPEC.repo_id)
    assert_holds(run.path, SPEC)
    (line,) = notes(run.stderr, "passed over: ")
    assert hosts(hub, "mirror")[0] in line
    assert sites_of(hub, WEIGHTS) == {"other"}
    assert delivered(hub, "mirror") == 0


def test_the_first_in_order_that_has_it_gives_the_bytes(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    other = hub.add_mirror("other")
    run = user.pulled(SPEC.repo_id, "--endpoint", hub.url("mirror"), "--endpoint", other, "--json")
    assert run.document["endpoints"][0] == hub.url("mirror")
    assert hub.file_bytes_sent(site="origin") == 0  # nobody named it: the last resort
    assert hub.file_bytes_sent(site="cdn") == 0


def test_a_name_that_nobody_knows_is_told_at_once(hub: LoopbackHub, user: User) -> None:
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pull("org/none")
    assert "no public model `org/none`" in refused(run, 5)
    assert hosts(hub, "origin")[0] in run.error
    assert "waiting" not in run.stderr


def test_a_refusal_is_told_though_others_could_not_be_asked(hub: LoopbackHub, user: User) -> None:
    hub.faults.add(Fault(Refuse(), site="origin"))
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pull("org/none")
    error = refused(run, 5)
    assert all(host in error for host in hosts(hub, "mirror", "origin"))
    assert "can't be reached" in error
    assert "waiting" not in run.stderr


def test_a_repo_that_only_a_mirror_has_is_pulled_with_a_warning(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Lacks(repos=(SPEC.repo_id,)), site="origin"))
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pulled(SPEC.repo_id)
    assert_holds(run.path, SPEC)
    (line,) = notes(run.stderr, "warning: ")
    assert hosts(hub, "origin")[0] in line


def test_a_repo_that_the_origin_disabled_is_not_pulled_from_a_mirror(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    denial = Status(403, message="Access to this resource is disabled.")
    hub.faults.add(Fault(denial, site="origin"))
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pull(SPEC.repo_id)
    assert "disabled" in refused(run, 5)
    assert hub.file_bytes_sent() == 0


# --- outages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", [Status(503), Hangup()])
def test_a_total_outage_at_the_start_is_waited_out(
    hub: LoopbackHub, user: User, effect: Effect
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(*(Fault(effect, site=s, kind="info", first=5) for s in ("origin", "mirror")))
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pulled(SPEC.repo_id)
    assert_holds(run.path, SPEC)
    (line,) = notes(run.stderr, "waiting for up to 30 min: ")
    assert all(host in line for host in hosts(hub, "mirror", "origin"))


def test_an_outage_of_the_listing_is_waited_out_too(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Status(503), kind="tree", first=3))
    assert_holds(user.pulled(SPEC.repo_id).path, SPEC)


def test_an_outage_ends_with_patience_and_says_who_said_what(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Refuse()))
    somebody = user.having(HFARIA_ENDPOINTS=hub.url("mirror"), HFARIA_PATIENCE="1s")
    error = refused(somebody.pull(SPEC.repo_id), 5)
    assert all(host in error for host in hosts(hub, "mirror", "origin"))


def test_an_origin_that_keeps_silent_delays_a_pull_only_a_little(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Stall(25.0), site="origin"))
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pulled(SPEC.repo_id, "--json")
    assert run.seconds < 20
    (line,) = notes(run.stderr, "passed over: ")
    assert "has not answered" in line
    assert run.document["listing_trust"] == "mirror"


def test_an_origin_that_stalls_at_its_listing_does_not_delay_much_either(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Stall(25.0), site="origin", kind="tree"))
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pulled(SPEC.repo_id, "--json")
    assert run.seconds < 20
    assert run.document["listing_trust"] == "mirror"


def test_a_mirror_that_is_back_is_not_kept_from_by_an_origin_that_keeps_silent(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(
        Fault(Stall(60.0), site="origin"), Fault(Status(503), site="mirror", kind="info", first=3)
    )
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pulled(SPEC.repo_id)
    assert_holds(run.path, SPEC)
    assert run.seconds < 50


def test_a_mirror_that_is_back_lists_what_the_origin_does_not_any_more(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(
        Fault(Status(503), site="origin", kind="tree"),
        Fault(Status(503), site="mirror", kind="info"),
    )
    somebody = user.having(HFARIA_ENDPOINTS=hub.url("mirror"), HFARIA_PATIENCE="60s")
    run = somebody.pulled(SPEC.repo_id, "--json")
    assert run.document["listing_trust"] == "mirror"


# --- behind --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/hugging-face"])
def test_a_mirror_that_is_behind_gives_what_it_has_of_the_newest_commit(
    hub: LoopbackHub, user: User, prefix: str
) -> None:
    hub.put_repo(GROWN)
    mirror = hub.add_mirror("old", prefix=prefix)
    hub.faults.add(Fault(Behind(1), site="old"))
    run = user.pulled(GROWN.repo_id, "--endpoint", mirror)
    assert run.path.name == GROWN.commit_id
    assert_holds(run.path, GROWN)
    assert_clean(user.cache)
    (line,) = notes(run.stderr, hosts(hub, "old")[0].partition("/")[0] + " is ")
    assert "1 commit (6 h) behind" in line
    assert sites_of(hub, SHARD) == sites_of(hub, SMALL) == {"old"}
    assert "old" not in sites_of(hub, NEW_SHARD) | sites_of(hub, NEW_SMALL)


def test_a_pull_by_commit_uses_a_mirror_that_is_behind_too(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(GROWN)
    hub.faults.add(Fault(Behind(1), site="mirror"))
    run = user.pulled(GROWN.repo_id, "--revision", GROWN.commit_id, "--endpoint", hub.url("mirror"))
    assert_holds(run.path, GROWN)
    assert sites_of(hub, SHARD) == {"mirror"}


def test_a_mirror_that_only_keeps_an_old_branch_is_used_for_all(
    hub: LoopbackHub, user: User
) -> None:
    """A proxy with a cache answers about the branch as it was, and passes the commit through."""
    hub.put_repo(GROWN)
    old = {"sha": GROWN.commits[0].commit_id, "gated": False, "private": False}
    stale = Replace(json.dumps(old))
    hub.faults.add(Fault(stale, site="mirror", kind="info", path="*/revision/main"))
    run = user.pulled(GROWN.repo_id, "--endpoint", hub.url("mirror"))
    assert_holds(run.path, GROWN)
    assert hub.file_bytes_sent(site="mirror") == hub.file_bytes_sent()


def test_stale_accept_takes_the_mirror_s_commit_and_asks_nobody_else(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(GROWN)
    hub.faults.add(Fault(Behind(1), site="mirror"))
    run = user.pulled(GROWN.repo_id, "--endpoint", hub.url("mirror"), "--stale", "accept")
    assert run.path.name == GROWN.commits[0].commit_id
    assert {record.site for record in hub.records} == {"mirror"}


def test_stale_accept_goes_on_to_the_next_if_the_first_can_t_be_used(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Portal(), site="mirror"))
    run = user.pulled(SPEC.repo_id, "--endpoint", hub.url("mirror"), "--stale", "accept")
    assert_holds(run.path, SPEC)
    assert len(notes(run.stderr, "passed over: ")) == 1


def test_stale_fail_ends_when_the_first_is_behind(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(GROWN)
    behind = Fault(Behind(1), site="mirror")
    hub.faults.add(behind)
    somebody = user.having(HFARIA_ENDPOINTS=hub.url("mirror"), HFARIA_STALE="fail")
    run = somebody.pull(GROWN.repo_id)
    assert "1 commit (6 h) behind" in refused(run, 5)
    assert "--stale accept" in run.hint
    assert hub.file_bytes_sent() == 0
    hub.faults.remove(behind)
    assert_holds(somebody.pulled(GROWN.repo_id).path, GROWN)


def test_stale_fail_ends_when_nobody_can_tell(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Refuse(), site="origin"))
    run = user.pull(SPEC.repo_id, "--endpoint", hub.url("mirror"), "--stale", "fail")
    assert "nobody can tell" in refused(run, 5)


def test_stale_origin_takes_the_origin_s_word_or_ends(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(GROWN)
    hub.faults.add(Fault(Behind(1), site="mirror"))
    somebody = user.having(HFARIA_ENDPOINTS=hub.url("mirror"), HFARIA_STALE="origin")
    assert_holds(somebody.pulled(GROWN.repo_id).path, GROWN)
    outage = Fault(Refuse(), site="origin")
    hub.faults.add(outage)
    error = refused(somebody.pull(GROWN.repo_id), 5)
    assert "wants the origin's word" in error
    assert "can't be reached" in error


def test_without_the_origin_the_newest_of_the_mirrors_is_pulled(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(GROWN)
    other = hub.add_mirror("other")
    hub.faults.add(Fault(Behind(1), site="mirror"))
    somebody = user.having(HFARIA_ENDPOINTS=f"{hub.url('mirror')} {other}")
    run = somebody.pulled(GROWN.repo_id, "--no-origin")
    assert_holds(run.path, GROWN)
    assert hub.requests(site="origin") == ()
    assert sites_of(hub, SHARD) == {"mirror"}


# --- listings of one commit ----------------------------------------------------------------------


def altered_lfs(path: str, content: Generated) -> AlterListing:
    """Make an entry that is true in itself, of another content."""
    entry = stored_file(path, content)
    lfs = {
        "oid": content.sha256,
        "size": content.size,
        "pointerSize": len(entry.lfs_pointer or b""),
    }
    fields = {"oid": entry.git_oid, "size": content.size, "lfs": lfs}
    texts = tuple((name, json.dumps(value)) for name, value in fields.items())
    return AlterListing(path, field_name="fields", fields=texts)


CONTRADICTIONS: dict[str, AlterListing] = {
    "another oid": AlterListing(
        "vocab.txt", field_name="fields", fields=(("oid", f'"{"a" * 40}"'),)
    ),
    "another LFS content": altered_lfs("model.safetensors", Generated(99, 5_000_000)),
    "another size": AlterListing("vocab.txt", field_name="fields", fields=(("size", "3"),)),
    "another path": AlterListing("vocab.txt", field_name="path", value="evil.py"),
}


@pytest.mark.parametrize("by_commit", [False, True])
@pytest.mark.parametrize("effect", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_two_that_disagree_about_one_commit_end_it_before_any_byte(
    hub: LoopbackHub, user: User, effect: AlterListing, by_commit: bool
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(effect, site="mirror", kind="tree"))
    pinned = ("--revision", SPEC.commit_id) if by_commit else ()
    run = user.pull(SPEC.repo_id, "--endpoint", hub.url("mirror"), *pinned)
    error = refused(run, 4)
    assert all(host in error for host in hosts(hub, "mirror", "origin"))
    assert effect.path in error or "evil.py" in error
    assert SPEC.commit_id[:12] in error
    assert hub.file_bytes_sent() == 0
    assert not user.cache.exists()


def test_a_mirror_s_listing_that_lacks_files_gives_way_to_the_fuller_one(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Lacks(paths=("onnx/small.onnx", "vocab.txt")), site="mirror"))
    run = user.pulled(SPEC.repo_id, "--endpoint", hub.url("mirror"))
    assert_holds(run.path, SPEC)
    (line,) = [each for each in run.stderr.splitlines() if "leaves out" in each]
    assert "leaves out 2 of 6 files" in line
    weights = SPEC.head.by_path["model.safetensors"].blob_name
    assert {r.site for r in hub.requests(blob=weights) if r.bytes_sent} == {"mirror"}
    asked = [r for r in hub.requests(site="mirror") if "vocab.txt" in r.path]
    assert asked == []  # what it does not list, it is not asked for


def test_what_a_listing_is_worth_is_in_the_receipt(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    mirror, other = hub.url("mirror"), hub.add_mirror("other")
    for endpoints, flags, trust, listed_by in (
        ([mirror], [], "origin", hub.url("origin")),
        ([mirror, other], ["--no-origin"], "agreed", mirror),
        ([mirror], ["--no-origin"], "mirror", mirror),
    ):
        somebody = user.having(HFARIA_ENDPOINTS=" ".join(endpoints))
        arguments = (SPEC.repo_id, "--json", "--dest", str(user.home / trust), *flags)
        document = somebody.pulled(*arguments).document
        assert (document["listing_trust"], document["listing_endpoint"]) == (trust, listed_by)
        again = somebody.pulled(*arguments).document
        kept = ("stored", None) if flags else (trust, listed_by)  # the origin is asked each time
        assert (again["listing_trust"], again["listing_endpoint"]) == kept


FILTERED = ("onnx/small.onnx", "vocab.txt")


@pytest.mark.parametrize("pinned", [False, True])
def test_what_a_mirror_left_out_is_made_up_for_once_the_origin_answers(
    hub: LoopbackHub, user: User, pinned: bool
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Lacks(paths=FILTERED), site="mirror"), Fault(Refuse(), site="origin"))
    somebody = user.having(HFARIA_ENDPOINTS=hub.url("mirror"))
    path = somebody.pulled(SPEC.repo_id).path
    assert not (path / "vocab.txt").exists()
    hub.faults.clear()
    hub.faults.add(Fault(Lacks(paths=FILTERED), site="mirror"))
    revision = ("--revision", SPEC.commit_id) if pinned else ()
    run = somebody.pulled(SPEC.repo_id, "--force-download", *revision)
    assert_holds(run.path, SPEC)
    assert "kept from earlier" in run.stderr


def test_a_listing_that_was_altered_is_replaced_once_the_origin_answers(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    lie = altered_lfs("model.safetensors", Generated(99, 5_000_000))
    hub.faults.add(Fault(lie, site="mirror", kind="tree"), Fault(Refuse(), site="origin"))
    somebody = user.having(HFARIA_ENDPOINTS=hub.url("mirror"), HFARIA_PATIENCE="1s")
    assert somebody.pull(SPEC.repo_id).code in {3, 4}  # its bytes are not those that it lists
    hub.faults.clear()
    run = somebody.pulled(SPEC.repo_id)
    assert_holds(run.path, SPEC)
    assert "warning: the listing kept from earlier" in run.stderr


# --- the token -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [model("org/gated", gated="auto"), model("org/x", private=True)])
def test_what_needs_the_token_says_so_when_the_origin_is_out_of_reach(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    hub.put_repo(spec)
    somebody = user.having(HF_TOKEN=GOOD_TOKEN, HFARIA_ENDPOINTS=hub.url("mirror"))
    run = somebody.pull(spec.repo_id, "--no-origin")
    refused(run, 5)
    assert "--no-origin" in run.error + run.hint
    hub.faults.add(Fault(Refuse(), site="origin"))
    run = somebody.pull(spec.repo_id)
    assert f"{hosts(hub, 'origin')[0]} can't be reached" in refused(run, 5)
    assert hosts(hub, "origin")[0] in run.hint or "reach the origin" in run.hint
    assert hub.requests_with_token() == ()


# --- ModelScope ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lfs_from", ["self", "cdn"])
@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_modelscope_gives_the_bytes_whose_digests_it_shares(
    hub: LoopbackHub, user: User, repo_type: str, lfs_from: str
) -> None:
    spec = model(repo_type=repo_type)  # type: ignore[arg-type]
    hub.put_repo(spec)
    scope = hub.add_mirror("scope", role="modelscope", lfs_from=lfs_from, prefix="/ms")
    run = user.having(HF_TOKEN=GOOD_TOKEN).pulled(
        spec.repo_id, "--repo-type", repo_type, "--endpoint", f"modelscope+{scope}"
    )
    assert_holds(run.path, spec)
    weights = spec.head.by_path["model.safetensors"].blob_name
    served_by = {"scope"} if lfs_from == "self" else {"cdn"}
    assert {r.site for r in hub.requests(blob=weights) if r.bytes_sent > 1} == served_by
    assert [r for r in hub.requests(site="origin") if "model.safetensors" in r.path] == []
    assert hub.requests_with_token("scope") == ()
    assert {r.download_counter for r in hub.requests(site="scope")} == {None}


def test_modelscope_is_not_asked_for_what_differs_there(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(GROWN)
    scope = hub.add_mirror("scope", role="modelscope")
    hub.faults.add(Fault(Behind(1), site="scope"))
    run = user.pulled(GROWN.repo_id, "--endpoint", f"modelscope+{scope}")
    assert_holds(run.path, GROWN)
    assert sites_of(hub, SHARD) == {"scope"}
    assert "scope" not in sites_of(hub, NEW_SHARD)


def test_all_pages_of_modelscope_s_datasets_are_read(hub: LoopbackHub, user: User) -> None:
    files = {f"data/{number:03}.parquet": Generated(number + 1, 1000) for number in range(250)}
    spec = repo("org/many", files, repo_type="dataset")
    hub.put_repo(spec)
    scope = hub.add_mirror("scope", role="modelscope")
    run = user.pulled(spec.repo_id, "--repo-type", "dataset", "--endpoint", f"modelscope+{scope}")
    assert_holds(run.path, spec)
    assert hub.file_bytes_sent(site="scope") == 250_000


@pytest.mark.parametrize(
    "effect", [Portal(), Status(500), Lacks(repos=(SPEC.repo_id,)), Refuse(), Hangup()]
)
def test_a_modelscope_that_can_t_be_used_costs_one_line(
    hub: LoopbackHub, user: User, effect: Effect
) -> None:
    hub.put_repo(SPEC)
    scope = hub.add_mirror("scope", role="modelscope")
    hub.faults.add(Fault(effect, site="scope"))
    run = user.pulled(SPEC.repo_id, "--endpoint", f"modelscope+{scope}")
    assert_holds(run.path, SPEC)
    assert len(notes(run.stderr, f"no bytes from {hosts(hub, 'scope')[0]}: ")) == 1


def test_small_files_alone_come_from_the_hub(hub: LoopbackHub, user: User) -> None:
    spec = many_small_files("org/texts", 5, 100)
    hub.put_repo(spec)
    scope = hub.add_mirror("scope", role="modelscope")
    run = user.pulled(spec.repo_id, "--endpoint", f"modelscope+{scope}")
    assert_holds(run.path, spec)
    assert hub.file_bytes_sent(site="scope") == 0
