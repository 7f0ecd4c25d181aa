"""`hfaria mirrors`: what each kind of endpoint is found to be, and what is said about it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from loopback_hub import (
    GOOD_TOKEN,
    Behind,
    Close,
    Fault,
    Generated,
    Hangup,
    Headers,
    HubConfig,
    IgnoreRange,
    Lacks,
    LoopbackHub,
    NextLink,
    Portal,
    RateLimit,
    RedirectTo,
    Refuse,
    Replace,
    Shape,
    Stall,
    Status,
    WrongBytes,
    repo,
)
from loopback_hub.config import DEFAULT_SITES, SiteSpec
from support.cli import refused, user_of
from support.raw_server import RawServer
from support.repos import model
from support.terminal import assert_fits, shown_on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopback_hub.effects import Effect
    from support.cli import User

LARGE = 6_000_000
SPEC = repo(
    "org/model",
    {"config.json": b"1"},
    {"config.json": b"2", "model.safetensors": Generated(1, LARGE)},
    {"config.json": b"3", "model.safetensors": Generated(1, LARGE)},
)
DEAD = "http://127.0.0.1:9"
NOWHERE = "http://hub.invalid"
LONGEST_SECONDS = 20


@pytest.fixture(autouse=True)
def _has_a_repo(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)


@pytest.fixture
def anyone(hub: LoopbackHub, user: User) -> User:
    """Somebody who configured no endpoint but the origin."""
    return user.having(HF_ENDPOINT="")


def found(user: User, url: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return what is found out about one endpoint."""
    run = user.run("mirrors", "org/model", "--json", "--endpoint", url, *arguments)
    assert run.code == code, run.stderr
    (one,) = [one for one in run.document["endpoints"] if one["url"] == url]
    return dict(one)


def test_the_origin_alone(hub: LoopbackHub, anyone: User) -> None:
    run = anyone.run("mirrors", "org/model", "--json")
    assert run.code == 0, run.stderr
    document = run.document
    (one,) = document.pop("endpoints")
    assert document == {
        "repo_id": "org/model",
        "repo_type": "model",
        "revision": "main",
        "compared_with": hub.url("origin"),
        "order": [hub.url("origin")],
    }
    assert one.pop("latency_seconds") > 0
    assert one.pop("bytes_per_second") > 0
    assert one == {
        "url": hub.url("origin"),
        "api": "hub",
        "is_origin": True,
        "place": 1,
        "why": "the only one that can serve it",
        "can_serve": True,
        "problem": None,
        "hint": None,
        "is_reachable": True,
        "sample_path": "model.safetensors",
        "sample_bytes": LARGE - LARGE // 3,
        "commit": SPEC.commit_id,
        "made_at": "2024-01-02T15:04:05+00:00",
        "age": "same",
        "commits_apart": 0,
        "hours_apart": 0.0,
        "honours_ranges": True,
        "redirects_to": hub.url("cdn").removeprefix("http://"),
        "needs_login": False,
        "accepts_anonymous": True,
        "files_held": None,
        "keeps_listings": True,
        "rate_limits": {},
    }


def test_endpoints_of_all_kinds_fit_a_terminal_and_a_pipe(hub: LoopbackHub, anyone: User) -> None:
    below = hub.add_mirror("below", prefix="/a-rather-long-name/hugging-face")
    hub.faults.add(Fault(Behind(1), site="below"))
    hub.faults.add(Fault(Portal(), site="mirror"))
    arguments = ["mirrors", "org/model"]
    for url in (hub.url("mirror"), below, DEAD, NOWHERE):
        arguments += ["--endpoint", url]
    run = anyone.run(*arguments)
    assert run.code == 0, run.stderr
    assert_fits(run.stdout)
    lines = run.stdout.splitlines()
    assert lines[0] == f"org/model at main; the origin has commit {SPEC.commit_id[:12]}"
    assert [line[0] for line in lines[3:] if line[:1] in set("12-")] == ["1", "2", "-", "-", "-"]
    assert "1 behind" in run.stdout
    assert "web page" in run.stdout
    assert "Connection refused" in run.stdout
    assert {f"  --endpoint {hub.url('origin')}", f"  --endpoint {below}"} < set(lines)
    code, shown = shown_on_terminal(anyone, *arguments)
    assert code == 0
    assert_fits(shown)
    assert [line for line in shown.splitlines() if line[:1] == "-"]


