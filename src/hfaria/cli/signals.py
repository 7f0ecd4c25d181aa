"""The signals that ask for an end, each of which becomes one KeyboardInterrupt in the main thread.

Nothing slow is imported here: signals are caught before anything else is done.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["catch_signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_AGAIN_SECONDS = 0.01


def catch_signals() -> None:
    """Let the signals that ask for an end do what Ctrl-C does, and let none of them be lost.

    One that is ignored already stays so: `nohup` and a shell's background jobs ask for that.
    """
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _tell_unraisable


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _is_importing(frame) and threading.active_count() > 1:
        # Raised in there, it would leave locks of modules held, for which the other threads wait
        # without an end.
        _send_again(number)
        return
    if number != signal.SIGINT:
        # Only once: what follows is an orderly end, which a second one should not cut short.
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib._bootstrap"):
            return True
        frame = frame.f_back
    return False


def _tell_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Send a signal again that came in a finalizer, which no exception leaves."""
    if unraisable.exc_type is KeyboardInterrupt:
        signal.signal(signal.SIGTERM, _interrupt)
        _send_again(signal.SIGTERM)
    else:
        sys.__unraisablehook__(unraisable)


def _send_again(number: int) -> None:
    # The bare call: the threading module's own locks may be held where a signal comes in.
    _thread.start_new_thread(_send_later, (number,))


def _send_later(number: int) -> None:
    time.sleep(_AGAIN_SECONDS)
    if hasattr(signal, "pthread_kill"):
        # To that very thread, so that a call which it waits in comes back.
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
