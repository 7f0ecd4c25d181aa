"""An HTTP proxy of ours on loopback, since aria2 knows no SOCKS and one way for each transfer only.

It carries connections to where a transfer's sources are, each by the way that was told for it: a
SOCKS proxy, an HTTP proxy, or none. Nobody else on the machine can use it: each transfer has a name
and the run has a secret.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import secrets
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from python_socks import ProxyConnectionError as Unreachable
from python_socks import ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio.v2 import Proxy as Connector

from hfaria.errors import EngineError
from hfaria.redact import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.rules.proxies import Proxy

_HOST = "127.0.0.1"
_CONNECT_SECONDS = 15.0
_HEAD_SECONDS = 10.0
_LONGEST_HEAD = 16 * 1024
_PIECE = 1 << 18
_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class _Ways:
    """One transfer's ways, by host and port; a host that nobody told of is reached as the first."""

    first: Proxy | None
    by_place: dict[tuple[str, int], Proxy | None] = field(default_factory=dict)

    def find(self, host: str, port: int) -> Proxy | None:
        return self.by_place.get((host, port), self.first)


class _RefusedError(Exception):
    """A request that is answered with a status instead of a connection."""


class Bridge:
    """The proxy for the engine; it runs in a thread from its first use to `close`."""

    def __init__(
        self, *, ca_bundle: Path | None = None, connect_seconds: float = _CONNECT_SECONDS
    ) -> None:
        self._ca_bundle = ca_bundle
        self._connect_seconds = connect_seconds
        self._secret = Secret(secrets.token_urlsafe(32))
        self._ways: dict[str, _Ways] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self._open: set[asyncio.Task[None]] = set()

    def options(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return aria2's options for the transfer ``name``, whose first way was told before."""
        self._start()
        return (
            ("all-proxy", f"http://{_HOST}:{self._port}"),
            ("all-proxy-user", name),
            ("all-proxy-passwd", self._secret.reveal()),
            ("proxy-method", "tunnel"),
            ("no-proxy", ""),  # which host is reached directly is decided here
        )

    def lead(self, name: str, url: str, proxy: Proxy | None) -> None:
        """Let the transfer ``name`` reach the host of ``url`` by ``proxy``; None is directly."""
        parts = urlsplit(url)
        place = (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme]
        self._ways.setdefault(name, _Ways(proxy)).by_place[place] = proxy

    def forget(self, name: str) -> None:
        """Let the transfer ``name`` reach nobody any more."""
        self._ways.pop(name, None)

    def close(self) -> None:
        """Cut all connections and end the thread."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), loop).result(_HEAD_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    def _start(self) -> None:
        if self._loop is not None:
            return
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="hfaria-bridge", daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._serve, _HOST, 0, limit=_LONGEST_HEAD)
        try:
            self._server = asyncio.run_coroutine_threadsafe(listening, loop).result(_HEAD_SECONDS)
        except OSError as exc:
            loop.call_soon_threadsafe(loop.stop)
            raise EngineError(f"no way to the proxy: {exc.strerror or exc}") from exc
        self._port = self._server.sockets[0].getsockname()[1]
        self._loop = loop

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is in one
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host, port, proxy = self._read_head(
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
            )
            far_reader, far_writer = await self._connect(host, port, proxy)
        except (asyncio.LimitOverrunError, asyncio.TimeoutError):
            return
        except _RefusedError as exc:
            writer.write(f"HTTP/1.1 {exc}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ways = [
                asyncio.ensure_future(_pump(reader, far_writer)),
                asyncio.ensure_future(_pump(far_reader, writer)),
            ]
            try:
                # Nobody needs half a connection here: an answer has ended, or nobody wants it.
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            far_writer.close()

    def _read_head(self, head: bytes) -> tuple[str, int, Proxy | None]:
        """Return where a request wants to, and by which way it may."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = (*first.split(" "), "", "", "")[:3]
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        ways = self._authenticate(fields.get("proxy-authorization", ""))
        if ways is None:
            raise _RefusedError('407 Not yours\r\nProxy-Authenticate: Basic realm="hfaria"')
        host, _, port = target.rpartition(":")
        if method != "CONNECT" or not port.isdigit() or not host:
            raise _RefusedError("405 CONNECT only")
        host = host.strip("[]").lower()
        return host, int(port), ways.find(host, int(port))

    def _authenticate(self, field_value: str) -> _Ways | None:
        kind, _, code = field_value.partition(" ")
        try:
            name, _, secret = base64.b64decode(code, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        is_ours = hmac.compare_digest(secret.encode(), self._secret.reveal().encode())
        return self._ways.get(name) if is_ours and kind.lower() == "basic" else None

    async def _connect(
        self, host: str, port: int, proxy: Proxy | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            if proxy is None:
                direct = asyncio.open_connection(host, port, limit=_PIECE)
                return await asyncio.wait_for(direct, self._connect_seconds)
            connector = Connector(
                ProxyType.SOCKS5 if proxy.is_socks else ProxyType.HTTP,
                proxy.host,
                proxy.port,
                username=proxy.username,
                password=None if proxy.password is None else proxy.password.reveal(),
                rdns=True,
                proxy_ssl=self._trust() if proxy.scheme == "https" else None,
            )
            stream = await connector.connect(host, port, timeout=self._connect_seconds)
        except (ProxyTimeoutError, asyncio.TimeoutError) as exc:
            raise _RefusedError("504 No connection in time") from exc
        except (ProxyError, Unreachable, OSError) as exc:
            raise _RefusedError("502 No connection") from exc
        return stream.reader, stream.writer

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_bundle)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
