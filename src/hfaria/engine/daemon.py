"""Start, watch and stop an aria2c daemon that nobody else can use, and that never outlives us."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hfaria.engine.binary import EngineBinary, find_engine
from hfaria.engine.rpc import ANSWER_SECONDS, Engine, RpcAddress
from hfaria.engine.runtime_dir import RuntimeDir, sweep_dead_runs
from hfaria.engine.tunables import MUST_HAVES, Tunables, load_tunables
from hfaria.errors import EngineError, EngineLost
from hfaria.redact import MASK, Secret, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["EngineBinary", "ManagedDaemon", "Tunables", "find_engine", "load_tunables"]

_HOST: Final = "127.0.0.1"
_PORTS_TO_TRY = 5
_START_SECONDS = 10.0
_TICK_SECONDS = 0.004
_INTERRUPT_SECONDS = 6.0  # aria2 needs 1 s to save its control files and end
_TERMINATE_SECONDS = 3.0
_LAST_WORDS_LENGTH = 4000
_PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
_TCP_LISTEN = "0A"


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class ManagedDaemon:
    """An aria2c of our own, alive between ``__enter__`` and ``__exit__``.

    It ends within 2 s of our death, however we die (``stop-with-process``). A death signal from
    the kernel would be quicker, but needs code between fork and exec, which is not safe beside
    threads; the next start ends an orphan that is still there.
    """

    def __init__(
        self,
        binary: EngineBinary,
        *,
        tunables: Mapping[str, str],
        environ: Mapping[str, str],
        ca_certificate: Path | None = None,
        runtime_parent: Path | None = None,
        pick_port: Callable[[], int] = free_port,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.binary = binary
        self._tunables = dict(tunables)
        self._environ = _child_environment(environ)
        self._ca_certificate = ca_certificate
        self._runtime_parent = runtime_parent
        self._pick_port = pick_port
        self._answer_seconds = answer_seconds
        self._secret = Secret(secrets.token_urlsafe(32))
        self._runtime: RuntimeDir | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._engine: Engine | None = None
        self._last_words = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def engine(self) -> Engine:
        """The RPC of the running daemon."""
        if self._engine is None:
            raise EngineLost("the engine is not running")
        return self._engine

    @property
    def pid(self) -> int | None:
        """The daemon's process id, while it is ours."""
        return None if self._process is None else self._process.pid

    @property
    def is_attached(self) -> bool:
        """Whether it is somebody else's."""
        return False

    def start(self) -> None:
        """Start the daemon and make sure that it, and nobody else, answers at its port.

        No request is sent to a port before the system says that our child listens there: aria2
        goes on without IPv4 when the port is taken, and the secret would go to who took it.
        """
        if self._process is not None:
            raise EngineError("the engine is running already")
        try:
            sweep_dead_runs(self._runtime_parent)
            self._runtime = RuntimeDir(self._runtime_parent)
        except OSError as exc:
            raise EngineError(f"no private folder for the engine: {exc.strerror or exc}") from exc
        try:
            address = RpcAddress(_HOST, self._start_somewhere(), self._secret)
            self._engine = Engine(address, timeout_seconds=self._answer_seconds)
            self._engine.version()
        except BaseException:
            self.kill()
            self._clean_up()
            raise

    def stop(self) -> None:
        """End the daemon, letting it save its control files; bounded, and safe to repeat."""
        process = self._process
        if process is not None:
            # A new process group has no Ctrl-C on Windows, only Ctrl-Break.
            gentle = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
            for name, patience in (
                (gentle, _INTERRUPT_SECONDS),
                (signal.SIGTERM, _TERMINATE_SECONDS),
            ):
                if process.poll() is None:
                    with contextlib.suppress(OSError):
                        process.send_signal(name)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(patience)
        self.kill()
        self._clean_up()

    def kill(self) -> None:
        """End the daemon at once; what it fetched since its last save is left to salvage."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._process is not None:
            self._last_words = self.last_words()
            self._process.kill()
            self._process.wait()
            self._process = None

    def is_alive(self) -> bool:
        """Tell whether the process still runs."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """Return the end of the daemon's log and console, without secrets."""
        if self._process is None or self._runtime is None:
            return self._last_words
        text = "".join(_tail(self._runtime.path / name) for name in ("console", "log"))
        return redact(text.replace(self._secret.reveal(), MASK)).strip()

    def _clean_up(self) -> None:
        if self._runtime is not None:
            self._runtime.remove()
            self._runtime = None

    def _start_somewhere(self) -> int:
        for _ in range(_PORTS_TO_TRY):
            port = self._pick_port()
            if self._listens(port):
                return port
            self.kill()
        raise EngineLost(f"the engine found no free port in {_PORTS_TO_TRY} tries")

    def _listens(self, port: int) -> bool:
        """Start the daemon on ``port``; return False when the port is another's."""
        runtime = self._runtime
        assert runtime is not None  # noqa: S101 - `start` made it
        conf = runtime.write_private("aria2.conf", self._conf(port, runtime.path))
        log = runtime.path / "log"
        log.unlink(missing_ok=True)
        with (runtime.path / "console").open("wb") as console:
            try:
                process = subprocess.Popen(
                    [self.binary.path, f"--conf-path={conf}"],
                    cwd=runtime.path,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a Ctrl-C in the terminal is for hfaria alone
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            except OSError as exc:
                message = f"`{self.binary.path}` can't be run: {exc.strerror or exc}"
                raise EngineLost(message) from exc
        self._process = process
        runtime.note_daemon(process.pid)
        import hfaria.engine.transport  # noqa: F401, PLC0415 - slow, and needed once it listens

        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if "IPv4 RPC: failed to bind" in _tail(log):
                return False
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TICK_SECONDS)
                if "failed to bind" in _tail(log):
                    return False
                words = self.last_words().splitlines()
                detail = f": {words[-1]}" if words else ""
                raise EngineLost(f"the engine ended at once, code {process.returncode}{detail}")
            if _owns_listener(process.pid, port, log):
                return True
        raise EngineLost("the engine did not begin to listen in time")

    def _conf(self, port: int, runtime: Path) -> str:
        options = {
            **self._tunables,
            **MUST_HAVES,
            "rpc-listen-port": str(port),
            "rpc-secret": self._secret.reveal(),
            "stop-with-process": str(os.getpid()),
            "dir": str(runtime),
            "log": str(runtime / "log"),
        }
        if not sys.platform.startswith("linux"):
            options["log-level"] = "notice"  # there the log alone says that it listens
        if self._ca_certificate is not None:
            options["ca-certificate"] = str(self._ca_certificate)
        lines = [f"{name}={value}" for name, value in options.items()]
        if any(set(line) & {"\n", "\r", "\0"} for line in lines):
            raise EngineError("an option of the engine has more than one line")
        return "\n".join(lines) + "\n"


def _child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what would send loopback traffic to a proxy."""
    return {name: value for name, value in environ.items() if name.lower() not in _PROXY_VARIABLES}


def _owns_listener(pid: int, port: int, log: Path) -> bool:
    """Tell whether process ``pid`` listens at ``port`` on the IPv4 loopback address."""
    table = Path(f"/proc/{pid}/net/tcp")
    if not table.exists():
        return "IPv4 RPC: listening" in _tail(log)
    local = f"{int.from_bytes(socket.inet_aton(_HOST), sys.byteorder):08X}:{port:04X}"
    with contextlib.suppress(OSError):
        rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
        wanted = {f"socket:[{row[9]}]" for row in rows if row[1] == local and row[3] == _TCP_LISTEN}
        if wanted:
            return any(_link(entry) in wanted for entry in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # closed in the meantime
        return ""


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LAST_WORDS_LENGTH))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
