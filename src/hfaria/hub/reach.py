"""Notice at once when an endpoint that was out of reach can be connected to again."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hfaria.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfaria.hub.client import HubClient
    from hfaria.rules.endpoints import Endpoint

_CONNECT_SECONDS = 3.0
_SHORTEST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 3.0
_PAUSE_SHARE = 0.005
_TICK_SECONDS = 0.1
_PORTS = {"http": 80, "https": 443}


def wait_until_reachable(
    client: HubClient,
    endpoint: Endpoint,
    *,
    after_seconds: float,
    is_cancelled: Callable[[], bool],
) -> None:
    """Return when a connection succeeds; raises `InterruptedError` when cancelled.

    A connection costs an endpoint next to nothing, so the pauses between them are half a percent of
    the time that it is gone already: an outage is noticed to be over within 1 % of its length, and
    a long one takes few more connections than a short one. Behind a proxy it takes a request.
    """
    _sleep(after_seconds, is_cancelled)
    started_at = time.monotonic()
    while not _answers(client, endpoint):
        pause = max(_SHORTEST_PAUSE_SECONDS, _PAUSE_SHARE * (time.monotonic() - started_at))
        if client.proxies.find(endpoint.url, endpoint) is not None:
            pause = _LONGEST_PAUSE_SECONDS
        _sleep(min(pause, _LONGEST_PAUSE_SECONDS), is_cancelled)


def _answers(client: HubClient, endpoint: Endpoint) -> bool:
    if client.proxies.find(endpoint.url, endpoint) is not None:
        try:
            client.send("HEAD", endpoint.url, endpoint=endpoint, silence_seconds=_CONNECT_SECONDS)
        except HubError:
            return False
        return True
    parts = urlsplit(endpoint.url)
    address = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _sleep(seconds: float, is_cancelled: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while True:
        if is_cancelled():
            raise InterruptedError
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(_TICK_SECONDS, left))
