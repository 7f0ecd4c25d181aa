"""Endpoints of all kinds: mirrors, prefixes, redirects, TLS, proxies, and what is no Hub at all."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from loopback_hub import (
    AlterListing,
    Fault,
    Headers,
    HubConfig,
    LoopbackHub,
    NextLink,
    Portal,
    RedirectTo,
    Replace,
    Stall,
    Status,
    many_small_files,
)
from support.cli import refused, user_of
from support.repos import model
from support.trees import assert_holds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopback_hub.effects import Effect
    from support.cli import User

pytestmark = pytest.mark.aria2

SPEC = model()
DEAD_PROXY = "http://127.0.0.1:9"
PAGED = many_small_files("org/paged", 25, 100)


@pytest.fixture
def paged(tmp_path: Path) -> Iterator[tuple[LoopbackHub, User]]:
    """A hub whose listings have many pages."""
    with LoopbackHub(HubConfig(repos=(PAGED,), page_size=10)) as hub:
        yield hub, user_of(hub, tmp_path / "home")


def test_a_mirror_alone_is_enough(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    run = user.having(HF_ENDPOINT=hub.url("mirror")).pulled(SPEC.repo_id, "--no-origin")
    assert_holds(run.path, SPEC)
    assert {record.site for record in hub.records} == {"mirror"}


def test_a_flag_wins_over_the_variable(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    run = user.having(HF_ENDPOINT=DEAD_PROXY).pulled(
        SPEC.repo_id, "--endpoint", hub.url("mirror"), "--json"
    )
    assert run.document["endpoints"] == [hub.url("mirror")]


def test_a_mirror_below_a_prefix_is_kept_to(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    mirror = hub.add_mirror("below", prefix="/hugging-face")
    run = user.pulled(SPEC.repo_id, "--endpoint", f"{mirror}/", "--no-origin")
    assert_holds(run.path, SPEC)
    assert {record.site for record in hub.records} == {"below"}


def test_a_mirror_that_hands_on_to_the_cdn_is_followed(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    mirror = hub.add_mirror("thin", lfs_from="cdn")
    assert_holds(user.pulled(SPEC.repo_id, "--endpoint", mirror, "--no-origin").path, SPEC)
    assert {record.site for record in hub.records} == {"thin", "cdn"}


def test_all_pages_of_a_listing_are_read(paged: tuple[LoopbackHub, User]) -> None:
    hub, user = paged
    assert_holds(user.pulled(PAGED.repo_id).path, PAGED)
    assert len([r for r in hub.records if "/tree/" in r.path]) >= 3


@pytest.mark.parametrize(("base", "said"), [("origin", "another host"), ("loop", "circle")])
def test_a_listing_that_leads_away_is_refused(
    paged: tuple[LoopbackHub, User], base: str, said: str
) -> None:
    hub, user = paged
    hub.faults.add(Fault(NextLink(base), site="mirror", kind="tree"))
    run = user.having(HF_ENDPOINT=hub.url("mirror")).pull(PAGED.repo_id, "--no-origin")
    assert said in refused(run, 5)
    assert {record.site for record in hub.records} == {"mirror"}
    assert not user.cache.exists()


def test_a_mirror_that_redirects_the_api_to_the_origin_is_named(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(RedirectTo("origin", 308), site="mirror"))
    run = user.having(HF_ENDPOINT=hub.url("mirror")).pull(SPEC.repo_id, "--no-origin")
    error = refused(run, 5)
    assert "sends the request on" in error
    assert hub.url("origin") in error
    assert "--endpoint" in run.hint


def test_a_mirror_that_redirects_files_to_the_origin_is_followed_without_a_token(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(RedirectTo("origin", 308), site="mirror", kind="resolve"))
    run = user.having(HF_ENDPOINT=hub.url("mirror"), HF_TOKEN="hf_other").pull(SPEC.repo_id)
    assert run.code == 0, run.stderr
    assert_holds(run.path, SPEC)
    assert hub.requests_with_token("mirror") == ()
    assert hub.requests_with_token("cdn") == ()


NOT_HUBS: dict[str, Effect] = {
    "a portal": Portal(),
    "no JSON": Replace("it works!", "text/plain"),
    "broken JSON": Replace('{"sha": '),
    "a list": Replace("[1, 2]"),
    "an empty object": Replace("{}"),
    "null": Replace("null"),
    "odd values": Replace('{"sha": [1], "gated": [2], "private": {}}'),
    "a commit that is none": Replace('{"sha": "../../etc"}'),
    "a bare 404": Replace("<h1>not found</h1>", "text/html", 404),
    "a bare 401": Replace("who are you?", "text/plain", 401),
    "405": Replace("no", "text/plain", 405),
}


@pytest.mark.parametrize("effect", NOT_HUBS.values(), ids=NOT_HUBS)
def test_what_is_no_hub_is_said_to_be_none(hub: LoopbackHub, user: User, effect: Effect) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(effect, kind="info"))
    run = user.pull(SPEC.repo_id)
    error = refused(run, 5)
    assert hub.url("origin").removeprefix("http://") in error
    assert not user.cache.exists()


NOT_LISTINGS: dict[str, Effect] = {
    "an object": Replace(),
    "entries of nothing": Replace("[{}]"),
    "numbers": Replace("[1, 2]"),
    "a name that is a number": AlterListing(field_name="fields", fields=(("path", "7"),)),
    "a size that is a text": AlterListing(field_name="fields", fields=(("size", '"7"'),)),
    "a negative size": AlterListing(field_name="fields", fields=(("size", "-1"), ("lfs", "null"))),
    "an oid that is no hash": AlterListing(
        field_name="fields", fields=(("oid", '"../x"'), ("lfs", "null"))
    ),
    "a portal": Portal(),
}


@pytest.mark.parametrize("effect", NOT_LISTINGS.values(), ids=NOT_LISTINGS)
def test_what_is_no_listing_is_refused(hub: LoopbackHub, user: User, effect: Effect) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(effect, kind="tree"))
    run = user.pull(SPEC.repo_id)
    assert run.code in {4, 5}
    refused(run, run.code)
    assert hub.file_bytes_sent() == 0
    assert not user.cache.exists()


def test_a_page_that_stalls_does_not_hang(tmp_path: Path) -> None:
    from hfaria.errors import HubError  # noqa: PLC0415
    from hfaria.hub.client import HubClient, Timeouts  # noqa: PLC0415
    from hfaria.hub.listing import list_page  # noqa: PLC0415
    from hfaria.rules.endpoints import Endpoint  # noqa: PLC0415
    from hfaria.rules.spec import RepoSpec, RepoType  # noqa: PLC0415

    # The real limit is 30 s; the client takes another.
    with LoopbackHub(HubConfig(repos=(SPEC,))) as hub:
        hub.faults.add(Fault(Stall(20.0, after=10), kind="tree"))
        endpoint = Endpoint(hub.url("origin"))
        client = HubClient(
            trusted=(endpoint,),
            token_source=lambda: None,
            user_agent="test",
            timeouts=Timeouts(read=0.3),
        )
        try:
            with pytest.raises(HubError, match="did not answer in time"):
                list_page(
                    client,
                    RepoSpec("org/model", RepoType.MODEL, "main"),
                    SPEC.commit_id,
                    endpoint,
                    None,
                )
        finally:
            client.close()


def test_an_endpoint_that_only_fails_is_given_up_in_time(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(Fault(Status(503)))
    run = user.pull(SPEC.repo_id, "--patience", "1")
    assert "HTTP 503" in refused(run, 5)
    assert run.seconds < 5


def test_a_hub_without_linked_headers_is_enough(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(
        Fault(
            Headers(drop=("X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit", "ETag")),
            kind="resolve",
        )
    )
    assert_holds(user.pulled(SPEC.repo_id).path, SPEC)


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[LoopbackHub, User]]:
    """A hub behind a certificate of a private authority."""
    with LoopbackHub(HubConfig(repos=(SPEC,), https=True)) as hub:
        yield hub, user_of(hub, tmp_path / "home")


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "config"])
def test_a_private_authority_is_trusted_when_named(
    https: tuple[LoopbackHub, User], name: str
) -> None:
    hub, user = https
    assert hub.ca_bundle is not None
    if name == "config":
        path = user.home / "config.toml"
        path.write_text(f'ca_bundle = "{hub.ca_bundle}"\n', encoding="utf-8")
        somebody = user.having(HFARIA_CONFIG=str(path))
    else:
        somebody = user.having(**{name: hub.ca_bundle})
    assert_holds(somebody.pulled(SPEC.repo_id).path, SPEC)
    assert any("aria2" in (record.user_agent or "") for record in hub.requests(site="cdn"))


def test_an_authority_that_nobody_named_is_not_trusted(https: tuple[LoopbackHub, User]) -> None:
    hub, user = https
    run = user.pull(SPEC.repo_id)
    assert "TLS certificate not trusted" in refused(run, 5)
    assert "SSL_CERT_FILE" in run.hint
    assert hub.records == ()
    assert run.seconds < 5


# --- proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["lower", "upper"])
def test_loopback_traffic_never_meets_a_proxy_that_it_is_exempt_from(
    hub: LoopbackHub, user: User, names: str
) -> None:
    hub.put_repo(SPEC)
    settings = {
        "http_proxy": DEAD_PROXY,
        "https_proxy": DEAD_PROXY,
        "all_proxy": DEAD_PROXY,
        "no_proxy": "localhost,127.0.0.1,127.0.0.2,127.0.0.3",
    }
    if names == "upper":
        settings = {name.upper(): value for name, value in settings.items()}
    assert_holds(user.having(**settings).pulled(SPEC.repo_id).path, SPEC)


def test_an_engine_s_rpc_never_goes_through_a_proxy(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.0)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        # Sites are exempt by name; 127.0.0.1, where the RPC is, is the origin's address as well,
        # so the mirror alone is asked.
        somebody = user.having(
            http_proxy=url, HTTP_PROXY=url, no_proxy="127.0.0.2", HF_ENDPOINT=hub.url("mirror")
        )
        assert_holds(somebody.pulled(SPEC.repo_id, "--no-origin").path, SPEC)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_a_proxy_that_is_dead_is_blamed(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    run = user.having(http_proxy=DEAD_PROXY).pull(SPEC.repo_id, "--patience", "1")
    refused(run, 5)
    assert hub.records == ()
