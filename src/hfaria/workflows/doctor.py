"""Doctor: check everything that a pull needs, each by itself, and say what helps."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria import __version__
from hfaria.cache.filesystem import nearest_existing, probe
from hfaria.cache.locks import Locking, try_locks
from hfaria.engine.attached import AttachedDaemon
from hfaria.engine.daemon import ManagedDaemon, find_engine, load_tunables
from hfaria.errors import ExitCode, HfariaError
from hfaria.hub.checkup import EndpointCheckup, check_token
from hfaria.hub.client import HubClient, Timeouts
from hfaria.hub.token import token_source
from hfaria.redact import Secret
from hfaria.rules.checkup import (
    Check,
    fail,
    first_failure,
    last_words,
    ok,
    warn,
    with_spare_endpoints,
)
from hfaria.rules.diagnosis import (
    judge_clock,
    judge_disk,
    judge_proxies,
    judge_symlinks,
)
from hfaria.workflows.bounded import run_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings
    from hfaria.workflows.bounded import Course

# All checks run at once, so this bounds the whole.
_LONGEST_SECONDS = 20.0
_TIMEOUTS = Timeouts(connect=5.0, read=5.0, whole=8.0)
_SLOW_ENGINE_SECONDS = 3.0
_TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_OLDEST_HUB, _FIRST_FOREIGN_HUB = (1, 31), (3,)


@dataclass(frozen=True, slots=True)
class DoctorRequest:
    """What to check for. ``fault`` is what was wrong with the configuration, which was left out.

    ``token_option`` is the option by which ``token`` was given.
    """

    spec: RepoSpec
    folder: Path
    token: Secret | None = None
    token_option: str = ""
    fault: HfariaError | None = None


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All findings, in the order in which a pull would meet them."""

    checks: tuple[Check, ...]

    @property
    def failure(self) -> Check | None:
        """What a pull would end with; None if it can work."""
        return first_failure(self.checks)


def examine(request: DoctorRequest, *, settings: Settings) -> DoctorReport:
    """Check everything at once; ends within half a minute, whatever hangs."""
    client = HubClient(
        trusted=settings.trusted,
        token_source=token_source(request.token, may_use_stored=settings.may_use_stored_token),
        user_agent=f"hfaria/{__version__}",
        ca_bundle=settings.ca_bundle,
        proxies=settings.proxies,
        timeouts=_TIMEOUTS,
    )
    with closing(client):
        checkups = [] if settings.is_offline else _checkups(request, settings, client)
        sources = [
            *(checkup.steps() for checkup in checkups),
            _token_checks(request, settings, client),
            _engine_checks(settings),
            _disk_checks(request, settings),
        ]
        heard = [_heard(course) for course in run_bounded(sources, seconds=_LONGEST_SECONDS)]
    *chains, token, engine, disk = [last_words(checks) for checks in heard]
    readings = [reading for checkup in checkups for reading in checkup.readings]
    checks = (
        _python_check(),
        _config_check(request, settings),
        *_proxy_checks(settings),
        *with_spare_endpoints(chains),
        judge_clock(readings) if checkups else _offline_check(),
        *token,
        *engine,
        *disk,
    )
    return DoctorReport(checks)


def _checkups(
    request: DoctorRequest, settings: Settings, client: HubClient
) -> list[EndpointCheckup]:
    return [
        EndpointCheckup(
            client,
            request.spec,
            one.endpoint,
            proxy=settings.proxies.find(one.endpoint.url, one.endpoint),
            engine_ca_bundle=settings.engine_ca_bundle,
        )
        for one in settings.endpoints
    ]


def _python_check() -> Check:
    text = (
        f"hfaria {__version__}, Python {platform.python_version()}, "
        f"huggingface_hub {importlib.metadata.version('huggingface_hub')}, {sys.platform}"
    )
    numbers = importlib.metadata.version("huggingface_hub").split(".")
    version = tuple(int(number) for number in numbers[:2] if number.isdecimal())
    if not _OLDEST_HUB <= version < _FIRST_FOREIGN_HUB:
        return warn(
            "python",
            text,
            remedy='install a version that is tried: `pip install "huggingface_hub>=1.31,<3"`',
        )
    return ok("python", text)


def _config_check(request: DoctorRequest, settings: Settings) -> Check:
    if request.fault is not None:
        return fail(
            "config",
            f"{request.fault.message} (left out for what follows)",
            exit_code=request.fault.exit_code,
            remedy=request.fault.hint,
        )
    if settings.config_path is None:
        return ok("config", "no config file; all from options, environment and defaults")
    return ok("config", f"read `{settings.config_path}`")


def _proxy_checks(settings: Settings) -> tuple[Check, ...]:
    return judge_proxies(
        settings.engine_environ,
        proxies=settings.proxies,
        endpoints=[one.endpoint for one in settings.endpoints],
    )


