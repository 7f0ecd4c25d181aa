"""The command line: parse, make settings, call one workflow, render, exit with a code."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

from hfaria.cli.signals import catch_signals

__all__ = ["main"]

# What is imported stays: at Python's 700, 5 % of the start is spent on looking through it.
_GARBAGE_THRESHOLD = 50_000
_INTERRUPTED = 130  # ExitCode.INTERRUPTED, which can't be imported before the signals are held


def main() -> NoReturn:
    """Run the command line and end the process with a documented exit code.

    Nothing slow is imported before signals are handled, so that even an early Ctrl-C ends in one
    line. The process ends without the interpreter's farewell: threads may still wait for an answer,
    which it would wait for as well.
    """
    catch_signals()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    code = _INTERRUPTED
    try:
        from hfaria.cli.main import run  # noqa: PLC0415 - after the signals

        code = int(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; rerun the same command to resume\n")
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        pass  # who read it has gone
    os._exit(code)
