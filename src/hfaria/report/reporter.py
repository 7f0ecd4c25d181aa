"""The ways in which a pull's progress is shown; all of it goes to stderr."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, NoReturn, Protocol, TextIO

from hfaria.rules.sizes import format_seconds, format_size

if TYPE_CHECKING:
    from tqdm import tqdm

    from hfaria.rules.progress import ActiveTransfer, Progress

_LINE_SECONDS = 10.0
_FIRST_LINE_SECONDS = 2.0
_MOST_BARS = 4
_SLOWEST = 100.0  # bytes per second; below it a time to the end says nothing
_NARROW = 60
_LABEL = 28


class Reporter(Protocol):
    """Takes in what happens, in order."""

    def note(self, text: str) -> None:
        """Say something once."""

    def warn(self, text: str) -> None:
        """Say something once that the user should look at."""

    def show(self, progress: Progress) -> None:
        """Show this moment; called several times a second."""

    def close(self) -> None:
        """Leave the terminal as it should stay."""


class SilentReporter:
    """Shows nothing: for callers from Python."""

    def note(self, text: str) -> None:
        """Keep still."""

    def warn(self, text: str) -> None:
        """Keep still."""

    def show(self, progress: Progress) -> None:
        """Keep still."""

    def close(self) -> None:
        """Nothing to leave."""


class WarningReporter(SilentReporter):
    """Shows warnings only: for `-q`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def warn(self, text: str) -> None:
        """Print it, marked."""
        print(f"warning: {_printable(text)}", file=self._stream, flush=True)


class LineReporter:
    """Plain lines, for logs: one now and then, and one whenever what is waited for changes."""

    def __init__(self, stream: TextIO, *, show_progress: bool = True) -> None:
        self._stream = stream
        self._show_progress = show_progress
        self._next_at = time.monotonic() + _FIRST_LINE_SECONDS
        self._waiting: str | None = None

    def note(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def warn(self, text: str) -> None:
        """Print it, marked."""
        self._print(f"warning: {text}")

    def show(self, progress: Progress) -> None:
        """Print a line if one is due."""
        if not self._show_progress:
            return
        if progress.waiting_for != self._waiting:
            self._waiting = progress.waiting_for
            if progress.waiting is not None:
                self._print(progress.waiting)
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _LINE_SECONDS
        self._print(describe(progress))

    def close(self) -> None:
        """Nothing to leave."""

    def _print(self, text: str) -> None:
        print(_printable(text), file=self._stream, flush=True)


class BarReporter:
    """tqdm bars: the total, the large files under way, and a line for what is waited for."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - only terminals need it

        self._bar = tqdm
        self._stream = stream
        self._total: tqdm[NoReturn] | None = None
        self._bars: list[tqdm[NoReturn]] = []
        self._line: tqdm[NoReturn] | None = None

    def note(self, text: str) -> None:
        """Print it above the bars."""
        self._bar.write(_printable(text), file=self._stream)

    def warn(self, text: str) -> None:
        """Print it above the bars, marked."""
        self._bar.write(_printable(f"warning: {text}"), file=self._stream)

    def show(self, progress: Progress) -> None:
        """Redraw."""
        if self._total is None:
            self._total = self._make(0, progress.size)
        total = self._total
        total.n = progress.held
        left = progress.seconds_left
        files = _done(progress)
        rate = f"{format_size(progress.rate)}/s"
        eta = "" if left is None or progress.rate < _SLOWEST else f", {format_seconds(left)} left"
        total.bar_format = (
            "{percentage:3.0f}% |{bar}| "
            f"{format_size(progress.held)} of {format_size(progress.size)}, {files}, {rate}{eta}"
        )
        total.refresh()
        self._show_active(progress.active)
        self._show_waiting(progress.waiting)

    def close(self) -> None:
        """Clear the bars away: what stays is said by the result."""
        for bar in (self._line, *reversed(self._bars), self._total):
            if bar is not None:
                bar.leave = False
                bar.close()
        self._line = self._total = None
        self._bars = []

    def _make(self, position: int, size: int) -> tqdm[NoReturn]:
        bar: tqdm[NoReturn] = self._bar(
            total=size,
            position=position,
            file=self._stream,
            leave=False,
            dynamic_ncols=True,
            mininterval=0,
            bar_format="{desc}",
        )
        return bar

    def _show_active(self, active: tuple[ActiveTransfer, ...]) -> None:
        rows = shutil.get_terminal_size().lines
        shown = active[: max(0, min(_MOST_BARS, rows - 4))]
        while len(self._bars) > len(shown):
            bar = self._bars.pop()
            bar.leave = False
            bar.close()
        while len(self._bars) < len(shown):
            self._bars.append(self._make(len(self._bars) + 1, 1))
        for bar, transfer in zip(self._bars, shown, strict=True):
            bar.total = transfer.size
            bar.n = min(transfer.held, transfer.size)
            label = _fit(transfer.label, _LABEL)
            tail = "verifying" if transfer.is_verifying else f"{format_size(transfer.rate)}/s"
            bar.bar_format = (
                f"  {_escape(label):<{_LABEL}} {{percentage:3.0f}}% |{{bar:20}}| "
                f"{format_size(transfer.size):>7}, {tail}"
            )
            bar.refresh()

    def _show_waiting(self, waiting: str | None) -> None:
        if waiting is None:
            if self._line is not None:
                self._line.close()
                self._line = None
            return
        position = len(self._bars) + 1
        if self._line is not None and self._line.pos != -position:
            self._line.close()
            self._line = None
        if self._line is None:
            self._line = self._make(position, 1)
        columns = shutil.get_terminal_size().columns
        width = max(columns - 1, _NARROW // 2)
        self._line.set_description_str(_fit(f"  {_printable(waiting)}", width))


def describe(progress: Progress) -> str:
    """One plain line of progress."""
    parts = [
        f"{progress.percent:3d}% of {format_size(progress.size)}",
        _done(progress),
        f"{format_size(progress.rate)}/s",
    ]
    left = progress.seconds_left
    if left is not None and progress.rate >= _SLOWEST:
        parts.append(f"{format_seconds(left)} left")
    return ", ".join(parts)


def _done(progress: Progress) -> str:
    files = f"{progress.files_done}/{progress.files} files"
    if progress.repos == 1:
        return files
    return f"{progress.repos_done}/{progress.repos} repos, {files}"


def make_reporter(stream: TextIO, *, is_quiet: bool, show_progress: bool) -> Reporter:
    """Choose: bars on a terminal, lines elsewhere, warnings alone when asked to be quiet."""
    if is_quiet:
        return WarningReporter(stream)
    if show_progress and stream.isatty() and _has_width(stream):
        return BarReporter(stream)
    return LineReporter(stream, show_progress=show_progress)


def _has_width(stream: TextIO) -> bool:
    """Tell whether the terminal says how wide it is; some of CI systems say 0."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):  # it has no descriptor: whoever made it knows
        return True


def _fit(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}…{text[-(width - head - 1) :]}"


def _printable(text: str) -> str:
    """Keep a terminal from obeying what a file's name or a server says."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _escape(text: str) -> str:
    """Keep tqdm from reading a file's name as a format, and a terminal from obeying it."""
    return _printable(text).replace("\n", "?").replace("{", "{{").replace("}", "}}")
