"""Run a tool, watch it, and end it with everything it started."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Self

    from bench.options import Options

_LIMIT_SECONDS = 900.0
_SAMPLE_SECONDS = 0.01
_LAST_WORDS = 2000


class ToolFailedError(RuntimeError):
    """A tool ended with an error where none was expected."""


class RunningTool:
    """One process with its children, in a session of its own."""

    def __init__(self, command: Sequence[str], *, environ: Mapping[str, str], log: Path) -> None:
        self.started_at = time.monotonic()
        self.seconds = 0.0
        self._command = command
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=dict(environ),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Tell whether the tool itself still runs."""
        return self.process.poll() is None

    @property
    def age_seconds(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started_at

    def finish(self, *, limit_seconds: float = _LIMIT_SECONDS) -> float:
        """Wait for a good end and return the seconds it took."""
        # Waiting with a time limit would look only every 50 ms.
        limit = threading.Timer(limit_seconds, kill_tree, [self.process])
        limit.daemon = True
        limit.start()
        code = self.process.wait()
        limit.cancel()
        self.seconds = self.age_seconds
        if code != 0:
            words = self._log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
            raise ToolFailedError(f"{list(self._command)} ended with {code}:\n{words}")
        return self.seconds

    def kill(self) -> None:
        """Kill -9 the tool and all its descendants, in whatever session they are."""
        kill_tree(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        if self.is_running():
            self.kill()


class PeakMemory:
    """The peak resident size of one process, children left out, in bytes."""

    def __init__(self, pid: int) -> None:
        self.size = 0
        self._status = Path(f"/proc/{pid}/status")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def join(self) -> int:
        """Wait for the process's end and return the peak."""
        self._thread.join()
        return self.size

    def _watch(self) -> None:
        # The kernel keeps the peak, so that only what grew in the last moment can be missed.
        while True:
            try:
                lines = self._status.read_text(encoding="ascii").splitlines()
            except (OSError, UnicodeDecodeError):
                return
            peaks = [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")]
            if not peaks:
                return  # it ended and waits to be reaped
            self.size = max(self.size, *peaks)
            time.sleep(_SAMPLE_SECONDS)


def descendants(pid: int) -> list[psutil.Process]:
    """Return a process's children, their children, and so on."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill -9 a process and all its descendants, in whatever session they are."""
    victims = descendants(process.pid)
    process.kill()
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()  # before psutil does, which would keep the return code to itself
    psutil.wait_procs(victims, timeout=5)


@contextmanager
def workplace(options: Options) -> Iterator[Path]:
    """Make a folder for the tools and remove it, with all they wrote, at the end."""
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="hfaria-bench-", dir=options.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
