"""HTTP and SOCKS proxies, for all hosts or for an endpoint's, on the way to a real engine."""

from __future__ import annotations

import base64
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trustme

from hfaria.engine.bridge import Bridge
from hfaria.engine.mover import MoveRequest
from hfaria.redact import Secret
from hfaria.rules.proxies import Proxy, parse_proxy
from hfaria.rules.transfers import Failed, Progressed
from integration.engines import BLOB_NAME
from integration.test_mover_sources import (
    CONTENT,
    MIB,
    SIZE,
    TRANSFER,
    at_least,
    follow,
    has_arrived,
    moving,
    server,
)
from loopback_hub import HubConfig, LoopbackHub
from support.cli import refused, user_of
from support.proxies import http_proxy, socks_proxy
from support.repos import model
from support.trees import assert_holds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cli import User
    from support.proxies import Guests

pytestmark = pytest.mark.aria2

SPEC = model()
DEAD = "socks5h://127.0.0.1:9"


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge(connect_seconds=5.0)
    yield bridge
    bridge.close()


def proxy_at(guests: Guests) -> Proxy:
    return parse_proxy(guests.url, named_by="test")


# --- transfers of the engine ---------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", "sword fish%2:"])
def test_the_engine_uses_an_http_proxy(tmp_path: Path, password: str) -> None:
    user = "me" if password else ""
    with moving(tmp_path) as (mover, _), server(2) as first, http_proxy(user, password) as guests:
        at = proxy_at(guests)
        proxy = Proxy("http", at.host, at.port, user or None, Secret(password))
        mover.move([MoveRequest(TRANSFER, first.url("file"), proxy=proxy)])
        follow(mover, has_arrived)
        assert guests.hosts == {"127.0.0.2"}
        assert guests.denied == 0
    assert (tmp_path / "partial" / BLOB_NAME).read_bytes() == CONTENT


def test_the_engine_reaches_names_that_only_a_socks_proxy_knows(
    tmp_path: Path, bridge: Bridge
) -> None:
    with (
        moving(tmp_path, bridge=bridge) as (mover, _),
        server(2) as first,
        socks_proxy("me", "swordfish", names={"far.test": "127.0.0.2"}) as guests,
    ):
        url = f"http://far.test:{first.port}/file"
        mover.move([MoveRequest(TRANSFER, url, proxy=proxy_at(guests))])
        follow(mover, has_arrived)
        assert guests.hosts == {"far.test"}
        assert guests.denied == 0
    assert (tmp_path / "partial" / BLOB_NAME).read_bytes() == CONTENT


def test_sources_of_one_transfer_may_have_different_ways(tmp_path: Path, bridge: Bridge) -> None:
    with (
        moving(tmp_path, bridge=bridge) as (mover, _),
        server(2, bytes_per_second=2 * MIB) as first,
        server(3, bytes_per_second=2 * MIB) as second,
        server(4, bytes_per_second=2 * MIB) as third,
        socks_proxy() as socks,
        http_proxy() as http,
    ):
        mover.move([MoveRequest(TRANSFER, first.url("file"), sources=3)])
        follow(mover, at_least(MIB))
        mover.add_source(TRANSFER, second.url("file"), proxy_at(socks))
        mover.add_source(TRANSFER, third.url("file"), proxy_at(http))
        everybody = frozenset(urlsplit(each.url("")).netloc for each in (first, second, third))
        follow(mover, lambda event: isinstance(event, Progressed) and event.hosts == everybody)
        follow(mover, has_arrived)
        assert (socks.hosts, http.hosts) == ({"127.0.0.3"}, {"127.0.0.4"})
        assert first.bytes_sent + second.bytes_sent + third.bytes_sent <= 1.1 * SIZE
    assert (tmp_path / "partial" / BLOB_NAME).read_bytes() == CONTENT


def test_without_a_bridge_a_source_by_another_way_is_left_out(tmp_path: Path) -> None:
    with (
        moving(tmp_path) as (mover, _),
        server(2, bytes_per_second=4 * MIB) as first,
        server(3) as second,
        http_proxy() as guests,
    ):
        mover.move([MoveRequest(TRANSFER, first.url("file"), sources=2)])
        mover.add_source(TRANSFER, second.url("file"), proxy_at(guests))
        follow(mover, has_arrived)
        assert second.requests == []
        assert guests.places == []