def test_the_order_that_is_right_is_said_to_be(hub: LoopbackHub, anyone: User) -> None:
    hub.shape("origin", Shape(latency_seconds=0.05))
    hub.shape("cdn", Shape(rate_total=3e6))
    run = anyone.run("mirrors", "org/model", "--endpoint", hub.url("mirror"))
    assert run.stdout.splitlines()[-1] == "order: as it is"
    run = anyone.run(
        *("mirrors", "org/model", "--endpoint", hub.url("origin"), "--endpoint", hub.url("mirror"))
    )
    assert run.stdout.splitlines()[-2:] == [
        f"  --endpoint {hub.url('mirror')}",
        f"  --endpoint {hub.url('origin')}",
    ]


def test_a_mirror_that_is_behind_is_told_by_commits_and_hours(
    hub: LoopbackHub, anyone: User
) -> None:
    hub.faults.add(Fault(Behind(1), site="mirror"))
    one = found(anyone, hub.url("mirror"))
    assert (one["age"], one["commits_apart"], one["hours_apart"]) == ("behind", 1, 6.0)
    assert one["commit"] == SPEC.commits[1].commit_id


def test_without_a_history_the_dates_tell(hub: LoopbackHub, anyone: User) -> None:
    hub.faults.add(Fault(Behind(1), site="mirror"))
    hub.faults.add(Fault(Status(404), kind="commits"))
    one = found(anyone, hub.url("mirror"))
    assert (one["age"], one["commits_apart"], one["hours_apart"]) == ("behind", None, 6.0)


def test_a_mirror_ahead_of_the_origin_is_seen(hub: LoopbackHub, anyone: User) -> None:
    hub.faults.add(Fault(Behind(1), site="origin"))
    one = found(anyone, hub.url("mirror"))
    assert (one["age"], one["commits_apart"]) == ("ahead", 1)


def test_without_the_origin_the_newest_commit_is_what_others_are_compared_with(
    hub: LoopbackHub, anyone: User
) -> None:
    hub.faults.add(Fault(Behind(1), site="mirror"), Fault(Refuse(), site="origin"))
    other = hub.add_mirror("other")
    one = found(anyone, hub.url("mirror"), "--endpoint", other)
    assert (one["age"], one["commits_apart"]) == ("behind", 1)


