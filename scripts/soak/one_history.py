"""Live through one history: pull once while it happens, and say which promise was broken."""

from __future__ import annotations

import contextlib
import enum
import os
import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from bench.running import RunningTool, descendants
from bench.tools import Job, environment, select
from loopback_hub import GOOD_TOKEN, Fault, HubConfig, LoopbackHub, Refuse, SiteSpec
from loopback_hub.config import DEFAULT_SITES
from soak.cache_rules import find_violations, is_complete
from soak.histories import OTHER_HUB, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from soak.histories import Attack, History

_LOOK_SECONDS = 0.05
_MARGIN_SECONDS = 12.0
# What is to be fetched takes less than ten; the rest is for waits, slow machines, and sources
# that keep silent after each 100 kB, all of them: that is slow, and still no reason to give up.
_LONGEST_SECONDS = 600.0
_ORPHAN_SECONDS = 6.0
_LINES_SHOWN = 20
_GAVE_UP = frozenset({3, 4, 5})
# Shorter than the patience, so that the engine comes back with what it can't do while there is
# some left.
_ENGINE_OPTIONS = "timeout=2\nconnect-timeout=2\n"


class Promise(enum.Enum):
    """What holds in every history; the value is what it is called when it was not kept."""

    RIGHT = "corrupt"
    SECRET = "leak"
    ENDS = "hang"
    ONE_RUN = "gave up with an honest source in reach"
    CLEAN = "untidy"
    """No traceback, one error line, no engine left, no more bytes than it takes."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept, and how."""

    promise: Promise
    words: str

    def __str__(self) -> str:
        return f"{self.promise.value}: {self.words}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a history ended, and the promises that were not kept."""

    history: History
    code: int
    seconds: float
    quiet_seconds: float
    sent_share: float
    words: str
    broken: tuple[Broken, ...]

    def lines(self) -> list[str]:
        """Tell what happened, with all that is needed to see it happen again."""
        end = f"ended with {self.code} after {self.seconds:.1f} s"
        quiet = f"{self.quiet_seconds:.1f} s without a byte, sent {self.sent_share:.2f} x the size"
        return [
            *self.history.lines(),
            f"{end}; {quiet}; it said:",
            *(f"  {line}" for line in self.words.splitlines()),
            *(f"BROKEN: {each}" for each in self.broken),
        ]


def live_through(history: History, folder: Path) -> Verdict:
    """Pull in ``folder`` while the history takes its course, and judge."""
    sites = (
        *DEFAULT_SITES,
        SiteSpec("second", "mirror", "127.0.0.4", history.prefix, lfs_from="self"),
        SiteSpec(OTHER_HUB, "modelscope", "127.0.0.5", lfs_from="self"),
    )
    config = HubConfig(
        repos=(history.spec,), sites=sites, url_lifetime_seconds=history.url_lifetime_seconds
    )
    with LoopbackHub(config) as hub:
        hub.prepare()
        for site, shape in history.shapes:
            hub.shape(site, shape)
        return _Life(history, hub, folder).live()


