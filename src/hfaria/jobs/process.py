"""Which process is which, told by the system, and starting one that outlives its terminal."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.errors import StoreError, UsageError
from hfaria.rules.jobs import Process

if TYPE_CHECKING:
    from collections.abc import Mapping

_AFTER_NAME = 19  # field 22 of /proc/PID/stat, counted from behind the name: proc(5)


def find_process(pid: int) -> Process | None:
    """Return the process that has this pid now; None if none has, or it can't be told here."""
    boot_id = ""
    with contextlib.suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # a name may hold spaces and brackets
    if len(fields) <= _AFTER_NAME or fields[0] in {"Z", "X"}:
        return None
    return Process(pid, fields[_AFTER_NAME], boot_id)


def spawn(
    arguments: list[str], *, folder: Path, environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that no terminal's end reaches it.

    ``folder`` is where it begins, and what Python looks into for modules.
    """
    if sys.platform == "win32":
        raise UsageError("jobs in the background need a POSIX system")
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                arguments,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    except OSError as exc:
        place = f" `{exc.filename}`" if exc.filename else ""
        raise StoreError(f"the job can't be started:{place} {exc.strerror or exc}") from exc
