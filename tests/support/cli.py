"""A user who runs the real command line, with nothing of this machine's own configuration."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopback_hub import LoopbackHub

_PATIENCE_SECONDS = 40.0
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "COVERAGE_PROCESS_START")
# The name that keeps tests from leaving this machine: a proxy or a mirror of the developer's own
# must not leak in, and every endpoint is the loopback hub's.
_BARE = {"HFARIA_RESERVE": "1MB", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended, and what it said."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.stderr
        return lines[0].removeprefix("error: ")

    @property
    def hint(self) -> str:
        """The line that says what to do next, or nothing."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("hint: ")]
        assert len(lines) <= 1, self.stderr
        return lines[0].removeprefix("hint: ") if lines else ""

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` printed."""
        value: dict[str, Any] = json.loads(self.stdout)
        return value

    @property
    def path(self) -> Path:
        """The snapshot's folder, the last line of stdout."""
        return Path(self.stdout.splitlines()[-1])


class Running:
    """A run that goes on."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def engines(self) -> list[psutil.Process]:
        """The engine processes that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children(recursive=True)
            return [child for child in children if is_alive(child) and "aria2" in child.name()]
        return []

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut does, its engine included."""
        engines = self.engines()
        self._process.kill()
        for engine in engines:
            with contextlib.suppress(psutil.NoSuchProcess):
                engine.kill()
        self.wait()
        wait_until(lambda: not any(is_alive(engine) for engine in engines))

    def wait(self) -> Run:
        """Wait for the end."""
        try:
            stdout, stderr = self._process.communicate(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            stdout, stderr = self._process.communicate()
            raise AssertionError(f"the run hangs: {stdout}{stderr}") from None
        seconds = time.monotonic() - self._started
        return Run(self._process.returncode, stdout, stderr, seconds)


@dataclass(frozen=True)
class User:
    """Somebody with a home, a cache and a hub in reach. Settings are environment variables."""

    home: Path
    origin: str
    settings: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """What comes before the command, such as a program that changes who runs it."""

    @property
    def cache(self) -> Path:
        """Where this user's pulls go."""
        return self.home / "cache"

    @property
    def environ(self) -> dict[str, str]:
        """All that this user's processes see."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            **kept,
            **_BARE,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_CACHE": str(self.cache),
            "HF_ENDPOINT": self.origin,
            "HFARIA_ORIGIN": self.origin,
            "PYTHONUTF8": "1",
            **self.settings,
        }

    def having(self, **settings: str) -> User:
        """Return this user with more settings."""
        return replace(self, settings={**self.settings, **settings})

    def start(self, *arguments: str) -> Running:
        """Start `hfaria` and return while it runs."""
        command = [*self.prefix, sys.executable, "-m", "hfaria", *arguments]
        return Running(command, self.environ)

    def run(self, *arguments: str) -> Run:
        """Run `hfaria` to its end."""
        return self.start(*arguments).wait()

    def pull(self, *arguments: str) -> Run:
        """Run `hfaria pull`."""
        return self.run("pull", *arguments)

    def pulled(self, *arguments: str) -> Run:
        """Run `hfaria pull`, which must succeed."""
        run = self.pull(*arguments)
        assert run.code == 0, run.stderr
        return run

    def python(self, text: str, **settings: str) -> str:
        """Run a program that prints; the way to a library that reads its environment at import."""
        ended = Running([sys.executable, "-c", text], {**self.environ, **settings}).wait()
        assert ended.code == 0, ended.stderr
        return ended.stdout.strip()


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that nobody has collected yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def user_of(hub: LoopbackHub, home: Path) -> User:
    """Return a user whose origin is the hub's, with an empty home."""
    home.mkdir(parents=True, exist_ok=True)
    return User(home, hub.url("origin"))


def refused(run: Run, code: int) -> str:
    """Return the error line of a run that ended as it should: one line, a hint, nothing else.

    Whatever the user did wrong, no traceback may show and stdout stays empty.
    """
    assert run.code == code, f"exit {run.code}: {run.stderr}"
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    _ = run.hint  # at most one
    return run.error


def wait_until(is_true: Callable[[], bool], running: Running | None = None) -> None:
    """Wait for something that happens in another process."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        if running is not None and running.has_ended:
            raise AssertionError(f"it ended before that: {running.wait()}")
        time.sleep(0.005)
