"""A server that says any bytes at all, at any pace: what no HTTP library would send."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

_END = b"\r\n\r\n"


class RawServer:
    """Answers every request head with what ``answer`` yields for it; a number is a pause.

    Closing it ends every answer, whatever is left of it.
    """

    def __init__(self, answer: Callable[[str], Iterable[bytes | float]]) -> None:
        self._answer = answer
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads: list[str] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in tuple(self._threads):
            thread.join()

    def _start(self, target: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=target, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with connection, contextlib.suppress(OSError):
            while (head := self._read_head(connection)) is not None:
                self.heads.append(head)
                for part in self._answer(head):
                    if self._ended.is_set():
                        return
                    if isinstance(part, bytes):
                        self._send(connection, part)
                    else:
                        self._ended.wait(part)

    def _read_head(self, connection: socket.socket) -> str | None:
        head = b""
        while not head.endswith(_END):
            try:
                piece = connection.recv(1)
            except TimeoutError:
                if self._ended.is_set():
                    return None
                continue
            if not piece:
                return None
            head += piece
        return head.decode("latin-1")

    def _send(self, connection: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                view = view[connection.send(view) :]
