"""The guarded client against servers that no HTTP library would make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfaria.errors import NotAHub
from hfaria.hub import client as hub_client
from hfaria.hub.client import HubClient, Timeouts
from hfaria.hub.failed_requests import RequestFailed
from hfaria.rules.endpoints import Endpoint
from support.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MEGABYTE = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))


@pytest.fixture
def client() -> Iterator[HubClient]:
    made = HubClient(
        trusted=(),
        token_source=lambda: None,
        user_agent="test",
    )
    yield made
    made.close()


def test_an_answer_that_drips_has_an_end(client: HubClient) -> None:
    client.timeouts = Timeouts(whole=0.2)

    def drip(_head: str) -> Iterator[bytes | float]:
        yield CHUNKED
        while True:
            yield b"1\r\n \r\n"
            yield 0.01

    with RawServer(drip) as server, pytest.raises(RequestFailed, match="did not answer in time"):
        client.send("GET", server.url, endpoint=Endpoint(server.url))


def test_an_answer_without_end_is_not_kept(client: HubClient) -> None:
    def flood(_head: str) -> Iterator[bytes | float]:
        yield CHUNKED
        while True:
            yield MEGABYTE

    with RawServer(flood) as server, pytest.raises(NotAHub, match="without end"):
        client.send("GET", server.url, endpoint=Endpoint(server.url))
    assert hub_client.LARGEST_ANSWER < 100e6


def test_a_redirect_that_never_ends_is_followed_all_the_same(client: HubClient) -> None:
    def answer(head: str) -> Iterator[bytes | float]:
        if head.startswith("GET /there"):
            yield HEAD + b"Content-Length: 2\r\n\r\n{}"
            return
        yield b"HTTP/1.1 302 Found\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield MEGABYTE

    with RawServer(answer) as server:
        endpoint = Endpoint(server.url)
        with client.stream(server.url, endpoint=endpoint, headers={}) as response:
            assert response.read() == b"{}"


def test_a_head_keeps_the_length_that_it_names(client: HubClient) -> None:
    with RawServer(lambda _: [HEAD + b"Content-Length: 1234567\r\n\r\n"]) as server:
        response = client.send("HEAD", server.url, endpoint=Endpoint(server.url))
    assert response.headers["content-length"] == "1234567"
    assert response.content == b""


def test_headers_come_as_they_are(client: HubClient) -> None:
    odd = b"X-Error-Message: caf\xe9 \x9b\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\n{}"
    with RawServer(lambda _: [HEAD + odd]) as server:
        response = client.send("GET", server.url, endpoint=Endpoint(server.url))
    assert response.headers["x-error-message"] == "caf\xe9 \x9b"
    assert response.headers.get_list("x-two") == ["1", "2"]
    assert response.json() == {}


def test_with_little_patience_there_is_time_for_a_second_try() -> None:
    assert Timeouts.within(12.0) == Timeouts(connect=6.0, read=6.0)
    assert Timeouts.within(1800.0) == Timeouts()
