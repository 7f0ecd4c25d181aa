"""Real proxies on loopback, small ones, that remember who came through."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

_PIECE = 1 << 16
_CONNECT_SECONDS = 5.0


@dataclass(slots=True)
class Guests:
    """What went through a proxy, and what was refused.

    ``places`` are ``host:port``, names as the client gave them; ``denied`` counts requests without
    the right name and password.
    """

    url: str
    places: list[str] = field(default_factory=list)
    denied: int = 0

    @property
    def hosts(self) -> set[str]:
        return {place.rpartition(":")[0] for place in self.places}


@contextlib.contextmanager
def http_proxy(
    user: str = "", password: str = "", *, tls: ssl.SSLContext | None = None
) -> Iterator[Guests]:
    """Run an HTTP proxy, reached by TLS if told so: CONNECT, and whole URLs."""
    wanted = base64.b64encode(f"{user}:{password}".encode()).decode() if user else None

    def serve(near: socket.socket, guests: Guests) -> None:
        head, rest = _read_head(near)
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        if wanted is not None and fields.get("proxy-authorization") != f"Basic {wanted}":
            guests.denied += 1
            near.sendall(
                b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=x\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
        else:
            parts = urlsplit(target)
            host, port = parts.hostname or "", str(parts.port or 80)
        guests.places.append(f"{host}:{port}")
        with socket.create_connection((host, int(port)), _CONNECT_SECONDS) as far:
            if method == "CONNECT":
                near.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
            else:
                path = target.split("/", 3)[3]
                kept = [line for line in lines if not line.lower().startswith("proxy-")]
                # One request for each connection, so that this stays small.
                kept = [line for line in kept if not line.lower().startswith("connection:")]
                again = [f"{method} /{path} HTTP/1.1", *kept, "Connection: close", "", ""]
                far.sendall("\r\n".join(again).encode() + rest)
            _relay(near, far)

    def serve_tls(near: socket.socket, guests: Guests) -> None:
        assert tls is not None
        with tls.wrap_socket(near, server_side=True) as wrapped:
            serve(wrapped, guests)

    if tls is None:
        with _running(serve, "http", user, password) as guests:
            yield guests
    else:
        with _running(serve_tls, "https", user, password) as guests:
            yield guests


@contextlib.contextmanager
def socks_proxy(
    user: str = "",
    password: str = "",
    *,
    names: dict[str, str] | None = None,
    answers: bytes = b"",
) -> Iterator[Guests]:
    """Run a SOCKS5 proxy that alone knows ``names``. ``answers`` is all that it says, if given."""

    def serve(near: socket.socket, guests: Guests) -> None:
        stream = near.makefile("rb")
        if answers:
            near.sendall(answers)
            return
        _, count = stream.read(2)
        methods = stream.read(count)
        wanted = 2 if user else 0
        if wanted not in methods:
            guests.denied += 1
            near.sendall(b"\x05\xff")
            return
        near.sendall(bytes([5, wanted]))
        if user:
            given = [stream.read(stream.read(2 if not at else 1)[-1]) for at in range(2)]
            is_right = given == [user.encode(), password.encode()]
            guests.denied += not is_right
            near.sendall(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return
        _, _, _, kind = stream.read(4)
        if kind == 3:
            host = stream.read(stream.read(1)[0]).decode()
        else:
            host = socket.inet_ntoa(stream.read(4))
        port = int.from_bytes(stream.read(2), "big")
        guests.places.append(f"{host}:{port}")
        address = (names or {}).get(host, host)
        try:
            far = socket.create_connection((address, port), _CONNECT_SECONDS)
        except OSError:
            near.sendall(b"\x05\x05\x00\x01" + bytes(6))
            return
        with far:
            near.sendall(b"\x05\x00\x00\x01" + bytes(6))
            _relay(near, far)

    with _running(serve, "socks5h", user, password) as guests:
        yield guests


@contextlib.contextmanager
def _running(
    serve: Callable[[socket.socket, Guests], None], scheme: str, user: str, password: str
) -> Iterator[Guests]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # Whoever hangs up in between is no fault of the proxy.
            with contextlib.suppress(OSError, ValueError, IndexError):
                serve(self.request, guests)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        credentials = f"{user}:{password}@" if user else ""
        guests = Guests(f"{scheme}://{credentials}127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield guests
        finally:
            server.shutdown()
            thread.join()


def _read_head(near: socket.socket) -> tuple[str, bytes]:
    text = b""
    while b"\r\n\r\n" not in text:
        piece = near.recv(_PIECE)
        if not piece:
            raise ConnectionError
        text += piece
    head, _, rest = text.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _relay(near: socket.socket, far: socket.socket) -> None:
    while True:
        # What TLS has decrypted already, no `select` tells.
        readable = [near] if hasattr(near, "pending") and near.pending() else []
        readable = readable or select.select([near, far], [], [])[0]
        for one in readable:
            piece = one.recv(_PIECE)
            if not piece:
                return
            (far if one is near else near).sendall(piece)