def _offline_check() -> Check:
    return warn(
        "offline",
        "HF_HUB_OFFLINE is set: a pull asks nobody, and neither does this",
        remedy="unset HF_HUB_OFFLINE to go online",
    )


def _token_checks(request: DoctorRequest, settings: Settings, client: HubClient) -> Iterator[Check]:
    came_from = _token_origin(request, settings)
    yield warn("token", f"{came_from}, not checked: no answer in time")
    if settings.is_offline or not settings.uses_origin:
        why = "offline" if settings.is_offline else "the origin is not to be asked"
        has_one = client.token is not None
        yield ok("token", f"{came_from}, not checked: {why}" if has_one else "none")
        return
    yield check_token(client, settings.origin, came_from)


def _token_origin(request: DoctorRequest, settings: Settings) -> str:
    if request.token is not None:
        return f"from {request.token_option}"
    for name in _TOKEN_VARIABLES:
        if settings.engine_environ.get(name):
            return f"from {name}"
    return "from the store of `hf auth login`"


def _engine_checks(settings: Settings) -> Iterator[Check]:
    yield fail("engine", "did not answer in time", exit_code=ExitCode.ENGINE)
    try:
        yield _attached_engine(settings) if settings.rpc_url else _managed_engine(settings)
    except HfariaError as exc:
        yield fail("engine", exc.message, exit_code=exc.exit_code, remedy=exc.hint)


def _attached_engine(settings: Settings) -> Check:
    daemon = AttachedDaemon(settings.rpc_url or "", settings.rpc_secret or Secret(""))
    try:
        daemon.check()
        return ok("engine", f"the daemon at {settings.rpc_url} answers")
    finally:
        daemon.engine.close()


def _managed_engine(settings: Settings) -> Check:
    binary = find_engine(settings.aria2c, search_path=settings.engine_environ.get("PATH"))
    tunables = load_tunables(settings.aria2_conf)
    started = time.monotonic()
    with ManagedDaemon(
        binary,
        tunables=tunables.options,
        environ=settings.engine_environ,
        ca_certificate=settings.engine_ca_bundle,
    ):
        seconds = time.monotonic() - started
    text = f"aria2 {binary.version} (`{binary.path}`), answers {seconds:.1f} s after its start"
    if seconds > _SLOW_ENGINE_SECONDS:
        return warn("engine", text, remedy="the machine may be busy; a pull waits for 10 s")
    if tunables.ignored:
        return warn(
            "engine",
            f"{text}; `{settings.aria2_conf}` sets what is not yours to set",
            remedy=f"take out: {', '.join(tunables.ignored)}",
        )
    return ok("engine", text)


def _disk_checks(request: DoctorRequest, settings: Settings) -> Iterator[Check]:
    folder = request.folder
    yield fail(
        "disk",
        f"`{folder}`: no answer in time",
        exit_code=ExitCode.DESTINATION,
        remedy="a network filesystem may hang; name another place with `--dest`",
    )
    try:
        existing = nearest_existing(folder)
        filesystem = probe(folder, allow_symlinks=settings.allow_symlinks)
    except OSError as exc:
        yield fail("disk", f"`{folder}`: {exc.strerror or exc}", exit_code=ExitCode.DESTINATION)
        return
    disk = judge_disk(
        filesystem, folder=str(folder), exists=existing == folder, reserve=settings.reserve
    )
    yield from disk
    if not filesystem.refusals:
        yield judge_symlinks(filesystem, is_allowed=settings.allow_symlinks)
        yield from _lock_checks(existing)


def _lock_checks(folder: Path) -> Iterator[Check]:
    yield warn("locks", "no answer in time")
    try:
        locking = try_locks(folder)
    except OSError as exc:
        yield fail(
            "locks",
            f"not on `{folder}`: {exc.strerror or exc}",
            exit_code=ExitCode.DESTINATION,
            remedy="name a disk whose filesystem has locks: `--dest`, HF_HUB_CACHE",
        )
        return
    if locking is Locking.WORKS:
        yield ok("locks", "keep another process out")
    elif locking is Locking.SOFT:
        yield warn(
            "locks",
            "none of the kernel's here; lock files stand in, which a killed pull leaves behind",
            remedy="after a kill, delete `.locks` in the cache if a pull says that another runs",
        )
    else:
        what = "do nothing" if locking is Locking.LIES else "are not given back"
        yield warn(
            "locks",
            f"{what} here: two pulls of one repo would disturb each other",
            remedy="run one pull of a repo at a time, on one machine",
        )


def _heard(course: Course[Check]) -> list[Check]:
    """Return what was found; where a bug of ours got in the way, that takes the check's place."""
    if course.error is None:
        return course.items
    *before, last = course.items
    text = f"a bug in hfaria: {course.error!r}"
    return [*before, fail(last.name, text, exit_code=ExitCode.BUG, subject=last.subject)]
