"""A terminal of 80 columns, what a command shows there, and what it is told."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from support.cli import User

COLUMNS = 80
_PATIENCE_SECONDS = 40.0


def shown_on_terminal(user: User, *arguments: str) -> tuple[int, str]:
    """Run `hfaria` with its outputs on a terminal; return its exit code and what it shows."""
    with Conversation(user, *arguments, listens=False) as conversation:
        return conversation.end()


class Conversation:
    """A run of `hfaria` whose streams are a terminal; without ``listens`` nobody answers there."""

    def __init__(self, user: User, *arguments: str, listens: bool = True) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hfaria", *arguments],
            env={**user.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS)},
            stdin=theirs if listens else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._shown = b""
        self._heard = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def hear(self, text: str) -> str:
        """Wait until it says so; return what it said since it was last heard."""
        while (end := self._shown.find(text.encode(), self._heard)) < 0:
            assert self._read(), f"it ended without saying {text!r}: {self._shown.decode()}"
        end += len(text.encode())
        said, self._heard = self._shown[self._heard : end], end
        return said.decode()

    def say(self, text: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{text}\n".encode())

    def interrupt(self) -> None:
        """Send what Ctrl-C sends."""
        self._process.send_signal(2)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and all that was shown."""
        while self._read():
            pass
        return self._process.wait(_PATIENCE_SECONDS), self._shown.decode()

    def _read(self) -> bool:
        """Take in what comes next; False once there is nothing more."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not select.select([self._ours], [], [], 1.0)[0]:
            assert time.monotonic() < deadline, f"it says nothing more: {self._shown.decode()}"
        with suppress(OSError):  # the terminal's other end is closed
            piece = os.read(self._ours, 65536)
            self._shown += piece
            return bool(piece)
        return False


def assert_fits(text: str) -> None:
    """See that no line is wider than the terminal, and that nothing drives it."""
    lines = text.replace("\r\n", "\n").split("\n")
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert [line for line in lines if line and not line.isprintable()] == []
