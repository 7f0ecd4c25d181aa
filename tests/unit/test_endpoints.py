from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import InvalidConfig
from hfaria.rules.endpoints import (
    ORIGIN_URL,
    Endpoint,
    may_carry_token,
    parse_endpoint,
    same_host,
)

TRUSTED = (Endpoint(ORIGIN_URL), Endpoint("https://mirror.example:8443/hub"))


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co",
        "https://huggingface.co/",
        "https://huggingface.co/api/models/org/name?x=https://evil.example",
        "https://huggingface.co:443/a",
        "https://HuggingFace.CO/a",
        "HTTPS://huggingface.co/a",
        "https://mirror.example:8443/hub",
        "https://mirror.example:8443/hub/api/models",
        "https://mirror.example:8443/hub?x=../other",
    ],
)
def test_the_token_goes_to_trusted_endpoints(url: str) -> None:
    assert may_carry_token(url, TRUSTED)


@pytest.mark.parametrize(
    "url",
    [
        "http://huggingface.co/a",
        "http://huggingface.co:443/a",
        "https://huggingface.co:8443/a",
        "https://huggingface.co:0/a",
        "https://huggingface.co:99999/a",
        "https://huggingface.co:port/a",
        "https://huggingface.co./a",
        "https://www.huggingface.co/a",
        "https://cdn-lfs.huggingface.co/a",
        "https://huggingface.co.evil.com/a",
        "https://evilhuggingface.co/a",
        "https://huggingface.co@evil.com/a",
        "https://huggingface.co:443@evil.com/a",
        "https://huggingface.co%2f@evil.com/a",
        "https://huggingface.co\\@evil.com/a",
        "https://huggingface.co\t.evil.com/a",
        "https://evil.com/https://huggingface.co/a",
        "https://evil.com?https://huggingface.co/a",
        "https://evil.com#@huggingface.co/a",
        "https:huggingface.co/a",
        "https:///huggingface.co/a",
        "//huggingface.co/a",
        "ftp://huggingface.co/a",
        "huggingface.co",
        "",
        "https://[::1",
        "https://mirror.example:8443/",
        "https://mirror.example:8443/hubris",
        "https://mirror.example:8443/other",
        "https://mirror.example:8443/Hub/a",
        "https://mirror.example:8443/hub/../other",
        "https://mirror.example:8443/hub/%2e%2E/other",
        "https://mirror.example:8443/hub/%2e%2e%2fother",
        "https://mirror.example/hub/a",
        "http://mirror.example:8443/hub/a",
    ],
)
def test_the_token_goes_nowhere_else(url: str) -> None:
    assert not may_carry_token(url, TRUSTED)


def test_without_trust_the_token_stays_here() -> None:
    assert not may_carry_token(ORIGIN_URL, ())


@given(st.text())
def test_no_text_crashes_the_firewall_or_gets_through_it(text: str) -> None:
    assert not may_carry_token(text, TRUSTED)
    may_carry_token(f"https://{text}", TRUSTED)
    assert not same_host(f"https://{text}", "https://[::1")


@given(st.text(alphabet="abc.:@/\\?#[]%0123456789", max_size=20))
def test_what_comes_between_scheme_and_host_never_gets_the_token(prefix: str) -> None:
    url = f"https://evil.example{prefix}huggingface.co/a"
    if may_carry_token(url, TRUSTED):
        # Only as userinfo: then the request does go to the origin.
        assert prefix.rpartition("@")[2] == ""
        assert "@" in prefix


@pytest.mark.parametrize(
    ("url", "other", "is_same"),
    [
        ("https://a.example/x", "https://a.example:443/y", True),
        ("http://a.example:80", "http://A.example/", True),
        ("http://a.example", "https://a.example", False),
        ("https://a.example", "https://b.example", False),
        ("https://[::1]:8/x", "https://[::1]:8/y", True),
        ("https://[::1", "https://[::1", False),
        ("", "", False),
    ],
)
def test_two_urls_are_at_the_same_host(url: str, other: str, is_same: bool) -> None:
    assert same_host(url, other) is is_same


def test_paths_are_joined_below_the_prefix() -> None:
    endpoint = Endpoint("https://mirror.example:8443/hub")
    assert endpoint.join("/api/models") == "https://mirror.example:8443/hub/api/models"
    assert endpoint.join("api/models") == "https://mirror.example:8443/hub/api/models"
    assert endpoint.host == "mirror.example:8443"
    assert str(endpoint) == endpoint.url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://huggingface.co", "https://huggingface.co"),
        (" https://huggingface.co// ", "https://huggingface.co"),
        ("http://127.0.0.1:8080/prefix/", "http://127.0.0.1:8080/prefix"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_endpoint_is_read(text: str, url: str) -> None:
    assert parse_endpoint(text, named_by="--endpoint") == Endpoint(url)


@pytest.mark.parametrize(
    "text",
    [
        "huggingface.co",
        "ftp://huggingface.co",
        "https://",
        "https:///path",
        "https://[::1",
        "https://host:port",
        "https://host:99999",
        "https://user@host.example",
        "https://user:pass@host.example",
        "https://@host.example",
        "https://host.example?x=y",
        "https://host.example?",
        "https://host.example/#",
        "file:///etc/passwd",
        "",
    ],
)
def test_what_is_no_endpoint_is_refused_by_the_name_of_its_source(text: str) -> None:
    with pytest.raises(InvalidConfig, match=r"^HF_ENDPOINT: "):
        parse_endpoint(text, named_by="HF_ENDPOINT")
