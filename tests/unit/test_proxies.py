from __future__ import annotations

import pytest

from hfaria.errors import InvalidConfig
from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint
from hfaria.rules.proxies import Proxies, Proxy, parse_proxy, proxies_of, read_proxies

HUB = Endpoint("https://hub.example")
LAB = Endpoint("https://lab.example")


def way(proxies: Proxies, url: str, endpoint: Endpoint = HUB) -> str | None:
    found = proxies.find(url, endpoint)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy:3128", Proxy("http", "proxy", 3128)),
        ("proxy:3128", Proxy("http", "proxy", 3128)),
        ("HTTP://proxy", Proxy("http", "proxy", 80)),
        ("https://proxy", Proxy("https", "proxy", 443)),
        ("socks5://[::1]:1081", Proxy("socks5", "::1", 1081)),
        ("socks5h://proxy/", Proxy("socks5h", "proxy", 1080)),
    ],
)
def test_a_proxy_is_read(text: str, expected: Proxy) -> None:
    assert parse_proxy(text, named_by="ALL_PROXY") == expected


def test_name_and_password_are_kept_and_not_shown() -> None:
    proxy = parse_proxy("socks5h://me%40home:sword%3Afish@proxy", named_by="ALL_PROXY")
    assert proxy.username == "me@home"
    assert proxy.password is not None
    assert proxy.password.reveal() == "sword:fish"
    assert proxy.reveal_url() == "socks5h://me%40home:sword%3Afish@proxy:1080"
    assert str(proxy) == "socks5h://proxy:1080"
    assert "fish" not in repr(proxy)
    assert "me@home" not in repr(proxy)


@pytest.mark.parametrize(
    "text",
    ["socks4://swordfish", "http://", "http://:80", "http://[swordfish", "x://swordfish:0x1"],
)
def test_what_is_no_proxy_is_told_without_showing_it(text: str) -> None:
    with pytest.raises(InvalidConfig, match=r"^ALL_PROXY") as caught:
        parse_proxy(text, named_by="ALL_PROXY")
    assert "swordfish" not in caught.value.message


def test_each_scheme_has_its_proxy_and_lower_case_is_stronger() -> None:
    proxies = read_proxies(
        {"http_proxy": "one:1", "HTTP_PROXY": "two:2", "ALL_PROXY": "socks5h://three:3"}, {}
    )
    assert way(proxies, "http://hub.example/x") == "http://one:1"
    assert way(proxies, "https://hub.example/x") == "socks5h://three:3"


def test_a_variable_that_is_not_needed_is_not_read() -> None:
    variables = {"http_proxy": "one:1", "https_proxy": "one:1", "ALL_PROXY": "socks://desktop:1"}
    assert way(read_proxies(variables, {}), "https://hub.example") == "http://one:1"


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("*", ["http://a.example", "http://127.0.0.1"], []),
        ("a.example", ["http://a.example", "http://b.a.example:8"], ["http://ba.example"]),
        (".a.example", ["http://a.example", "http://b.a.example"], ["http://ba.example"]),
        ("*.a.example", ["http://b.a.example"], ["http://b.example"]),
        ("A.Example", ["http://a.example"], []),
        ("a.example:8080", ["http://a.example:8080"], ["http://a.example"]),
        ("127.0.0.1", ["http://127.0.0.1:9"], ["http://127.0.0.2"]),
        ("127.0.0.1:9", ["http://127.0.0.1:9"], ["http://127.0.0.1:8"]),
        ("10.0.0.0/8", ["http://10.9.8.7"], ["http://11.0.0.1"]),
        ("[::1]", ["http://[::1]:9"], ["http://[::2]"]),
        ("fd00::/8", ["http://[fd12::1]"], ["http://[fe80::1]"]),
        ("x, b.example", ["http://b.example"], ["http://a.example"]),
        ("", [], ["http://a.example"]),
    ],
)
def test_no_proxy_names_who_is_reached_directly(
    no_proxy: str, direct: list[str], proxied: list[str]
) -> None:
    proxies = read_proxies({"ALL_PROXY": "proxy:1", "NO_PROXY": no_proxy}, {})
    assert [url for url in direct if way(proxies, url)] == []
    assert [url for url in proxied if not way(proxies, url)] == []


def test_an_endpoint_s_own_proxy_is_stronger_but_for_no_proxy() -> None:
    own = proxies_of([ConfiguredEndpoint(HUB), ConfiguredEndpoint(LAB, proxy="socks5h://lab:1")])
    proxies = read_proxies({"ALL_PROXY": "all:1", "NO_PROXY": "near.example"}, own)
    assert way(proxies, "https://cdn.example", LAB) == "socks5h://lab:1"
    assert way(proxies, "https://cdn.example", HUB) == "http://all:1"
    assert way(proxies, "https://near.example", LAB) is None
    assert way(Proxies(by_endpoint=own), "https://cdn.example", HUB) is None


def test_an_endpoint_is_named_in_what_is_wrong_with_its_proxy() -> None:
    with pytest.raises(InvalidConfig, match=r"the proxy of lab\.example"):
        proxies_of([ConfiguredEndpoint(LAB, proxy="socks4://lab")])


@pytest.mark.parametrize(
    ("variables", "own", "expected"),
    [
        ({}, {}, False),
        ({"ALL_PROXY": "proxy:1"}, {}, False),
        ({"NO_PROXY": "a.example"}, {}, False),
        ({"ALL_PROXY": "proxy:1", "NO_PROXY": "a.example"}, {}, True),
        ({"ALL_PROXY": "socks5h://proxy:1"}, {}, True),
        ({"HTTPS_PROXY": "https://proxy:1"}, {}, True),
        ({}, {LAB: Proxy("http", "proxy", 1)}, True),
    ],
)
def test_a_bridge_is_needed_where_aria2_has_no_way(
    variables: dict[str, str], own: dict[Endpoint, Proxy], expected: bool
) -> None:
    assert read_proxies(variables, own).need_bridge is expected
