"""The loopback hub keeps the Hub's protocol, bends it as told, and tells what it did."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import select
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aria2c import ARIA2C
from huggingface_hub import HfApi, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import get_hf_file_metadata

from loopback_hub import (
    GOOD_TOKEN,
    UNLICENSED_TOKEN,
    AlterListing,
    Behind,
    Blackhole,
    Close,
    ETag,
    Fault,
    Generated,
    Gzip,
    Hangup,
    Headers,
    HubConfig,
    HubProcess,
    IgnoreRange,
    Lacks,
    Length,
    LoopbackHub,
    NextLink,
    OtherVersion,
    Portal,
    RateLimit,
    RedirectTo,
    Refuse,
    Replace,
    Reset,
    Shape,
    SiteSpec,
    Stall,
    Status,
    WrongBytes,
    hostile_repo,
    many_small_files,
    odd_names_repo,
    repo,
)
from loopback_hub import generated_repo as generated
from loopback_hub.config import DEFAULT_SITES
from loopback_hub.faults import EFFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

    from loopback_hub.effects import Effect
    from loopback_hub.faults import MatchKind

WEIGHTS = Generated(5, 1_500_000)
TINY = repo(
    "org/tiny",
    {"config.json": b'{"old": true}'},
    {"config.json": b"{}", "model.safetensors": WEIGHTS, "sub/a.txt": b"a"},
    tags={"v0": 0},
    branches={"feature/x": 0},
    pull_requests={1: 1},
)
GATED = repo("org/gated", {"config.json": b"{}", "w.safetensors": WEIGHTS}, gated="auto")
PRIVATE = repo("org/private", {"config.json": b"{}"}, private=True)
DISABLED = repo("org/disabled", {"config.json": b"{}"}, disabled=True)
DATA = repo("org/facts", {"train.parquet": Generated(9, 1000)}, repo_type="dataset")
SPACE = repo("org/app", {"app.py": b"print()"}, repo_type="space")
KERNEL = repo("org/kern", {"build.toml": b""}, repo_type="kernel")
LEGACY = repo("gpt2", {"config.json": b"{}"})
ODD = odd_names_repo()
MANY = many_small_files("org/many", 250, 100)
REPOS = (TINY, GATED, PRIVATE, DISABLED, DATA, SPACE, KERNEL, LEGACY, ODD, MANY)


@pytest.fixture(scope="module")
def shared() -> Iterator[LoopbackHub]:
    with LoopbackHub(HubConfig(repos=REPOS, page_size=100)) as hub:
        yield hub


@pytest.fixture
def hub(shared: LoopbackHub) -> Iterator[LoopbackHub]:
    shared.reset_records()
    yield shared
    shared.faults.clear()
    for site in ("origin", "mirror", "cdn"):
        shared.shape(site, Shape())


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever the server said
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def ask(
    url: str,
    *,
    method: str = "GET",
    token: str | None = None,
    follow: bool = False,
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Reply:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if not follow:
        handlers.append(_NoRedirect())
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, method=method)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as response:
            return Reply(response.status, _lower(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, _lower(error.headers), error.read())


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def exchange(url: str, *, chunk: int = 1 << 16) -> tuple[bytes, bytes, type[OSError] | None]:
    """GET on a bare socket until it ends; return head, body and how it ended."""
    host, _, path = url.removeprefix("http://").partition("/")
    address, _, port = host.partition(":")
    received, ended = b"", None
    with socket.create_connection((address, int(port)), timeout=10) as link:
        link.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        try:
            while part := link.recv(chunk):
                received += part
        except OSError as error:
            ended = type(error)
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body, ended


def weights_url(hub: LoopbackHub, site: str = "mirror") -> str:
    return f"{hub.url(site)}/org/tiny/resolve/main/model.safetensors"


# What it serves


def test_generated_content_reads_the_same_from_any_offset() -> None:
    content = Generated(3, 300_001)
    whole = content.whole()
    assert len(whole) == 300_001
    for start, length in ((0, 1), (7, 30), (65_530, 20), (65_536, 65_536), (299_990, 50)):
        assert content.read(start, length) == whole[start : start + length]
    assert hashlib.sha256(whole).hexdigest() == content.sha256
    assert Generated(4, 300_001).whole()[:16] != whole[:16]
    assert len(gzip.compress(whole)) > 0.99 * len(whole)


def test_real_huggingface_hub_pulls_everything_from_every_site(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    for site in ("origin", "mirror"):
        for spec in (TINY, ODD, DATA, LEGACY):
            folder = snapshot_download(
                spec.repo_id,
                repo_type=spec.repo_type,
                endpoint=hub.url(site),
                cache_dir=tmp_path / site,
                token=False,
            )
            assert Path(folder).name == spec.commit_id
            for file in spec.head.files:
                assert (Path(folder) / file.path).read_bytes() == file.content.whole()


def test_hf_command_pulls_a_gated_repo_with_a_token_the_cdn_never_sees(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url(),
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": GOOD_TOKEN,
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "NO_PROXY": "*",
    }
    command = ["hf", "download", "org/gated", "w.safetensors", "--local-dir", str(tmp_path / "d")]
    program = Path(os.sys.executable).with_name("hf")  # type: ignore[attr-defined]
    subprocess.run([program, *command[1:]], env=environment, check=True, capture_output=True)
    assert (tmp_path / "d/w.safetensors").read_bytes() == WEIGHTS.whole()
    assert hub.requests_with_token("origin")
    assert hub.requests(site="cdn")
    assert hub.requests_with_token("cdn") == ()


@pytest.mark.aria2
def test_aria2c_follows_the_redirect_on_many_connections(hub: LoopbackHub, tmp_path: Path) -> None:
    content = Generated(6, 9_000_000)
    hub.put_repo(repo("org/large", {"w.bin": content}))
    hub.shape("cdn", Shape(rate_per_connection=50e6))
    options = ["-q", "--no-conf", "-x4", "-s4", "-k1M", "--no-proxy=*", "-d", str(tmp_path)]
    url = f"{hub.url()}/org/large/resolve/main/w.bin"
    subprocess.run([ARIA2C, *options, "-o", "out", url], check=True)
    assert (tmp_path / "out").read_bytes() == content.whole()
    assert hub.bytes_sent(site="cdn", blob=content.sha256) >= content.size
    assert len({record.connection for record in hub.requests(site="cdn")}) > 1


def test_tree_is_paged_and_agrees_with_git(hub: LoopbackHub) -> None:
    api = HfApi(endpoint=hub.url(), token=False)
    listed = list(api.list_repo_tree("org/many", recursive=True))
    assert {entry.path for entry in listed if hasattr(entry, "size")} == set(MANY.head.by_path)
    assert sum(1 for entry in listed if not hasattr(entry, "size")) == 3
    assert len(hub.requests(kind="api")) == 3
    entry = next(iter(api.get_paths_info("org/tiny", ["model.safetensors"])))
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{WEIGHTS.sha256}\nsize {WEIGHTS.size}\n"
    ).encode()
    oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    assert getattr(entry, "blob_id", None) == oid
    top = ask(f"{hub.url()}/api/models/org/tiny/tree/main").json
    assert [(e["type"], e["path"]) for e in top] == [
        ("file", "config.json"),
        ("file", "model.safetensors"),
        ("directory", "sub"),
    ]


def test_info_knows_branches_tags_and_pull_requests(hub: LoopbackHub) -> None:
    api = HfApi(endpoint=hub.url(), token=False)
    old, new = (commit.commit_id for commit in TINY.commits)
    expected = {"main": new, "v0": old, "feature/x": old, "refs/pr/1": new, old: old, None: new}
    for revision, commit in expected.items():
        assert api.repo_info("org/tiny", revision=revision).sha == commit
    refs = api.list_repo_refs("org/tiny", include_pull_requests=True)
    assert [ref.ref for ref in refs.pull_requests or []] == ["refs/pr/1"]
    detailed = api.model_info("org/tiny", files_metadata=True).siblings or []
    assert {s.rfilename: s.lfs.sha256 if s.lfs else None for s in detailed} == {
        "config.json": None,
        "model.safetensors": WEIGHTS.sha256,
        "sub/a.txt": None,
    }
    for spec in (DATA, SPACE, KERNEL):
        found = api.repo_info(spec.repo_id, repo_type=spec.repo_type)
        assert found.sha == spec.commit_id


def test_commits_are_listed_newest_first_with_their_dates(hub: LoopbackHub) -> None:
    api = HfApi(endpoint=hub.url(), token=False)
    old, new = (commit.commit_id for commit in TINY.commits)
    listed = api.list_repo_commits("org/tiny")
    assert [commit.commit_id for commit in listed] == [new, old]
    assert [commit.commit_id for commit in api.list_repo_commits("org/tiny", revision=old)] == [old]
    assert listed[0].created_at == api.repo_info("org/tiny").last_modified
    assert (listed[0].created_at - listed[1].created_at).total_seconds() == 6 * 3600


def test_resolve_redirects_as_the_hub_does(hub: LoopbackHub) -> None:
    large = ask(weights_url(hub, "origin"), method="HEAD")
    assert large.status == 302
    assert large.headers["location"].startswith(hub.url("cdn"))
    assert large.headers["x-linked-etag"] == f'"{WEIGHTS.sha256}"'
    assert large.headers["x-linked-size"] == str(WEIGHTS.size)
    assert large.headers["x-repo-commit"] == TINY.commit_id
    plain = ask(f"{hub.url()}/org/tiny/resolve/refs%2Fpr%2F1/config.json")
    assert plain.status == 307
    assert plain.headers["location"].startswith("/api/resolve-cache/models/org/tiny/")
    found = ask(hub.url() + plain.headers["location"])
    assert found.body == b"{}"
    assert found.headers["etag"] == f'"{TINY.head.by_path["config.json"].git_oid}"'
    url = hf_hub_url("org/tiny", "model.safetensors", endpoint=hub.url("mirror"))
    metadata = get_hf_file_metadata(url, token=False)
    assert (metadata.etag, metadata.size) == (WEIGHTS.sha256, WEIGHTS.size)


@pytest.mark.parametrize(
    ("wanted", "status", "start", "stop"),
    [
        ("bytes=0-", 206, 0, 1_500_000),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=1499990-9999999", 206, 1_499_990, 1_500_000),
        ("bytes=-5", 206, 1_499_995, 1_500_000),
        ("bytes=1500000-", 416, 0, 0),
        ("bytes=a-b", 200, 0, 1_500_000),
    ],
)
def test_ranges(hub: LoopbackHub, wanted: str, status: int, start: int, stop: int) -> None:
    reply = ask(weights_url(hub), Range=wanted)
    assert reply.status == status
    if status == 416:
        assert reply.headers["content-range"] == "bytes */1500000"
        return
    assert reply.body == WEIGHTS.whole()[start:stop]
    if status == 206:
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/1500000"


def test_text_is_compressed_only_when_asked(hub: LoopbackHub) -> None:
    url = f"{hub.url()}/api/models/org/many/tree/main?recursive=true"
    plain, packed = ask(url), ask(url, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-length" not in packed.headers
    assert gzip.decompress(packed.body) == plain.body


# Who may see what


def test_refusals_are_the_hubs_own(hub: LoopbackHub) -> None:
    api = HfApi(endpoint=hub.url())
    for token in (False, GOOD_TOKEN):
        with pytest.raises(RepositoryNotFoundError):
            api.repo_info("org/missing", token=token)
    for denied in (False, UNLICENSED_TOKEN):
        with pytest.raises(RepositoryNotFoundError):
            api.repo_info("org/private", token=denied)
        with pytest.raises(GatedRepoError):
            get_hf_file_metadata(hf_hub_url("org/gated", "config.json", endpoint=hub.url()), denied)
    assert api.repo_info("org/private", token=GOOD_TOKEN).sha == PRIVATE.commit_id
    assert api.repo_info("org/gated", token=False).sha == GATED.commit_id
    with pytest.raises(DisabledRepoError):
        api.repo_info("org/disabled", token=GOOD_TOKEN)
    with pytest.raises(RevisionNotFoundError):
        api.repo_info("org/tiny", revision="nope", token=False)
    with pytest.raises(RemoteEntryNotFoundError):
        get_hf_file_metadata(hf_hub_url("org/tiny", "nope", endpoint=hub.url()), token=False)
    assert ask(f"{hub.url()}/api/models/org/tiny", token="hf_stolen").status == 401
    assert api.whoami(token=GOOD_TOKEN)["name"] == "good"


def test_a_mirror_has_no_accounts(hub: LoopbackHub) -> None:
    mirror = hub.url("mirror")
    url = f"{mirror}/org/gated/resolve/main/w.safetensors"
    assert ask(url, token=GOOD_TOKEN).headers["x-error-code"] == "GatedRepo"
    assert ask(f"{mirror}/api/models/org/private", token=GOOD_TOKEN).status == 401
    assert [record.token for record in hub.requests_with_token("mirror")] == ["good", "good"]


def test_cdn_refuses_expired_altered_and_doubly_authenticated_requests() -> None:
    config = HubConfig(repos=(TINY,), url_lifetime_seconds=1.2)
    with LoopbackHub(config) as hub:
        signed = ask(weights_url(hub, "origin")).headers["location"]
        assert ask(signed, Range="bytes=0-0").status == 206
        both = ask(signed, token=GOOD_TOKEN)
        assert (both.status, b"Only one auth mechanism allowed" in both.body) == (400, True)
        assert ask(signed.replace("Expires=", "Expires=9")).status == 403
        assert ask(signed.partition("?")[0]).status == 403
        deadline = time.monotonic() + 3
        while ask(signed, Range="bytes=0-0").status == 206 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ask(signed).status == 403


# How it goes wrong


def befall(hub: LoopbackHub, effect: Effect, kind: MatchKind = "bytes", **rest: Any) -> None:  # noqa: ANN401
    hub.faults.add(Fault(effect, kind=kind, **rest))


def test_reset_and_close_stop_after_the_given_bytes(hub: LoopbackHub) -> None:
    befall(hub, Reset(after=300_000), first=1)
    befall(hub, Close(after=100_000), skip=1, first=1)
    _, body, ended = exchange(weights_url(hub))
    assert (len(body), ended) == (300_000, ConnectionResetError)
    assert hub.records[-1].bytes_sent == 300_000
    _, body, ended = exchange(weights_url(hub))
    assert (len(body), ended) == (100_000, None)
    assert exchange(weights_url(hub))[1] == WEIGHTS.whole()


def test_random_resets_come_at_the_given_rate(hub: LoopbackHub) -> None:
    befall(hub, Reset(per_megabyte=1.0))
    whole = [len(exchange(weights_url(hub))[1]) == WEIGHTS.size for _ in range(40)]
    assert 0 < sum(whole) < 30


def test_stalls_before_headers_and_amid_the_body(hub: LoopbackHub) -> None:
    befall(hub, Stall(0.2), first=1)
    befall(hub, Stall(0.2, after=500_000), skip=1, first=1)
    for _ in range(2):
        started = time.monotonic()
        assert exchange(weights_url(hub))[1] == WEIGHTS.whole()
        assert time.monotonic() - started >= 0.2
    started = time.monotonic()
    exchange(weights_url(hub))
    assert time.monotonic() - started < 0.2


def test_status_carries_retry_after(hub: LoopbackHub) -> None:
    befall(hub, Status(429, retry_after=7), "api", first=1)
    befall(hub, Status(503), "resolve", every=2)
    refused = ask(f"{hub.url()}/api/models/org/tiny")
    assert (refused.status, refused.headers["retry-after"]) == (429, "7")
    assert refused.headers["ratelimit"] == '"api";r=0;t=7'
    assert ask(f"{hub.url()}/api/models/org/tiny").status == 200
    assert [ask(weights_url(hub, "origin")).status for _ in range(4)] == [503, 302, 503, 302]


def test_hangup_gives_no_answer(hub: LoopbackHub) -> None:
    befall(hub, Hangup(), "*", first=1)
    head, body, _ = exchange(weights_url(hub))
    assert head + body == b""


def test_a_refusing_site_is_refused_by_the_kernel_and_comes_back(hub: LoopbackHub) -> None:
    outage = Fault(Refuse(), site="mirror")
    hub.faults.add(outage)
    with pytest.raises(ConnectionRefusedError):
        exchange(weights_url(hub))
    assert ask(weights_url(hub, "origin")).status == 302
    hub.faults.remove(outage)
    assert exchange(weights_url(hub))[1] == WEIGHTS.whole()


def test_outage_windows_open_and_close(hub: LoopbackHub) -> None:
    befall(hub, Refuse(), site="mirror", window=(0.1, 0.3))
    seen = set()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        try:
            seen.add(exchange(f"{hub.url('mirror')}/api/models/org/tiny")[0][:12])
        except OSError:
            seen.add(b"down")
        time.sleep(0.01)
    assert seen >= {b"down", b"HTTP/1.1 200"}


def test_a_fault_begins_and_ends_when_told(hub: LoopbackHub) -> None:
    befall(hub, Status(500), "api", begins=0.15, ends=0.3)
    url, started, seen = f"{hub.url()}/api/models/gpt2", time.monotonic(), []
    while time.monotonic() < started + 0.4:
        seen.append(ask(url).status)
    assert seen[0] == seen[-1] == 200
    assert 500 in seen


def test_an_outage_befalls_all_sites_at_once_and_cuts_what_is_under_way(hub: LoopbackHub) -> None:
    hub.shape("mirror", Shape(rate_per_connection=2e6))
    outage = Fault(Refuse(), begins=0.2)
    hub.faults.add(outage)
    _, body, ended = exchange(weights_url(hub))
    assert 0 < len(body) < WEIGHTS.size
    assert ended is ConnectionResetError
    for site in hub.urls:
        with pytest.raises(ConnectionRefusedError):
            exchange(hub.url(site))
    hub.faults.remove(outage)
    assert exchange(weights_url(hub))[1] == WEIGHTS.whole()


def test_a_site_dies_for_good_once_it_sent_so_much(hub: LoopbackHub) -> None:
    hub.shape("mirror", Shape(rate_per_connection=5e6))
    before = hub.sent_by_site["mirror"]
    hub.faults.add(Fault(Refuse(after=700_000), site="mirror"))
    assert len(exchange(weights_url(hub))[1]) < WEIGHTS.size
    assert 700_000 <= hub.sent_by_site["mirror"] - before < 1_000_000
    with pytest.raises(ConnectionRefusedError):
        exchange(weights_url(hub))


def until_silent(link: socket.socket, seconds: float = 0.1) -> bytes:
    """Read what comes, until nothing has for so long or the connection ends."""
    received = b""
    link.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while part := link.recv(1 << 16):
            received += part
    return received


@pytest.mark.parametrize("drops_connects", [False, True])
def test_a_black_hole_tells_nobody_and_goes_on_afterwards(
    hub: LoopbackHub, *, drops_connects: bool
) -> None:
    host, port = hub.url("mirror").removeprefix("http://").split(":")
    address = (host, int(port))
    asked = f"GET {weights_url(hub).partition(port)[2]} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    hole = Fault(Blackhole(drops_connects=drops_connects), site="mirror")
    hub.shape("mirror", Shape(rate_per_connection=5e6))
    with socket.create_connection(address) as early, socket.socket() as late:
        early.sendall(asked)
        received = early.recv(1 << 16)
        hub.faults.add(hole)
        received += until_silent(early)
        assert len(received) < WEIGHTS.size
        late.setblocking(False)
        late.connect_ex(address)
        is_connected = bool(select.select([], [late], [], 0.1)[1])
        assert is_connected != drops_connects
        hub.faults.remove(hole)
        received += until_silent(early, seconds=1.0)
    assert received.endswith(WEIGHTS.whole())
    assert exchange(weights_url(hub))[1] == WEIGHTS.whole()


def test_lengths_lie(hub: LoopbackHub) -> None:
    for delta, mode in ((5000, "wrong"), (-5000, "wrong"), (0, "absent"), (0, "chunked")):
        befall(hub, Length(delta, mode), first=1)  # type: ignore[arg-type]
        head, body, _ = exchange(weights_url(hub))
        declared = b"Content-Length: %d" % (WEIGHTS.size + delta)
        assert (declared in head) == (mode == "wrong")
        assert (b"chunked" in head) == (mode == "chunked")
        assert (len(body) == WEIGHTS.size) == (mode != "chunked")
        hub.faults.clear()


def test_range_ignored_and_gzip_unasked(hub: LoopbackHub) -> None:
    befall(hub, IgnoreRange(), first=1)
    reply = ask(weights_url(hub), Range="bytes=10-19")
    assert (reply.status, len(reply.body)) == (200, WEIGHTS.size)
    befall(hub, Gzip())
    reply = ask(weights_url(hub), Range="bytes=10-19")
    assert (reply.status, reply.headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(reply.body) == WEIGHTS.whole()


def test_portal_answers_files_and_api(hub: LoopbackHub) -> None:
    befall(hub, Portal(), "*", site="mirror")
    for url in (weights_url(hub), f"{hub.url('mirror')}/api/models/org/tiny"):
        reply = ask(url)
        assert reply.status == 200
        assert reply.body.startswith(b"<!DOCTYPE html>")


def test_wrong_bytes_befall_the_first_delivery_of_each_blob(hub: LoopbackHub) -> None:
    befall(hub, WrongBytes(at=1000), first=1, per="blob")
    assert ask(weights_url(hub), Range="bytes=2000-2999").body == WEIGHTS.read(2000, 1000)
    first, second = (ask(weights_url(hub)).body for _ in range(2))
    assert [n for n in range(2000) if first[n] != second[n]] == [1000]
    assert (len(first), second) == (WEIGHTS.size, WEIGHTS.whole())


def test_wrong_bytes_lie_within_what_a_client_reads_of_the_first_delivery(
    hub: LoopbackHub,
) -> None:
    for _ in range(2):
        befall(hub, WrongBytes(within=5000, count=3, seed=8), first=1, per="blob")
        first, second = (ask(weights_url(hub), Range="bytes=9000-").body for _ in range(2))
        wrong = [n for n in range(len(first)) if first[n] != second[n]]
        assert second == WEIGHTS.read(9000, WEIGHTS.size - 9000)
        assert len(wrong) == 3
        assert max(wrong) < 5000
        hub.faults.clear()


def test_two_versions_mix_behind_one_url(hub: LoopbackHub) -> None:
    befall(hub, OtherVersion(), every=2)
    one, two = (ask(weights_url(hub), Range="bytes=0-99") for _ in range(2))
    assert one.body != two.body
    assert one.headers["etag"] != two.headers["etag"]
    assert one.headers["content-range"] == two.headers["content-range"]


def test_headers_go_missing_or_odd(hub: LoopbackHub) -> None:
    befall(hub, ETag("weak"), "resolve", first=1)
    befall(hub, ETag(), "resolve", skip=1, first=1)
    befall(hub, Headers(drop=("X-Repo-Commit",), add=(("X-Cache", "HIT"),)), "resolve", skip=2)
    weak, missing, dropped = (ask(weights_url(hub), method="HEAD").headers for _ in range(3))
    assert weak["etag"] == weak["x-linked-etag"] == f'W/"{WEIGHTS.sha256}"'
    assert not {"etag", "x-linked-etag"} & set(missing)
    assert "x-repo-commit" not in dropped
    assert dropped["x-cache"] == "HIT"


def test_a_wrong_clock_shows_in_one_date(hub: LoopbackHub) -> None:
    date = "Thu, 01 Jan 2015 00:00:00 GMT"
    befall(hub, Headers(add=(("Date", date),)), "resolve")
    assert ask(weights_url(hub), method="HEAD").headers["date"] == date


def test_rate_limit_counts_its_kind_only(hub: LoopbackHub) -> None:
    befall(hub, RateLimit(2, window_seconds=60), "resolve", site="origin")
    statuses = [ask(weights_url(hub, "origin")) for _ in range(3)]
    assert [reply.status for reply in statuses] == [302, 302, 429]
    assert statuses[0].headers["ratelimit"] == '"api";r=1;t=60'
    assert statuses[2].headers["retry-after"] == "60"
    assert ask(f"{hub.url()}/api/models/org/tiny").status == 200


def test_api_and_resolve_have_limits_of_their_own(hub: LoopbackHub) -> None:
    befall(hub, RateLimit(1, 60, "api"), "api")
    befall(hub, RateLimit(2, 60, "resolvers"), "resolve")
    urls = (f"{hub.url()}/api/models/gpt2", weights_url(hub, "origin"))
    api, resolve = ([ask(url) for _ in range(3)] for url in urls)
    assert [reply.status for reply in api] == [200, 429, 429]
    assert [reply.status for reply in resolve] == [302, 302, 429]
    assert resolve[0].headers["ratelimit"] == '"resolvers";r=1;t=60'
    assert api[0].headers["ratelimit-policy"] == '"fixed window";"api";q=1;w=60'
    assert hub.statuses() == {200: 1, 302: 2, 429: 3}
    assert hub.statuses(kind="api") == {200: 1, 429: 2}


def test_a_mirror_lags_and_lacks(hub: LoopbackHub) -> None:
    old, new = (commit.commit_id for commit in TINY.commits)
    mirror = HfApi(endpoint=hub.url("mirror"), token=False)
    befall(hub, Behind(1), "*", site="mirror")
    assert mirror.repo_info("org/tiny").sha == old
    with pytest.raises(RevisionNotFoundError):
        mirror.repo_info("org/tiny", revision=new)
    hub.faults.clear()
    befall(hub, Lacks(paths=("config.json",), repos=("gpt2",)), "*", site="mirror")
    assert mirror.repo_info("org/tiny").sha == new
    assert "config.json" not in mirror.list_repo_files("org/tiny")
    assert ask(f"{hub.url('mirror')}/org/tiny/resolve/{new}/config.json").status == 404
    assert ask(f"{hub.url('mirror')}/api/models/gpt2").status == 401
    assert ask(f"{hub.url()}/org/tiny/resolve/{new}/config.json").status == 307


def test_mirror_api_redirects_to_the_origin_and_links_escape(hub: LoopbackHub) -> None:
    tree = f"{hub.url('mirror')}/api/models/org/many/tree/main?recursive=true"
    befall(hub, NextLink("origin"), "tree", first=1)
    befall(hub, NextLink("http://127.9.9.9:9"), "tree", skip=1, first=1)
    befall(hub, NextLink(), "tree", skip=2, first=1)
    links = [ask(tree).headers["link"] for _ in range(3)]
    assert links[0].startswith(f"<{hub.url()}/api/models/org/many/tree/main?")
    assert links[1].startswith("<http://127.9.9.9:9/api/")
    assert links[2] == f'<{tree}>; rel="next"'
    hub.faults.clear()
    befall(hub, RedirectTo("origin", 308), "api", site="mirror")
    assert ask(tree).headers["location"] == tree.replace(hub.url("mirror"), hub.url())


def test_listings_lie(hub: LoopbackHub) -> None:
    tree = f"{hub.url()}/api/models/org/tiny/tree/main?recursive=true"
    for name in ("pointer", "size", "sha256"):
        befall(hub, AlterListing("model.safetensors", name), "tree", first=1)
        entry = next(e for e in ask(tree).json if e["path"] == "model.safetensors")
        honest = next(e for e in ask(tree).json if e["path"] == "model.safetensors")
        assert entry != honest
        assert honest["lfs"]["oid"] == WEIGHTS.sha256
        hub.faults.clear()
    befall(hub, Replace("<html>"), "tree", first=1)
    assert ask(tree).body == b"<html>"
    hub.put_repo(hostile_repo("org/evil", [["../../x", "/etc/x", "C:\\x", "CON"], "not json"]))
    first = ask(f"{hub.url()}/api/models/org/evil/tree/main?recursive=true")
    assert [entry["path"] for entry in first.json] == ["../../x", "/etc/x", "C:\\x", "CON"]
    following = first.headers["link"].partition(">")[0].removeprefix("<")
    assert ask(following).body == b"not json"


def test_faults_choose_by_file_and_by_seeded_chance(hub: LoopbackHub) -> None:
    befall(hub, Status(500), "*", path="sub/*")
    assert ask(f"{hub.url()}/org/tiny/resolve/main/sub/a.txt").status == 500
    assert ask(f"{hub.url()}/org/tiny/resolve/main/config.json").status == 307
    hub.faults.clear()
    runs = []
    for _ in range(2):
        befall(hub, Status(500), "api", probability=0.5, seed=3)
        runs.append([ask(f"{hub.url()}/api/models/gpt2").status for _ in range(20)])
        hub.faults.clear()
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize("name", sorted(EFFECTS))
def test_every_fault_survives_json(name: str) -> None:
    required = {"Stall": (1.5,), "Status": (503, "soon"), "RateLimit": (5,), "Lacks": (("a",),)}
    fault = Fault(EFFECTS[name](*required.get(name, ())), site="cdn", window=(1.0, 2.0), first=3)
    assert Fault.from_json(json.loads(json.dumps(fault.to_json()))) == fault


# What it tells


def test_leaks_are_tokens_away_from_the_origin_or_out_of_their_header(hub: LoopbackHub) -> None:
    info = "/api/models/gpt2"
    ask(f"{hub.url()}{info}", token=GOOD_TOKEN)
    ask(f"{hub.url('mirror')}{info}")
    assert hub.leaks() == ()
    ask(f"{hub.url('mirror')}{info}", token=UNLICENSED_TOKEN)
    ask(f"{hub.url()}{info}?token={GOOD_TOKEN}")
    ask(f"{hub.url()}{info}", Referer=f"http://x/{GOOD_TOKEN}")
    found = [(record.site, record.strays) for record in hub.leaks()]
    assert found == [("mirror", ()), ("origin", ("URL",)), ("origin", ("Referer",))]
    assert len(hub.leaks(trusted=("origin", "mirror"))) == 2


def test_sent_bytes_are_counted_over_all_sites(hub: LoopbackHub) -> None:
    before = hub.sent_by_site
    ask(weights_url(hub, "origin"), follow=True)
    ask(weights_url(hub), Range="bytes=0-749999")
    sent = {site: count - before[site] for site, count in hub.sent_by_site.items()}
    assert sent == {"origin": 0, "mirror": 750_000, "cdn": WEIGHTS.size}
    assert hub.sent_share(WEIGHTS.size) == 1.5


# Links


def test_rates_are_kept_within_a_few_percent(hub: LoopbackHub) -> None:
    hub.shape("mirror", Shape(rate_per_connection=5e6))
    started = time.monotonic()
    assert exchange(weights_url(hub))[1] == WEIGHTS.whole()
    # Too fast is wrong at any time; too slow may be a busy machine.
    assert 0.29 <= time.monotonic() - started < 0.6


def test_latency_costs_a_round_trip_more_on_a_new_connection(hub: LoopbackHub) -> None:
    hub.shape("origin", Shape(latency_seconds=0.05))
    host, port = hub.url().removeprefix("http://").split(":")
    took = []
    with socket.create_connection((host, int(port)), timeout=5) as link:
        for _ in range(2):
            started = time.monotonic()
            link.sendall(b"HEAD /api/models/gpt2 HTTP/1.1\r\nHost: x\r\n\r\n")
            link.recv(1 << 16)
            took.append(time.monotonic() - started)
    assert 0.1 <= took[0] < 0.3
    assert 0.05 <= took[1] < took[0]


# Ways to run


def test_sites_have_addresses_of_their_own_and_mirrors_can_be_added(hub: LoopbackHub) -> None:
    url = hub.add_mirror("campus", prefix="/hugging-face")
    assert url.endswith("/hugging-face")
    assert len({site.split(":")[1] for site in hub.urls.values()}) == len(hub.urls)
    assert ask(f"{url}/api/models/gpt2").json["sha"] == LEGACY.commit_id
    plain = ask(f"{url}/gpt2/resolve/main/config.json")
    assert plain.headers["location"].startswith("/hugging-face/api/resolve-cache/")
    assert ask(url.removesuffix("/hugging-face") + "/api/models/gpt2").status == 404
    assert ask(f"{url}/org/many/resolve/main/part-0000/file-000001.txt", follow=True).body
    linked = ask(f"{url}/api/models/org/many/tree/main?recursive=true").headers["link"]
    assert linked.startswith(f"<{url}/api/models/org/many/tree/main?")


def test_a_push_moves_main_and_keeps_old_commits(hub: LoopbackHub) -> None:
    spec = repo("org/moving", {"a.txt": b"1"})
    pushed = spec.with_commit({"a.txt": b"2"})
    hub.put_repo(spec)
    assert ask(f"{hub.url()}/api/models/org/moving").json["sha"] == spec.commit_id
    hub.put_repo(pushed)
    assert ask(f"{hub.url()}/api/models/org/moving").json["sha"] == pushed.commit_id
    old = f"{hub.url()}/org/moving/resolve/{spec.commit_id}/a.txt"
    assert ask(old, follow=True).body == b"1"


def test_https_with_a_private_ca() -> None:
    with LoopbackHub(HubConfig(repos=(TINY,), https=True)) as hub:
        assert hub.ca_bundle is not None
        context = ssl.create_default_context(cafile=hub.ca_bundle)
        reply = ask(weights_url(hub, "origin"), follow=True, context=context)
        assert reply.body == WEIGHTS.whole()
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(hub.url(), context=ssl.create_default_context())


def test_mirrors_may_send_large_files_to_the_cdn() -> None:
    sites = (*DEFAULT_SITES, SiteSpec("thin", "mirror", "127.0.0.5", lfs_from="cdn"))
    with LoopbackHub(HubConfig(repos=(TINY,), sites=sites)) as hub:
        assert ask(weights_url(hub, "thin")).headers["location"].startswith(hub.url("cdn"))


def test_xet_is_announced_only_if_told() -> None:
    with LoopbackHub(HubConfig(repos=(TINY,), announces_xet=True)) as hub:
        head = ask(weights_url(hub, "origin"), method="HEAD")
        assert len(head.headers["x-xet-hash"]) == 64
        assert 'rel="xet-auth"' in head.headers["link"]
        page = ask(f"{hub.url()}/api/models/org/tiny/tree/main").json
        assert [("xetHash" in entry) for entry in page] == [False, True, False]


def test_a_hub_starts_and_stops_at_once() -> None:
    started = time.monotonic()
    with LoopbackHub(HubConfig(repos=(TINY,), faults=(Fault(Stall(30), kind="api"),))) as hub:
        host, port = hub.url().removeprefix("http://").split(":")
        link = socket.create_connection((host, int(port)))
        link.sendall(b"GET /api/models/org/tiny HTTP/1.1\r\nHost: x\r\n\r\n")
    link.close()
    assert time.monotonic() - started < 1.0


def test_a_hub_process_has_the_same_surface() -> None:
    with HubProcess(HubConfig(repos=(TINY,)), arguments=["--page-size", "2"]) as hub:
        tree = f"{hub.url()}/api/models/org/tiny/tree/main?recursive=true"
        assert "link" in ask(tree).headers
        fault = Fault(Status(503, retry_after=1), site="mirror", kind="bytes", first=1)
        hub.faults.add(fault)
        url = f"{hub.url('mirror')}/org/tiny/resolve/main/model.safetensors"
        assert [ask(url).status for _ in range(2)] == [503, 200]
        assert hub.bytes_sent(blob=WEIGHTS.sha256) >= WEIGHTS.size
        assert hub.sent_by_site["mirror"] == hub.file_bytes_sent() >= WEIGHTS.size
        assert [record.faults for record in hub.requests(site="mirror")] == [("Status",), ()]
        hub.reset_records()
        hub.faults.clear()
        hub.shape("mirror", Shape(latency_seconds=0.001))
        hub.put_repo(generated("org/later", [("a.bin", 10)]))
        added = hub.add_mirror("second", prefix="/x")
        assert ask(f"{added}/api/models/org/later").status == 200
        assert len(hub.records) == 1
        pid = hub.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_command_line_prints_where_it_listens() -> None:
    arguments = ["--repo", "generated:org/g:2M:2", "--repo", "small:org/s:3:10", "--repo", "odd"]
    with HubProcess(arguments=arguments) as hub:
        listed = ask(f"{hub.url()}/api/models/org/g/tree/main").json
        assert [entry["path"] for entry in listed if "lfs" in entry] == [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ]
