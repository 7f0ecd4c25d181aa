"""One site: a listener that can vanish, fall silent and come back, and its connections."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from loopback_hub.delivery import Link, SiteFlow, is_tls, reset
from loopback_hub.outages import Reach
from loopback_hub.shaping import Bucket, Shape

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from aiohttp.web_protocol import RequestHandler

    from loopback_hub.config import SiteSpec

_BACKLOG = 512
_STOP_SECONDS = 0.001
_BIND_TRIES = 200
_BIND_SECONDS = 0.01
_SEND_BUFFER = 256 << 10
_connection_numbers = iter(range(1, 1 << 62))


class _Server(web.Server):
    """aiohttp's server, with a link of our own for every connection."""

    def __init__(self, site: Site) -> None:
        super().__init__(
            site.respond, access_log=None, keepalive_timeout=3600.0, lingering_time=0.0
        )
        self._site = site

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Give the connection its link."""
        super().connection_made(handler, transport)
        self._site.admit(handler, transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget the connection's link."""
        super().connection_lost(handler, exc)
        self._site.dismiss(handler)


class Site:
    """A site in operation, on a port that stays its own while it refuses connections."""

    def __init__(self, spec: SiteSpec, serve: Callable[..., Awaitable[web.StreamResponse]]) -> None:
        self.spec = spec
        self.links: dict[RequestHandler, Link] = {}
        self.shape = spec.shape
        self._total = Bucket(spec.shape.rate_total)
        self._serve = serve
        self._reserved, self.host = _reserve(spec.host)
        self.port: int = self._reserved.getsockname()[1]
        self.scheme = "http"
        self.flow = SiteFlow()
        self._reach = Reach.REFUSED
        self._settling = asyncio.Lock()
        self._plug: tuple[socket.socket, ...] = ()
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """Base URL, prefix included."""
        return f"{self.scheme}://{self.host}:{self.port}{self.spec.prefix}"

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Serve, over TLS if there is a context."""
        self._context = context
        self.scheme = "http" if context is None else "https"
        self._server = _Server(self)
        await self.settle(Reach.OPEN)

    async def settle(self, reach: Reach) -> None:
        """Be reached like this from now on."""
        # Two who notice the end of an outage at once would both bind the port.
        async with self._settling:
            if self._server is None or reach is self._reach:
                return
            self._reach = reach
            self._unplug()
            if reach in {Reach.REFUSED, Reach.UNANSWERED}:
                self._close_listener()
            elif self._listener is None:
                await self._listen(self._server)
            if reach is Reach.UNANSWERED:
                self._plug = _plugged(await _bound_again(self.host, self.port))
            if reach in {Reach.OPEN, Reach.REFUSED}:
                self.flow.goes_on.set()
            else:
                self.flow.goes_on.clear()
            if reach is Reach.REFUSED:
                for handler in tuple(self.links):
                    if handler.transport is not None:
                        reset(handler.transport)

    async def _listen(self, server: _Server) -> None:
        opened = await _bound_again(self.host, self.port)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            server, sock=opened, ssl=self._context, backlog=_BACKLOG
        )

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _unplug(self) -> None:
        for one in self._plug:
            one.close()
        self._plug = ()

    async def stop(self) -> None:
        """Close everything."""
        self._close_listener()
        self._unplug()
        if self._server is not None:
            self._server.pre_shutdown()
            # Zero would mean to wait for ever.
            await self._server.shutdown(timeout=_STOP_SECONDS)
        for handler in tuple(self.links):
            if handler.transport is not None:
                handler.transport.abort()
        self._reserved.close()

    def reshape(self, shape: Shape) -> None:
        """Change the link of this site and of every open connection."""
        self.shape = shape
        self._total = Bucket(shape.rate_total)
        for link in self.links.values():
            link.reshape(shape, self._total)

    def admit(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Start a connection's link."""
        name = transport.get_extra_info("peername") or ("unknown", 0)
        peer = f"{name[0]}:{name[1]}"
        link = Link(next(_connection_numbers), peer, self.shape, self._total, self.flow)
        link.is_tls = is_tls(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            # What sits in the kernel is counted as sent, so let little of it sit there.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.links[handler] = link

    def dismiss(self, handler: RequestHandler) -> None:
        """End a connection's link."""
        self.links.pop(handler, None)

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        link = self.links.get(request.protocol)
        if link is None:
            raise ConnectionResetError("the client left")
        return await self._serve(self, request, link)


def _reserve(host: str) -> tuple[socket.socket, str]:
    try:
        return _bound(host, 0), host
    except OSError:
        # Not every system answers on all of 127.0.0.0/8 unasked.
        return _bound("127.0.0.1", 0), "127.0.0.1"


def _bound(host: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except OSError:
        opened.close()
        raise
    return opened


async def _bound_again(host: str, port: int) -> socket.socket:
    """Bind a port that was given up just now.

    A process that another thread is about to start holds a copy of the old listener for a moment.
    """
    for _ in range(_BIND_TRIES):
        try:
            return _bound(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        await asyncio.sleep(_BIND_SECONDS)
    return _bound(host, port)


def _plugged(deaf: socket.socket) -> tuple[socket.socket, ...]:
    """Listen with a queue that is full already: the kernel drops further attempts to connect."""
    deaf.listen(0)
    waiting = [deaf]
    for _ in range(2):  # the queue takes one more than it was told to
        caller = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        caller.setblocking(False)  # noqa: FBT003  # its only form
        caller.connect_ex(deaf.getsockname())
        waiting.append(caller)
    return tuple(waiting)
