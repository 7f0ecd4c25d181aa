"""A job's log: without secrets, of bounded size, and readable while it is written."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from typing import TYPE_CHECKING

from hfaria.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MOST_BYTES = 1_000_000
"""When a log is this long it is set aside, and the one set aside before is deleted."""
_LONGEST_LINE = 4000
_LOOK_SECONDS = 0.1


def older(log: Path) -> Path:
    """Where the part of a log lies that was set aside."""
    return log.with_name(f"{log.name}.1")


class LogStream(io.TextIOBase):
    """Takes the place of stdout and stderr: each line with its time, and without secrets.

    The process's own descriptors follow, so that the last words of the interpreter are there, too.
    A disk that is full costs the log, not the job.
    """

    def __init__(
        self, path: Path, *, descriptors: tuple[int, ...] = (1, 2), most_bytes: int = MOST_BYTES
    ) -> None:
        super().__init__()
        self._path = path
        self._descriptors = descriptors
        self._most_bytes = most_bytes
        self._rest = ""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        """It is for writing."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What becomes of text."""
        return "utf-8"

    def write(self, text: str, /) -> int:
        """Write the lines that are whole by now."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            if len(self._rest) > _LONGEST_LINE:
                lines.append(self._rest)
                self._rest = ""
            for line in lines:
                self._put(line)
        return len(text)

    def finish(self) -> None:
        """Write what has no end of line yet."""
        with self._lock:
            if self._rest:
                self._put(self._rest)
                self._rest = ""

    def _put(self, line: str) -> None:
        if not line.strip():
            return  # between paragraphs on a terminal; here each line has its time
        at = time.strftime("%Y-%m-%d %H:%M:%S")
        # Cut before it is redacted, a secret at the end would be short enough to pass.
        text = redact(line)[:_LONGEST_LINE]
        with contextlib.suppress(OSError):
            self._turn_over()
            os.write(self._descriptors[0], f"{at} {text}\n".encode("utf-8", "backslashreplace"))

    def _turn_over(self) -> None:
        if os.fstat(self._descriptors[0]).st_size < self._most_bytes:
            return
        os.replace(self._path, older(self._path))  # noqa: PTH105 - the atomic one, by its name
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._path, flags, 0o600)
        for each in self._descriptors:
            os.dup2(descriptor, each)
        os.close(descriptor)


def read_log(path: Path) -> Iterator[str]:
    """Yield what the log holds, the older part first."""
    for each in (older(path), path):
        with contextlib.suppress(FileNotFoundError):
            yield each.read_text(encoding="utf-8", errors="replace")


def follow_log(path: Path, *, is_over: Callable[[], bool]) -> Iterator[str]:
    """Yield what the log holds and what is added, until it is over."""
    with contextlib.suppress(FileNotFoundError):
        yield older(path).read_text(encoding="utf-8", errors="replace")
    file = path.open(encoding="utf-8", errors="replace")
    try:
        while True:
            ended = is_over()  # asked first: what was written before it is read below
            if text := file.read():
                yield text
                continue
            if _was_set_aside(file, path):
                if text := file.read():
                    yield text
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
                continue
            if ended:
                return
            time.sleep(_LOOK_SECONDS)
    finally:
        file.close()


def _was_set_aside(file: io.TextIOWrapper, path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
