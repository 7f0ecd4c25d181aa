"""What the operator sees: results on stdout, all else on stderr."""

from __future__ import annotations

import io
import shutil
import sys
import time

from hfaria.bundle.importer.errors import DESTINATION, BundleError

_LINE_SECONDS = 0.2
_REPORT_SECONDS = 10.0


def size_text(size: float) -> str:
    """Return a size as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


class Console:
    """Results on stdout; progress, notes and errors on stderr."""

    def __init__(self, *, is_quiet: bool = False, show_progress: bool = True) -> None:
        for stream in (sys.stdout, sys.stderr):
            # What the console can't show is shown as an escape: a name must never end the work.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self.is_quiet = is_quiet
        self._is_terminal = sys.stderr.isatty()
        self._shows_progress = show_progress
        self._label, self._total, self._done, self._width = "", 0, 0, 0
        self._started = self._shown = time.monotonic()

    def result(self, text: str) -> None:
        """Print what was asked for."""
        if not self.is_quiet:
            print(text, flush=True)

    def say(self, text: str) -> None:
        """Print a note."""
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def start(self, label: str, total: int) -> None:
        """Begin to show how far a repo has come."""
        self._label, self._total, self._done = label, total, 0
        self._started = self._shown = time.monotonic()

    def step(self, count: int) -> None:
        """Count bytes that are done."""
        self._done += count
        now = time.monotonic()
        if not self._shows_progress or now - self._shown < (
            _LINE_SECONDS if self._is_terminal else _REPORT_SECONDS
        ):
            return
        self._shown = now
        rate = self._done / max(now - self._started, 0.001)
        left = int(max(self._total - self._done, 0) / max(rate, 1))
        self._line(f"{self._progress(rate)}   eta {left // 60}:{left % 60:02d}")

    def _progress(self, rate: float) -> str:
        done = f"{size_text(min(self._done, self._total))} of {size_text(self._total)}"
        return f"{self._label}   {done}   {size_text(rate)}/s"

    def _line(self, text: str) -> None:
        if not self._is_terminal:
            self.say(text)
            return
        text = text[: max(shutil.get_terminal_size().columns - 1, 20)]
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def _clear(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            self._width = 0

    def end(self) -> None:
        """Say how it went."""
        if self._total:
            self.say(self._progress(self._done / max(time.monotonic() - self._started, 0.001)))


def write_document(path: str, content: bytes, console: Console) -> str:
    """Write a file that crosses the gap by hand."""
    try:
        with open(path, "wb") as file:
            file.write(content + b"\n")
    except OSError as exc:
        message = f"{path} can't be written: {exc.strerror}"
        raise BundleError("E-DISK", DESTINATION, message, "name another place for it") from exc
    console.say(f"wrote {path}")
    return path