@pytest.mark.parametrize("fault", ["nobody there", "nonsense", "wrong password"])
def test_a_socks_proxy_that_lets_nobody_through_is_a_lost_connection(
    tmp_path: Path, bridge: Bridge, fault: str
) -> None:
    answers = b"HTTP/1.1 400 What?\r\n\r\n" if fault == "nonsense" else b""
    with (
        moving(tmp_path, bridge=bridge) as (mover, _),
        server(2) as first,
        socks_proxy("me", "swordfish", answers=answers) as guests,
    ):
        proxy = proxy_at(guests)
        if fault == "nobody there":
            proxy = parse_proxy(DEAD, named_by="test")
        elif fault == "wrong password":
            proxy = Proxy(proxy.scheme, proxy.host, proxy.port, "me", Secret("guess"))
        mover.move([MoveRequest(TRANSFER, first.url("file"), proxy=proxy)])
        failed = follow(mover, lambda event: isinstance(event, Failed))
        assert isinstance(failed, Failed)
        assert not failed.failure.reason.is_final_here
        assert first.requests == []


# --- the bridge ------------------------------------------------------------------------------


def asked(bridge: Bridge, request: str, *, user: str, secret: str) -> str:
    """Send a request to the bridge and return the status of its answer."""
    options = dict(bridge.options("transfer"))
    port = int(options["all-proxy"].rpartition(":")[2])
    code = base64.b64encode(f"{user}:{secret}".encode()).decode()
    with socket.create_connection(("127.0.0.1", port)) as near:
        near.sendall(f"{request}\r\nProxy-Authorization: Basic {code}\r\n\r\n".encode())
        return near.recv(4096).split(b"\r\n")[0].decode().split(" ")[1]


def test_the_bridge_serves_nobody_but_the_engine(bridge: Bridge) -> None:
    with server(2) as far:
        bridge.lead("transfer", far.url("file"), None)
        secret = dict(bridge.options("transfer"))["all-proxy-passwd"]
        connect = f"CONNECT 127.0.0.2:{far.port} HTTP/1.1"
        assert asked(bridge, connect, user="transfer", secret=secret) == "200"
        assert asked(bridge, connect, user="transfer", secret="guess") == "407"
        assert asked(bridge, connect, user="other", secret=secret) == "407"
        assert asked(bridge, "GET / HTTP/1.1", user="transfer", secret=secret) == "405"
        assert asked(bridge, "CONNECT nowhere HTTP/1.1", user="transfer", secret=secret) == "405"
        assert asked(bridge, "nonsense", user="transfer", secret=secret) == "405"
        bridge.forget("transfer")
        assert asked(bridge, connect, user="transfer", secret=secret) == "407"
        assert secret not in repr(bridge) + str(vars(bridge))


def test_a_bridge_that_is_closed_leaves_nothing(bridge: Bridge) -> None:
    with server(2, bytes_per_second=1000) as far:
        bridge.lead("transfer", far.url("file"), None)
        options = dict(bridge.options("transfer"))
        port = int(options["all-proxy"].rpartition(":")[2])
        bridge.close()
        with socket.socket() as near:
            assert near.connect_ex(("127.0.0.1", port)) != 0
        bridge.close()


# --- whole pulls -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_a_pull_goes_through_the_proxy_with_all_it_asks(
    hub: LoopbackHub, user: User, kind: str
) -> None:
    hub.put_repo(SPEC)
    proxy = http_proxy("me", "swordfish") if kind == "http" else socks_proxy("me", "swordfish")
    with proxy as guests:
        run = user.having(ALL_PROXY=guests.url).pulled(SPEC.repo_id, "--debug")
    assert_holds(run.path, SPEC)
    assert {urlsplit(hub.url(site)).netloc for site in ("origin", "cdn")} == set(guests.places)
    assert "swordfish" not in run.stdout + run.stderr


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_tls_goes_through_the_proxy_untouched(tmp_path: Path, kind: str) -> None:
    with (
        LoopbackHub(HubConfig(repos=(SPEC,), https=True)) as hub,
        http_proxy() if kind == "http" else socks_proxy() as guests,
    ):
        user = user_of(hub, tmp_path / "home")
        somebody = user.having(HTTPS_PROXY=guests.url, SSL_CERT_FILE=str(hub.ca_bundle))
        assert_holds(somebody.pulled(SPEC.repo_id).path, SPEC)
        assert guests.hosts == {"127.0.0.1", "127.0.0.3"}


