"""Kill hfaria at random moments, look at the cache after each kill, and resume.

A repo on a loopback Hub moves on from commit to commit. Each is pulled in runs that are killed:
hfaria alone, its engine alone, both, or hfaria by SIGTERM or SIGINT. After every run the rules of
`cache_rules` must hold; now and then a run may end, and must then have brought everything.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import psutil

from bench.running import RunningTool, descendants, kill_tree
from bench.tools import Job, environment, select
from loopback_hub import HubConfig, HubProcess, Shape
from soak.cache_rules import blob_names, find_violations
from soak.moving_repo import REPO_ID, MovingRepo

if TYPE_CHECKING:
    from collections.abc import Sequence

Way: TypeAlias = Literal["both", "tool", "engine", "SIGTERM", "SIGINT", "none"]

_WAYS: tuple[Way, ...] = ("both", "tool", "engine", "SIGTERM", "SIGINT")
_SHAPE = Shape(latency_seconds=0.01, rate_total=15e6)
_LATEST_KILL_SECONDS = 2.5
_END_SECONDS = 20.0
_ORPHAN_SECONDS = 6.0
_LETS_END = 0.1
_STARTS_AFRESH = 0.2
_LINES_SHOWN = 15


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    kills: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    pulls: int = 0
    bytes_needed: int = 0
    bytes_sent: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """Number of runs that were killed."""
        return sum(self.kills.values())

    def lines(self) -> list[str]:
        """Return the summary."""
        share = self.bytes_sent / self.bytes_needed if self.bytes_needed else 1.0
        kills = ", ".join(f"{count} {way}" for way, count in sorted(self.kills.items()))
        codes = ", ".join(f"{count} x {code}" for code, count in sorted(self.codes.items()))
        return [
            f"{self.runs} runs killed: {kills}",
            f"exit codes of all runs: {codes}",
            f"{self.pulls} commits pulled to the end",
            f"bytes sent / needed: {share:.4f} ({self.bytes_sent} / {self.bytes_needed})",
            f"violations: {len(self.violations)}",
        ]


class Soak:
    """One soak run against one hub and one cache."""

    def __init__(self, hub: HubProcess, folder: Path, seed: int) -> None:
        self.tally = Tally()
        self._dice = random.Random(seed)
        self._hub = hub
        self._folder = folder
        self._cache = folder / "cache"
        self._repo = MovingRepo(self._dice)
        self._orphans: list[tuple[float, psutil.Process]] = []

    def run(self, kills: int) -> None:
        """Pull commit after commit until so many runs were killed."""
        while self.tally.runs < kills:
            self._hub.put_repo(self._repo.spec)
            self._pull_one_commit(kills)
            if self._dice.random() < _STARTS_AFRESH:
                self._wait_for_orphans()
                shutil.rmtree(self._cache, ignore_errors=True)
            self._repo.push()
        self._wait_for_orphans()

    def _pull_one_commit(self, kills: int) -> None:
        here = blob_names(self._cache, REPO_ID)
        blobs = {file.blob_name: file.size for file in self._repo.head.files}
        self.tally.bytes_needed += sum(n for name, n in blobs.items() if name not in here)
        self._hub.reset_records()
        is_done = False
        while not is_done:
            ends = self.tally.runs >= kills or self._dice.random() < _LETS_END
            way = "none" if ends else self._dice.choice(_WAYS)
            is_done = self._run_once(way)
            if self._dice.random() < 0.5:
                self._wait_for_orphans()
        self.tally.pulls += 1
        self.tally.bytes_sent += self._hub.file_bytes_sent()

    def _run_once(self, way: Way) -> bool:
        """Run hfaria once; return whether everything is there."""
        delay = self._dice.uniform(0.0, _LATEST_KILL_SECONDS)
        code, words = self._run_and_kill(way, delay)
        self.tally.codes[code] += 1
        problems = find_violations(self._cache, REPO_ID, self._repo.commits)
        if "Traceback" in words or "a bug in hfaria" in words:
            problems.append(f"hfaria ended with {code} and said:\n{words}")
        allowed = {
            "both": {0, -signal.SIGKILL},
            "tool": {0, -signal.SIGKILL},
            "SIGTERM": {0, 130, -signal.SIGTERM},
            "SIGINT": {0, 130, -signal.SIGINT},
        }.get(way, {0})
        if code not in allowed:
            problems.append(f"hfaria ended with {code} and said:\n{words}")
        if code == 0 and not self._ref_names_head():
            problems.append("hfaria said that it is done, but the ref is not on the new commit")
        what = f"run {self.tally.runs}, {way} after {delay:.3f} s, exit {code}"
        _tell(f"{what}: {'; '.join(problems) or 'ok'}")
        self.tally.violations += [f"{what}: {problem}" for problem in problems]
        return code == 0

    def _run_and_kill(self, way: Way, delay: float) -> tuple[int, str]:
        job = Job(REPO_ID, self._hub.url(), self._cache)
        (tool,) = select(["hfaria"])
        home = self._folder / "home"
        environ = environment(job, home)
        log = home / "log"
        log.unlink(missing_ok=True)
        engines: list[psutil.Process] = []
        with RunningTool(tool.command(job), environ=environ, log=log) as run:
            if way != "none":
                _wait(run, delay)
                engines = descendants(run.process.pid)
                if run.is_running():
                    self.tally.kills[way] += 1
                    _kill(run, way, engines)
            _wait(run, _END_SECONDS)
            is_stuck = run.is_running()
        words = "\n".join(log.read_text("utf-8", "replace").splitlines()[-_LINES_SHOWN:])
        if is_stuck:
            words = f"Traceback: none, but it did not end in {_END_SECONDS:.0f} s\n{words}"
        due = time.monotonic() + _ORPHAN_SECONDS
        self._orphans += [(due, engine) for engine in engines]
        return int(run.process.returncode), words

    def _ref_names_head(self) -> bool:
        ref = self._cache / f"models--{REPO_ID.replace('/', '--')}" / "refs" / "main"
        return ref.is_file() and ref.read_text(encoding="utf-8") == self._repo.head.commit_id

    def _wait_for_orphans(self) -> None:
        for due, engine in self._orphans:
            while _lives(engine) and time.monotonic() < due:
                time.sleep(0.05)
            if _lives(engine):
                self.tally.violations.append(f"process {engine.pid} outlived hfaria")
                engine.kill()
        self._orphans.clear()


def _kill(run: RunningTool, way: Way, engines: Sequence[psutil.Process]) -> None:
    if way == "both":
        kill_tree(run.process)
    elif way == "tool":
        run.process.kill()
    elif way == "engine":
        for engine in engines:
            if _lives(engine):
                engine.kill()
    elif way != "none":
        run.process.send_signal(signal.Signals[way])


def _wait(run: RunningTool, seconds: float) -> None:
    end = time.monotonic() + seconds
    while run.is_running() and time.monotonic() < end:
        time.sleep(0.005)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run the soak and return 1 if any rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs to kill [default: 200]")
    parser.add_argument("--seed", type=int, help="of the dice [default: another one each time]")
    parser.add_argument("--folder", type=Path, help="where to work; kept on a violation")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 30) if options.seed is None else options.seed
    _tell(f"seed {seed}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="hfaria-soak-", dir=options.folder))
    with HubProcess(HubConfig()) as hub:
        for site in hub.urls:
            hub.shape(site, _SHAPE)
        soak = Soak(hub, folder, seed)
        soak.run(options.runs)
    tally = soak.tally
    print("\n".join(tally.lines()))
    for violation in tally.violations:
        print(f"- {violation}")
    if tally.violations:
        print(f"seed {seed}; the cache is kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
