"""The daemon of one pull: which one, when it starts, and that it ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hfaria.engine.attached import AttachedDaemon
from hfaria.engine.daemon import EngineBinary, ManagedDaemon, find_engine, load_tunables
from hfaria.engine.mover import Mover
from hfaria.engine.rpc import ANSWER_SECONDS
from hfaria.errors import EngineError
from hfaria.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    from hfaria.cache.store import Store
    from hfaria.engine.bridge import Bridge
    from hfaria.engine.mover import Daemon
    from hfaria.report.reporter import Reporter
    from hfaria.settings import Settings


@contextmanager
def open_mover(
    settings: Settings, reporter: Reporter, store: Store, *, begins_now: bool
) -> Iterator[Mover]:
    """Open what moves a pull's blobs, with the engine it needs; ``begins_now`` starts that, too.

    Raises `EngineNotFound` before anything is fetched in vain.
    """
    engine = EngineHolder(settings, reporter, store)
    bridge = _open_bridge(settings)
    try:
        if begins_now:
            engine.check()
            engine.start_early()
        yield Mover(
            partials=store.workspace.partials.absolute(),
            start=engine.start,
            connections=settings.connections,
            scope=str(store.workspace.root.absolute()),
            bridge=bridge,
        )
        engine.close(is_idle=True)
    finally:
        engine.close()
        if bridge is not None:
            bridge.close()


def _open_bridge(settings: Settings) -> Bridge | None:
    if not settings.proxies.need_bridge:
        return None
    from hfaria.engine.bridge import Bridge  # noqa: PLC0415 - with asyncio, and rarely needed

    return Bridge(ca_bundle=settings.engine_ca_bundle)


class EngineHolder:
    """Starts a daemon when it is needed, another when that one died, and stops the last one."""

    def __init__(self, settings: Settings, reporter: Reporter, store: Store) -> None:
        self._settings = settings
        self._reporter = reporter
        self._store = store
        self._binary: EngineBinary | None = None
        self._daemon: ManagedDaemon | AttachedDaemon | None = None
        self._early: Future[ManagedDaemon] | None = None

    def check(self) -> None:
        """Raise `EngineNotFound` now rather than after the first files."""
        if self._settings.rpc_url is None:
            self._find()

    def start_early(self) -> None:
        """Begin to start a daemon, in a thread: it will be needed as soon as a file is located."""
        if self._settings.rpc_url is None and self._early is None:
            pool = ThreadPoolExecutor(1, "hfaria-engine")
            self._early = pool.submit(self._spawn)
            pool.shutdown(wait=False)

    def start(self) -> Daemon:
        """Return a daemon that works; one that this holder started before is ended first."""
        self._end(politely=False)
        if self._early is not None:
            wait((self._early,))  # an interruption leaves it to `close`
            early, self._early = self._early, None
            self._daemon = early.result()
        else:
            self._daemon = self._attach() if self._settings.rpc_url is not None else self._spawn()
        return self._daemon

    def close(self, *, is_idle: bool = False) -> None:
        """Stop the daemon; only one that still moves something needs time to save its state."""
        early, self._early = self._early, None
        if early is not None:
            with suppress(EngineError):  # nobody needed it
                early.result().kill()
                early.result().stop()
        self._end(politely=not is_idle)

    def _find(self) -> EngineBinary:
        if self._binary is None:
            settings = self._settings
            self._binary = find_engine(
                settings.aria2c, search_path=settings.engine_environ.get("PATH")
            )
        return self._binary

    def _attach(self) -> AttachedDaemon:
        settings = self._settings
        attached = AttachedDaemon(settings.rpc_url or "", settings.rpc_secret or Secret(""))
        attached.check()
        attached.check_shares(self._store.workspace.partials.absolute())
        return attached

    def _spawn(self) -> ManagedDaemon:
        settings = self._settings
        tunables = load_tunables(settings.aria2_conf)
        if tunables.ignored:
            self._reporter.warn(
                f"`{settings.aria2_conf}`: not yours to set, ignored: {', '.join(tunables.ignored)}"
            )
        managed = ManagedDaemon(
            self._find(),
            tunables=_within(tunables.options, settings.patience_seconds),
            answer_seconds=min(ANSWER_SECONDS, max(1.0, settings.patience_seconds / 4)),
            environ=settings.engine_environ,
            ca_certificate=settings.engine_ca_bundle,
        )
        managed.start()
        return managed

    def _end(self, *, politely: bool) -> None:
        daemon, self._daemon = self._daemon, None
        if isinstance(daemon, AttachedDaemon):
            daemon.close()
        elif daemon is not None:
            if not politely:
                daemon.kill()
            daemon.stop()  # and leave nothing of it behind


def _within(options: Mapping[str, str], seconds: float) -> dict[str, str]:
    """Shorten the engine's own time limits where patience is shorter."""
    limited = dict(options)
    for name in ("timeout", "connect-timeout"):
        if name in limited and limited[name].isdigit():
            limited[name] = str(max(1, int(min(float(limited[name]), seconds))))
    return limited
