from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import termios
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

import pytest
from tqdm.utils import disp_len

from hfaria.report.reporter import (
    BarReporter,
    LineReporter,
    Reporter,
    SilentReporter,
    WarningReporter,
    describe,
    make_reporter,
)
from hfaria.rules.progress import ActiveTransfer, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLUMNS = 80
HOSTILE = [
    "{bar}{x!r}{0.__class__}", "}{", "{", "{desc", "%s%n", "模型" * 30, "é" * 60, "x" * 500,
    "a\x1b[31m\x1b[2Jb", "a\r\nb\x07\x08", "\x9b31m", "\u202egpj.exe", "", "\t", "\u200b" * 40,
    "😀" * 40,
]  # fmt: skip
HALF = Progress(files_done=1, files=3, held=500, size=1000, rate=100.0)


def active(label: str, *, is_verifying: bool = False) -> ActiveTransfer:
    return ActiveTransfer(label, 10**9, 5 * 10**8, 1e6, is_verifying=is_verifying)


class Terminal:
    """A pseudo-terminal of 80 columns that remembers what was written to it."""

    def __init__(self) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.stream: TextIO = os.fdopen(theirs, "w", encoding="utf-8")
        self._pieces: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                return
            self._pieces.append(piece)

    def close(self) -> str:
        """Return everything that was written."""
        if not self.stream.closed:
            self.stream.close()
            self._thread.join()
            os.close(self._ours)
        return b"".join(self._pieces).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", "24")
    made = Terminal()
    yield made
    made.close()


def lines_of(text: str) -> list[str]:
    """Return the lines as drawn; tqdm itself moves the cursor up and to the line's start."""
    return re.split(r"\r\n|\r|\n|\x1b\[A", text)


def obeys(text: str) -> list[str]:
    """Return the lines that would make a terminal do something."""
    return [line for line in lines_of(text) if any(not (c.isprintable()) for c in line)]


# --- lines ---------------------------------------------------------------------------------------


def test_lines_say_what_they_are_told() -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream)
    reporter.note("hello")
    reporter.warn("careful")
    reporter.close()
    assert stream.getvalue() == "hello\nwarning: careful\n"


def test_a_short_pull_shows_no_progress_lines() -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream)
    for _ in range(100):
        reporter.show(HALF)
    assert stream.getvalue() == ""


def test_a_line_is_due_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 1.0, 2.5, 3.0, 12.0, 12.6])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    stream = io.StringIO()
    reporter = LineReporter(stream)
    for _ in range(5):
        reporter.show(HALF)
    assert stream.getvalue() == 2 * " 50% of 1.00 kB, 1/3 files, 100 B/s, 5 s left\n"


def test_a_wait_is_said_once_for_each_reason() -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream)

    def wait(seconds: int, reason: str) -> Progress:
        return replace(HALF, waiting=f"waiting {seconds} s: {reason}", waiting_for=reason)

    for seconds in (9, 8, 7):
        reporter.show(wait(seconds, "rate limit (a.example)"))
    reporter.show(wait(5, "connection lost (a.example)"))
    reporter.show(HALF)
    reporter.show(wait(2, "connection lost (a.example)"))
    assert stream.getvalue().splitlines() == [
        "waiting 9 s: rate limit (a.example)",
        "waiting 5 s: connection lost (a.example)",
        "waiting 2 s: connection lost (a.example)",
    ]


def test_lines_without_progress_still_say_notes() -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream, show_progress=False)
    reporter.show(replace(HALF, waiting="waiting 9 s: x", waiting_for="x"))
    reporter.note("hello")
    assert stream.getvalue() == "hello\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_drives_a_terminal(text: str) -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream)
    reporter.note(text)
    reporter.warn(text)
    reporter.show(replace(HALF, waiting=f"waiting 3 s: {text}", waiting_for="{text}"))
    assert obeys(stream.getvalue()) == []


def test_a_progress_line_has_a_time_only_if_there_is_a_rate() -> None:
    assert describe(replace(HALF, rate=0.0)) == " 50% of 1.00 kB, 1/3 files, 0 B/s"
    assert describe(replace(HALF, rate=0.5)) == " 50% of 1.00 kB, 1/3 files, 0 B/s"
    assert describe(HALF).endswith(", 5 s left")