def test_a_proxy_may_be_reached_by_tls(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    hub.put_repo(SPEC)
    authority = trustme.CA()
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with http_proxy("me", "swordfish", tls=context) as guests:
        somebody = user.having(ALL_PROXY=guests.url, SSL_CERT_FILE=str(bundle))
        assert_holds(somebody.pulled(SPEC.repo_id).path, SPEC)
    assert guests.hosts == {"127.0.0.1", "127.0.0.3"}


def test_names_are_resolved_by_the_socks_proxy(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    port = urlsplit(hub.url("mirror")).port
    with socks_proxy(names={"mirror.test": "127.0.0.2"}) as guests:
        mirror = f"http://mirror.test:{port}"
        run = user.having(ALL_PROXY=guests.url).pulled(
            SPEC.repo_id, "--endpoint", mirror, "--no-origin"
        )
    assert_holds(run.path, SPEC)
    assert guests.hosts == {"mirror.test"}


def test_who_is_exempt_is_reached_directly(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    with socks_proxy() as guests:
        somebody = user.having(ALL_PROXY=guests.url, NO_PROXY="127.0.0.3")
        assert_holds(somebody.pulled(SPEC.repo_id).path, SPEC)
    assert guests.hosts == {"127.0.0.1"}
    assert hub.requests(site="cdn")


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_an_endpoint_has_a_proxy_of_its_own(hub: LoopbackHub, user: User, kind: str) -> None:
    hub.put_repo(SPEC)
    mirror = hub.add_mirror("thin", lfs_from="cdn")
    with http_proxy() if kind == "http" else socks_proxy() as guests:
        config = user.home / "config.toml"
        config.write_text(
            f'[mirrors.lab]\nurl = "{mirror}"\nproxy = "{guests.url}"\n', encoding="utf-8"
        )
        somebody = user.having(HFARIA_CONFIG=str(config))
        assert_holds(somebody.pulled(SPEC.repo_id, "--endpoint", "lab").path, SPEC)
        places = {urlsplit(url).netloc for url in (mirror, hub.url("cdn"))}
        assert places <= set(guests.places)
        assert urlsplit(hub.url("origin")).netloc not in guests.places


def test_a_proxy_that_is_out_of_reach_is_named_without_its_password(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    proxy = "socks5h://me:swordfish@127.0.0.1:9"
    run = user.having(ALL_PROXY=proxy).pull(SPEC.repo_id, "--patience", "1", "--debug")
    assert run.code == 5
    assert "swordfish" not in run.stderr
    assert "socks5h://127.0.0.1:9, the proxy on the way to 127.0.0.1" in run.stderr


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_a_proxy_that_denies_the_password_is_not_waited_for(
    hub: LoopbackHub, user: User, kind: str
) -> None:
    hub.put_repo(SPEC)
    proxy = http_proxy("me", "swordfish") if kind == "http" else socks_proxy("me", "swordfish")
    with proxy as guests:
        wrong = guests.url.replace("swordfish", "guess")
        run = user.having(ALL_PROXY=wrong).pull(SPEC.repo_id)
    assert "refuses its name and password" in refused(run, 5)
    assert "guess" not in run.stderr
    assert hub.records == ()


def test_a_socks_proxy_that_talks_nonsense_is_no_bug(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    with socks_proxy(answers=b"HTTP/1.1 400 What?\r\n\r\n") as guests:
        run = user.having(ALL_PROXY=guests.url).pull(SPEC.repo_id, "--patience", "1")
    refused(run, 5)


def test_a_proxy_of_an_unknown_kind_is_refused_at_once(user: User) -> None:
    run = user.having(ALL_PROXY="socks4://me:swordfish@127.0.0.1:9").pull(SPEC.repo_id)
    assert refused(run, 2) == "ALL_PROXY: `socks4` proxies are not supported"