class _Life:
    def __init__(self, history: History, hub: LoopbackHub, folder: Path) -> None:
        self._history = history
        self._hub = hub
        self._folder = folder
        self._cache = folder / "cache"
        self._engines: dict[int, psutil.Process] = {}
        self._quiet_seconds = 0.0

    def live(self) -> Verdict:
        history, hub = self._history, self._hub
        command, environ = self._command()
        log = self._folder / "home" / "log"
        hub.faults.add(*history.faults)
        with RunningTool(command, environ=environ, log=log) as run:
            endless = self._watch(run)
            seconds = run.age_seconds
        code = int(run.process.wait())
        words = log.read_text("utf-8", "replace")
        broken = [Broken(Promise.ENDS, endless)] if endless else self._judge_end(code, words)
        broken += self._judge_cache(code)
        broken += self._judge_wire()
        broken += self._judge_engines()
        return Verdict(
            history,
            code,
            seconds,
            self._quiet_seconds,
            hub.sent_share(history.size),
            "\n".join(words.splitlines()[-_LINES_SHOWN:]),
            tuple(broken),
        )

    def _command(self) -> tuple[list[str], dict[str, str]]:
        history, hub = self._history, self._hub
        urls = [
            f"modelscope+{hub.url(site)}" if site == OTHER_HUB else hub.url(site)
            for site in history.endpoints
        ]
        first, *others = urls or [hub.url("origin")]
        job = Job(
            history.spec.repo_id,
            first,
            self._cache,
            others=tuple(others),
            origin=hub.url("origin"),
            token=GOOD_TOKEN,
        )
        (tool,) = select(["hfaria"])
        command = [*tool.command(job), "--patience", str(PATIENCE_SECONDS)]
        if not history.uses_origin:
            command.append("--no-origin")
        home = self._folder / "home"
        environ = environment(job, home)
        options = home / "aria2.conf"
        options.write_text(_ENGINE_OPTIONS, encoding="utf-8")
        return command, {**environ, "HFARIA_ARIA2_CONF": str(options), "HFARIA_RESERVE": "1MB"}

    def _watch(self, run: RunningTool) -> str:
        """Look on, and attack when it is time; say so if it doesn't end."""
        attacks = sorted(self._history.attacks, key=lambda attack: attack.at)
        sent, moved_at = -1, time.monotonic()
        while run.is_running():
            time.sleep(_LOOK_SECONDS)
            now_sent = sum(self._hub.sent_by_site.values())
            if now_sent != sent:
                sent, moved_at = now_sent, time.monotonic()
            quiet = time.monotonic() - moved_at
            self._quiet_seconds = max(self._quiet_seconds, quiet)
            if quiet > PATIENCE_SECONDS + _MARGIN_SECONDS:
                return f"it hung: {quiet:.1f} s without a byte"
            if run.age_seconds > _LONGEST_SECONDS:
                return f"it went on for {_LONGEST_SECONDS:.0f} s"
            for engine in descendants(run.process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "aria2" in engine.name():
                        self._engines[engine.pid] = engine
            if attacks and run.age_seconds >= attacks[0].at:
                self._attack(attacks.pop(0), run)
        return ""

    def _attack(self, attack: Attack, run: RunningTool) -> None:
        living = [engine for engine in self._engines.values() if _lives(engine)]
        if attack.way == "kill the engine":
            _signal(living, signal.SIGKILL)
        elif attack.way == "stop the engine":
            _signal(living, signal.SIGSTOP)
        else:
            with contextlib.suppress(psutil.NoSuchProcess):
                everything = [psutil.Process(run.process.pid), *living]
                _signal(everything, signal.SIGSTOP)
                time.sleep(attack.seconds)
                cut = Fault(Refuse())
                self._hub.faults.add(cut)
                self._hub.faults.remove(cut)
                _signal(everything, signal.SIGCONT)

    def _judge_end(self, code: int, words: str) -> list[Broken]:
        broken = []
        if code != 0 and self._history.has_honest:
            broken.append(Broken(Promise.ONE_RUN, f"exit code {code}"))
        if code not in {0, *_GAVE_UP}:
            broken.append(Broken(Promise.CLEAN, f"exit code {code}"))
        if "Traceback" in words or "a bug in hfaria" in words:
            broken.append(Broken(Promise.CLEAN, "it tripped over itself"))
        errors = re.findall(r"^error: .*$", words, re.MULTILINE)
        if len(errors) != (code != 0):
            said = f"{len(errors)} error lines with exit code {code}"
            broken.append(Broken(Promise.CLEAN, said))
        return broken

    def _judge_cache(self, code: int) -> list[Broken]:
        spec = self._history.spec
        commits = {commit.commit_id: commit for commit in spec.commits}
        found = find_violations(self._cache, spec.repo_id, commits)
        broken = [Broken(Promise.RIGHT, words) for words in found]
        if code != 0:
            return broken
        folder = self._cache / f"models--{spec.repo_id.replace('/', '--')}"
        ref = folder / "refs" / "main"
        named = commits.get(ref.read_text(encoding="utf-8")) if ref.is_file() else None
        if named is None or not is_complete(folder, named):
            said = "it said that it is done, but no complete commit is there"
            broken.append(Broken(Promise.RIGHT, said))
        elif self._history.is_head_due and named is not spec.head:
            said = "it said that it is done, but with an old commit"
            broken.append(Broken(Promise.RIGHT, said))
        return broken

    def _judge_wire(self) -> list[Broken]:
        leaks = [
            f"the token got to {record.site}: {record.method} {record.path} {record.strays}"
            for record in self._hub.leaks()[:3]
        ]
        broken = [Broken(Promise.SECRET, words) for words in leaks]
        sent = self._hub.file_bytes_sent()
        if sent > self._history.most_sent:
            said = f"{sent} bytes sent, more than {self._history.most_sent}"
            broken.append(Broken(Promise.CLEAN, said))
        return broken

    def _judge_engines(self) -> list[Broken]:
        due = time.monotonic() + _ORPHAN_SECONDS
        left = list(self._engines.values())
        while time.monotonic() < due and any(map(_lives, left)):
            time.sleep(_LOOK_SECONDS)
        orphans = [engine for engine in left if _lives(engine)]
        _signal(orphans, signal.SIGKILL)
        return [Broken(Promise.CLEAN, f"engine {each.pid} outlived hfaria") for each in orphans]


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(process.pid, number)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
