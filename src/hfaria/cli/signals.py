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
_LONGEST_SECONDS = 0.5
_OURS = ("hfaria", "__main__")
_WAITS = ("wait", "join", "_wait_for_tstate_lock")
_held_since: float | None = None


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
    global _held_since  # noqa: PLW0603 - as signals themselves, it is the process's
    now = time.monotonic()
    if _held_since is None:
        _held_since = now
    if _would_harm(frame, now - _held_since):
        _send_again(number)
        return
    _held_since = None
    if number != signal.SIGINT:
        # Only once: what follows is an orderly end, which a second one should not cut short.
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _would_harm(frame: FrameType | None, seconds_held: float) -> bool:
    """Tell whether an exception out of nowhere might leave a lock held that others wait for."""
    if _is_importing(frame):  # as long as it takes: there is one lock for each module
        # Not `threading.active_count`: its lock may be held by what was interrupted.
        return len(sys._current_frames()) > 1  # noqa: SLF001 - documented, and there is no other
    return not _can_bear_it(frame) and seconds_held < _LONGEST_SECONDS


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib._bootstrap"):
            return True
        frame = frame.f_back
    return False


def _can_bear_it(frame: FrameType | None) -> bool:
    """Tell whether it is our own code that runs, or something waits.

    Other people's code takes locks by methods written in Python, such as `Condition.__enter__`. An
    exception between the lock and the block that would release it leaves it held. That code is back
    in a moment, or waits for the network, where it does no harm.
    """
    if frame is None:
        return True
    module = frame.f_globals.get("__name__", "")
    is_wait = module == "threading" and frame.f_code.co_name in _WAITS
    return is_wait or module.partition(".")[0] in _OURS


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