def test_warnings_alone_are_said_when_quiet() -> None:
    stream = io.StringIO()
    reporter = WarningReporter(stream)
    reporter.note("hello")
    reporter.warn("careful\x1b[2J")
    reporter.show(HALF)
    reporter.close()
    assert stream.getvalue() == "warning: careful?[2J\n"


# --- bars ----------------------------------------------------------------------------------------


def draw(terminal: Terminal, act: Callable[[Reporter], None]) -> str:
    reporter = BarReporter(terminal.stream)
    act(reporter)
    reporter.close()
    return terminal.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_drives_the_terminal_or_breaks_the_bars(terminal: Terminal, name: str) -> None:
    def act(reporter: Reporter) -> None:
        reporter.note(f"note {name}")
        reporter.warn(name)
        for is_verifying in (False, True):
            transfers = tuple(active(name, is_verifying=is_verifying) for _ in range(3))
            reporter.show(replace(HALF, active=transfers, waiting=f"waiting 3 s: {name}"))
        reporter.show(HALF)

    text = draw(terminal, act)
    assert obeys(text) == []
    drawn = [line for line in lines_of(text) if "%" in line or "waiting" in line]
    assert drawn
    notes = {f"note {name}", f"warning: {name}"}
    assert [line for line in drawn if disp_len(line) > COLUMNS and line not in notes] == []


def test_bars_show_the_total_the_large_ones_and_the_wait(terminal: Terminal) -> None:
    def act(reporter: Reporter) -> None:
        both = (active("model.safetensors"), active("b.bin", is_verifying=True))
        reporter.show(replace(HALF, active=both, waiting="waiting 3 s: rate limit (a.example)"))

    text = draw(terminal, act)
    assert " 50% |" in text
    assert "500 B of 1.00 kB, 1/3 files, 100 B/s, 5 s left" in text
    assert "model.safetensors" in text
    assert "1.00 MB/s" in text
    assert "verifying" in text
    assert "waiting 3 s: rate limit (a.example)" in text


def test_bars_come_and_go_with_their_transfers(terminal: Terminal) -> None:
    def act(reporter: Reporter) -> None:
        for count in (0, 6, 2, 3, 0):
            transfers = tuple(active(f"file-{n}") for n in range(count))
            for waiting in (None, "waiting 2 s: x", None):
                reporter.show(replace(HALF, active=transfers, waiting=waiting))
        reporter.show(replace(HALF, rate=0.0))

    text = draw(terminal, act)
    assert "file-3" in text
    assert "file-4" not in text  # the screen is not to be filled


def test_a_wait_moves_down_when_bars_come(terminal: Terminal) -> None:
    def act(reporter: Reporter) -> None:
        reporter.show(replace(HALF, waiting="waiting 2 s: x", waiting_for="x"))
        reporter.show(replace(HALF, active=(active("a"),), waiting="waiting 1 s: x"))

    assert "waiting 1 s: x" in draw(terminal, act)


def test_bars_that_never_showed_can_be_closed(terminal: Terminal) -> None:
    assert draw(terminal, lambda _: None) == ""


def test_an_empty_pull_is_drawn(terminal: Terminal) -> None:
    empty = Progress(files_done=0, files=0, held=0, size=0, rate=0.0)
    draw(terminal, lambda reporter: reporter.show(empty))


# --- the choice ----------------------------------------------------------------------------------


def test_bars_are_for_terminals_lines_for_files_silence_when_asked(terminal: Terminal) -> None:
    file = io.StringIO()
    assert isinstance(make_reporter(file, is_quiet=True, show_progress=True), SilentReporter)
    assert isinstance(make_reporter(file, is_quiet=False, show_progress=True), LineReporter)
    on_terminal = make_reporter(terminal.stream, is_quiet=False, show_progress=True)
    assert isinstance(on_terminal, BarReporter)
    calm = make_reporter(terminal.stream, is_quiet=False, show_progress=False)
    assert isinstance(calm, LineReporter)


def test_silence_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SilentReporter()
    reporter.note("a")
    reporter.warn("b")
    reporter.show(HALF)
    reporter.close()
    assert capsys.readouterr() == ("", "")