# Effect, which requests it befalls, what is found: can it serve, a part of the problem, and more.
CASES: dict[str, tuple[Effect, str, str | None, dict[str, Any]]] = {
    "no ranges": (IgnoreRange(), "*", None, {"honours_ranges": False, "can_serve": True}),
    "wrong range": (
        Headers(add=(("Content-Range", "bytes 0-9/10"),)),
        "bytes",
        "another range",
        {"honours_ranges": None},
    ),
    "a portal": (Portal(), "*", "web page", {"is_reachable": True, "commit": None}),
    "a portal for files": (Portal(), "bytes", "a web page where", {"commit": SPEC.commit_id}),
    "a login": (
        Replace("who are you?", "text/plain", 401),
        "*",
        "HTTP 401",
        {"needs_login": True, "accepts_anonymous": False},
    ),
    "no repo": (Lacks(repos=("org/model",)), "*", "no public model", {"needs_login": None}),
    "no file": (Lacks(paths=("model.safetensors",)), "*", None, {"sample_path": "config.json"}),
    "a leading away": (RedirectTo("origin"), "*", "sends the request on", {"commit": None}),
    "long listings elsewhere": (NextLink("origin"), "tree", None, {"keeps_listings": False}),
    "an outage": (Status(503), "*", "HTTP 503", {"is_reachable": True}),
    "a hangup": (Hangup(), "*", "disconnected", {"is_reachable": False}),
    "other bytes": (WrongBytes(at=LARGE // 2), "bytes", "other bytes", {"honours_ranges": True}),
    "a deaf file store": (Status(503), "bytes", "refuses the bytes", {"honours_ranges": None}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_mirror_does_wrong_is_found(hub: LoopbackHub, anyone: User, name: str) -> None:
    effect, kind, problem, expected = CASES[name]
    hub.faults.add(Fault(effect, site="mirror", kind=kind))  # type: ignore[arg-type]
    one = found(anyone, hub.url("mirror"))
    assert {key: one[key] for key in expected} == expected
    assert one["can_serve"] is (problem is None)
    assert (problem or "") in (one["problem"] or "")


@pytest.mark.parametrize("effect", [None, Stall(60.0, after=30_000), Close(after=30_000)])
def test_a_slow_or_broken_line_is_measured_by_what_came(
    hub: LoopbackHub, anyone: User, effect: Effect | None
) -> None:
    hub.shape("mirror", Shape(rate_total=20e3))
    if effect is not None:
        hub.faults.add(Fault(effect, site="mirror", kind="bytes"))
    one = found(anyone, hub.url("mirror"))
    assert one["can_serve"] is True
    assert 0 < one["sample_bytes"] < LARGE // 2
    assert 1000 < one["bytes_per_second"] < 40_000


def test_modelscope_is_found_to_have_what_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    site = SiteSpec("scope", "modelscope", "127.0.0.4", lfs_from="self")
    with LoopbackHub(HubConfig(repos=(SPEC,), sites=(*DEFAULT_SITES, site))) as hub:
        user = user_of(hub, tmp_path / "home").having(HF_TOKEN=GOOD_TOKEN)
        url = f"modelscope+{hub.url('scope')}"
        run = user.run("mirrors", "org/model", "--json", "--endpoint", url)
        assert run.code == 0, run.stderr
        assert set(run.document["order"]) == {url, hub.url("origin")}
        (one,) = [one for one in run.document["endpoints"] if one["api"] == "modelscope"]
        assert (one["files_held"], one["can_serve"], one["honours_ranges"]) == (1, True, True)
        assert (one["commit"], one["age"]) == (None, "unknown")
        assert one["sample_bytes"] == LARGE - LARGE // 3
        hub.faults.add(Fault(Lacks(repos=("org/model",)), site="scope"))
        run = user.run("mirrors", "org/model", "--endpoint", url)
        assert "has no model" in run.stdout
        assert_fits(run.stdout)
        hub.faults.add(Fault(Refuse(), site="origin"), Fault(Refuse(), site="mirror"))
        run = user.run("mirrors", "org/model", "--endpoint", url)
        assert run.code == 5
        assert "no Hub gave a listing" in run.stdout.replace("\n  ", "")
        assert {record.site for record in hub.requests_with_token()} == {"origin"}


def test_rate_limits_are_told(hub: LoopbackHub, anyone: User) -> None:
    hub.faults.add(Fault(RateLimit(100), site="mirror", kind="api"))
    limits = found(anyone, hub.url("mirror"))["rate_limits"]
    assert 'ratelimit: "api";r=99' in limits["api"]
    hub.faults.clear()
    hub.faults.add(Fault(Status(429, retry_after=212), site="mirror"))
    one = found(anyone, hub.url("mirror"))
    assert one["rate_limits"] == {"retry-after": "212"}
    assert "rate limit" in one["problem"]


# --- nobody to ask --------------------------------------------------------------------------------


def test_no_endpoint_that_can_serve_is_5_and_the_document_still_comes(anyone: User) -> None:
    run = anyone.run(
        *("mirrors", "org/model", "--no-origin", "--endpoint", DEAD, "--endpoint", NOWHERE),
        "--json",
    )
    assert run.code == 5
    assert run.error == "no endpoint can serve `org/model`"
    assert "hfaria doctor" in run.hint
    assert run.document["order"] == []
    assert run.document["compared_with"] is None
    assert [one["is_reachable"] for one in run.document["endpoints"]] == [False, False]


def test_offline_nobody_is_asked(hub: LoopbackHub, user: User) -> None:
    assert "offline" in refused(user.having(HF_HUB_OFFLINE="1").run("mirrors"), 5)
    assert hub.records == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ("hf://org/model/config.json",),
        ("not a repo",),
        ("org/model", "--endpoint", "ftp://x"),
        ("org/model", "--no-origin"),
        ("org/model", "--token", "hf_abcdefghij", "--token-file", "x"),
        ("org/model", "more"),
    ],
)
def test_wrong_usage_is_2(anyone: User, arguments: tuple[str, ...]) -> None:
    run = anyone.run("mirrors", *arguments)
    assert run.code == 2
    assert run.stdout == ""


# --- the token ------------------------------------------------------------------------------------


def test_the_token_is_for_the_origin_and_shows_nowhere(hub: LoopbackHub, anyone: User) -> None:
    hub.put_repo(model("org/gated", gated="auto"))
    somebody = anyone.having(HF_TOKEN=GOOD_TOKEN)
    run = somebody.run("mirrors", "org/gated", "--json", "--endpoint", hub.url("mirror"))
    assert run.code == 0, run.stderr
    by_url = {one["url"]: one for one in run.document["endpoints"]}
    origin, mirror = by_url[hub.url("origin")], by_url[hub.url("mirror")]
    assert (origin["can_serve"], origin["needs_login"], origin["accepts_anonymous"]) == (
        True,
        True,
        False,
    )
    assert (mirror["can_serve"], mirror["needs_login"]) == (False, True)
    assert {record.site for record in hub.requests_with_token()} == {"origin"}
    assert hub.requests(site="cdn")
    assert GOOD_TOKEN not in run.stdout + run.stderr


def test_an_endpoint_that_is_trusted_by_name_gets_the_token(hub: LoopbackHub, anyone: User) -> None:
    url = hub.url("mirror")
    anyone.having(HF_TOKEN=GOOD_TOKEN).run(
        *("mirrors", "org/model", "--endpoint", url, "--no-origin", "--trust-endpoint", url)
    )
    assert {record.site for record in hub.requests_with_token()} == {"mirror"}


def test_a_bad_token_is_left_out_with_a_warning(hub: LoopbackHub, anyone: User) -> None:
    token = "hf_NobodyKnowsThisTokenAtAll00000000"
    run = anyone.run("mirrors", "org/model", "--token", token)
    assert run.code == 0, run.stderr
    assert "not accepted" in run.stderr
    assert token not in run.stdout + run.stderr


# --- whoever means harm, or nothing at all --------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def drip(_head: str) -> Iterator[bytes | float]:
    for byte in OK + b"X-Padding: " + b"x" * 10_000:
        yield bytes([byte])
        yield 0.02


def flood(_head: str) -> Iterator[bytes | float]:
    yield OK + b"\r\n{"
    while True:
        yield b" " * (1 << 20)


def drive_terminals(_head: str) -> Iterator[bytes | float]:
    # ESC ends a header for every HTTP library; the C1 controls of Latin-1 pass.
    evil = b"\x9b31m\x9d0;owned\x9c" + "\u202eevil".encode()
    yield b"HTTP/1.1 403 Forbidden\r\nX-Error-Message: disabled " + evil + b"\r\n"
    yield b"X-Error-Code: \x85Nothing\r\nRateLimit: " + evil + b"\r\nContent-Length: 0\r\n\r\n"


def early_hints(_head: str) -> Iterator[bytes | float]:
    while True:
        yield b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        yield 0.01


def odd_values(_head: str) -> Iterator[bytes | float]:
    sha = b"a" * 40
    body = b'{"sha": "%b", "lastModified": "9999-12-31T23:59:59Z", "gated": [1]}' % sha
    yield OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


def lead_to_secrets(_head: str) -> Iterator[bytes | float]:
    yield b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
    yield b"http://me:secret@127.0.0.1:9/?token=secret&X-Amz-Signature=secret\r\n\r\n"


@pytest.mark.parametrize("answer", [drip, early_hints])
def test_an_endpoint_that_never_comes_to_the_point_is_left_in_time(
    anyone: User, answer: Callable[[str], Iterator[bytes | float]]
) -> None:
    with RawServer(answer) as server:
        run = anyone.run("mirrors", "org/model", "--endpoint", server.url)
    assert run.code == 0, run.stderr
    assert "no answer in time" in run.stdout
    assert run.seconds < LONGEST_SECONDS


@pytest.mark.parametrize("answer", [flood, drive_terminals, odd_values, lead_to_secrets])
def test_a_hostile_endpoint_costs_its_own_line_only(
    anyone: User, answer: Callable[[str], Iterator[bytes | float]]
) -> None:
    with RawServer(answer) as server:
        run = anyone.run("mirrors", "org/model", "--endpoint", server.url)
        document = anyone.run("mirrors", "org/model", "--json", "--endpoint", server.url)
    assert (run.code, document.code) == (0, 0), run.stderr
    assert_fits(run.stdout)
    assert f"-  {server.url.removeprefix('http://')} " in run.stdout
    assert all(line.isprintable() for line in document.stdout.splitlines())
    (one,) = [one for one in document.document["endpoints"] if one["url"] == server.url]
    assert one["can_serve"] is False
    assert "bug" not in one["problem"]
    assert "secret" not in run.stdout + document.stdout


def test_a_port_that_accepts_and_says_nothing_is_left_in_time(anyone: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        run = anyone.run("mirrors", "org/model", "--endpoint", url)
    assert run.code == 0, run.stderr
    assert "did not answer in time" in run.stdout
    assert run.seconds < LONGEST_SECONDS
