"""A loopback HTTP server with ranges, a throttle and a memory of what it sent."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

CHUNK = 16 * 1024


class RangeServer:
    """Serves ``files`` by name; ``bytes_per_second`` is per connection, 0 for no limit."""

    def __init__(
        self, files: Mapping[str, bytes], *, bytes_per_second: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.files = dict(files)
        self.bytes_per_second = bytes_per_second
        self.bytes_sent = 0
        self.requests: list[tuple[str, str | None]] = []
        self.lines: list[str] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                # What the kernel buffers counts as sent, so let it buffer little.
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
                super().setup()
                outer._connections.add(self.request)

            def do_GET(self) -> None:
                outer._answer(self)

            do_POST = do_CONNECT = do_HEAD = do_GET  # noqa: N815 - the names http.server looks up

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 256

        self._server = Server((host, 0), Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, name: str) -> str:
        return f"http://{self.host}:{self.port}/{name}"

    def hang_up(self) -> None:
        """Cut every connection, and accept no other."""
        self._server.socket.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests.append((request.path, request.headers.get("Range")))
            self.lines.append(request.requestline)
        content = self.files.get(request.path.lstrip("/"))
        if content is None:
            request.send_error(404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
        start, end = 0, len(content)
        if found:
            start = int(found[1])
            end = min(int(found[2]) + 1 if found[2] else end, end)
        request.send_response(206 if found else 200)
        request.send_header("Content-Length", str(end - start))
        request.send_header("Accept-Ranges", "bytes")
        if found:
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        request.end_headers()
        try:
            self._send(request, memoryview(content)[start:end])
        except OSError:  # the engine was killed
            request.close_connection = True

    def _send(self, request: BaseHTTPRequestHandler, content: memoryview) -> None:
        began = time.monotonic()
        for at in range(0, len(content), CHUNK):
            if self.bytes_per_second:
                ahead = at / self.bytes_per_second - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(ahead)
            chunk = content[at : at + CHUNK]
            request.wfile.write(chunk)
            with self._lock:
                self.bytes_sent += len(chunk)
