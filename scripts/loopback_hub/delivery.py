"""Delivery: an answer becomes bytes on a connection, with every pause and cut it asks for."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import random
import socket
import ssl
import struct
import termios
from array import array
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from loopback_hub.shaping import Bucket, Shape

if TYPE_CHECKING:
    from loopback_hub.answers import Answer, Pause
    from loopback_hub.records import RecordEntry

_SMALL = 64 << 10
_COMPRESSIBLE = 1024
_MEGABYTE = 1_000_000
_FLUSH_CHECKS = 100
_FLUSH_CHECK_SECONDS = 0.005
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class SiteFlow:
    """What all connections of a site have in common: whether bytes flow, and how many did.

    ``sent`` counts the bytes of files.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()


class Link:
    """One connection's share of its site's link."""

    def __init__(self, number: int, peer: str, shape: Shape, total: Bucket, flow: SiteFlow) -> None:
        self.number = number
        self.peer = peer
        self.flow = flow
        self.is_new = True
        self.is_tls = False
        self.dice = random.Random(number)
        self.reshape(shape, total)

    def reshape(self, shape: Shape, total: Bucket) -> None:
        """Change latency and rates from the next chunk on."""
        self.shape = shape
        self.own = Bucket(shape.rate_per_connection)
        self.total = total
        self.is_paced = shape.rate_per_connection is not None or shape.rate_total is not None

    async def wait_for_round_trips(self) -> None:
        """Wait as long as the request, and the handshakes before it, would have travelled."""
        trips = 1 + (0 if not self.is_new else 2 if self.is_tls else 1)
        self.is_new = False
        if self.shape.latency_seconds:
            await asyncio.sleep(trips * self.shape.latency_seconds)


class Delivery(web.StreamResponse):
    """Writes one answer straight to the transport, so that it may be as wrong as asked."""

    def __init__(self, answer: Answer, link: Link, entry: RecordEntry) -> None:
        super().__init__(status=answer.status)
        self._answer = answer
        self._link = link
        self._entry = entry
        self._keeps_open = True

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after this."""
        return self._keeps_open

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send everything."""
        answer = self._answer
        if answer.may_compress and "gzip" in request.headers.get("Accept-Encoding", ""):
            answer = _compress(answer)
        self._keeps_open = bool(request.keep_alive) and answer.has_length
        await self._link.wait_for_round_trips()
        for pause in answer.pauses:
            if pause.after is None:
                await asyncio.sleep(pause.seconds)
        await self._link.flow.goes_on.wait()
        transport = request.transport
        if transport is None or transport.is_closing():
            return
        if answer.drops_connection:
            self._keeps_open = False
            transport.abort()
            return
        await self._send(answer, request, transport)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` sent it all."""

    async def _send(
        self, answer: Answer, request: web.BaseRequest, transport: asyncio.Transport
    ) -> None:
        start, end = answer.sent_span
        if request.method == "HEAD" or answer.status in {204, 304}:
            end = start
        cut = None if answer.stop_after is None else start + answer.stop_after
        is_cut = cut is not None and cut < end
        stop = cut if cut is not None and is_cut else end
        head = _head(answer, keeps_open=self._keeps_open)
        is_simple = not answer.pauses and not answer.resets_per_megabyte and not self._link.is_paced
        if is_simple and stop - start <= _SMALL and not answer.is_chunked:
            self._count(stop - start)
            transport.write(head + _read(answer, start, stop))
        else:
            transport.write(head)
            is_cut = not await self._stream(answer, request, transport, start, stop) or is_cut
        if is_cut:
            await self._stop(answer, transport)
        elif answer.is_chunked and request.method != "HEAD":
            transport.write(b"0\r\n\r\n")
        if answer.declared_length is not None:
            self._keeps_open = False

    async def _stream(
        self,
        answer: Answer,
        request: web.BaseRequest,
        transport: asyncio.Transport,
        start: int,
        stop: int,
    ) -> bool:
        """Send a body in chunks; return whether all of it went out."""
        pauses = [pause for pause in answer.pauses if pause.after is not None]
        link, first = self._link, start
        while start < stop:
            await _sit_out(pauses, start - first)
            size = min(link.shape.chunk_size, stop - start)
            size = min([size, *(first + (pause.after or 0) - start for pause in pauses)])
            if link.is_paced:
                await link.own.take(size)
                await link.total.take(size)
            await link.flow.goes_on.wait()
            if transport.is_closing():
                return False
            odds = answer.resets_per_megabyte * size / _MEGABYTE
            if odds and link.dice.random() < odds:
                return False
            chunk = _read(answer, start, start + size)
            if answer.is_chunked:
                chunk = b"%x\r\n%b\r\n" % (size, chunk)
            # Counted first: a client may look at the records as soon as it has the bytes.
            self._count(size)
            transport.write(chunk)
            unsent = transport.get_write_buffer_size()
            start += size
            try:
                await request.writer.drain()
            except ConnectionError:
                self._count(-min(size, unsent))
                return False
        return True

    def _count(self, size: int) -> None:
        self._entry.bytes_sent += size
        if self._entry.blob is not None:
            self._link.flow.sent += size

    async def _stop(self, answer: Answer, transport: asyncio.Transport) -> None:
        self._keeps_open = False
        # aiohttp owns the protocol, so nobody tells us when the transport is flushed.
        for _ in range(_FLUSH_CHECKS):
            if transport.is_closing() or not _unreceived(transport):
                break
            await asyncio.sleep(_FLUSH_CHECK_SECONDS)
        if answer.stops_by_reset:
            reset(transport)
        elif not transport.is_closing():
            transport.close()


def reset(transport: asyncio.Transport | asyncio.BaseTransport) -> None:
    """End a connection with RST."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.Transport):
        transport.abort()


def is_tls(transport: asyncio.BaseTransport) -> bool:
    """Tell whether a connection is encrypted."""
    return isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)


def _unreceived(transport: asyncio.Transport) -> int:
    """Count bytes the peer's kernel hasn't got yet; a reset would destroy them."""
    raw = transport.get_extra_info("socket")
    queued = array("i", [0])
    if raw is not None and raw.fileno() >= 0:
        fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, queued)
    return transport.get_write_buffer_size() + queued[0]


async def _sit_out(pauses: list[Pause], sent: int) -> None:
    for pause in [pause for pause in pauses if (pause.after or 0) <= sent]:
        pauses.remove(pause)
        await asyncio.sleep(pause.seconds)


def _read(answer: Answer, start: int, stop: int) -> bytes:
    if start >= stop:
        return b""
    if isinstance(answer.body, bytes):
        return answer.body[start:stop]
    return answer.body.read(start, stop - start)


def _compress(answer: Answer) -> Answer:
    if not isinstance(answer.body, bytes) or len(answer.body) < _COMPRESSIBLE:
        return answer
    packed = replace(answer, body=gzip.compress(answer.body, compresslevel=1), is_chunked=True)
    return packed.with_headers(Content_Encoding="gzip", Vary="Accept-Encoding")


def _head(answer: Answer, *, keeps_open: bool) -> bytes:
    start, stop = answer.sent_span
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.header("Date") is None:  # a fault may have set the clock
        lines.append(f"Date: {formatdate(usegmt=True)}")
    if answer.span is not None:
        lines.append(f"Content-Range: bytes {start}-{stop - 1}/{answer.size}")
    if answer.is_chunked:
        lines.append("Transfer-Encoding: chunked")
    elif answer.has_length:
        length = stop - start if answer.declared_length is None else answer.declared_length
        lines.append(f"Content-Length: {length}")
    if not keeps_open:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
