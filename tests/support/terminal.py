"""A terminal of 80 columns, and what a command shows there."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.cli import User

COLUMNS = 80


def shown_on_terminal(user: User, *arguments: str) -> tuple[int, str]:
    """Run `hfaria` with all its streams on a terminal; return its exit code and what it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, COLUMNS, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "hfaria", *arguments],
        env={**user.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS)},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the terminal's other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    return process.returncode, shown.decode()


def assert_fits(text: str) -> None:
    """See that no line is wider than the terminal, and that nothing drives it."""
    lines = text.replace("\r\n", "\n").split("\n")
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert [line for line in lines if line and not line.isprintable()] == []
