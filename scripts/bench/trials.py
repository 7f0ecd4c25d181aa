"""Trials: one run of each tool, never repeated, against a Hub that misbehaves."""

from __future__ import annotations

import math
import shutil
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.options import tell
from bench.results import OURS, Finding
from bench.running import RunningTool, ToolFailedError
from bench.tools import Job, Tool, environment, select
from loopback_hub import GOOD_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from bench.options import Options
    from loopback_hub import Fault, HubProcess, RepoSpec

FAILED = math.inf
"""The time of a run that did not bring the whole repo."""

_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Sighting:
    """What every site had sent of files, so many seconds after the start of the run."""

    seconds: float
    sent: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: how it ended, and what the Hub saw of it.

    ``seconds`` is `FAILED` unless it said that it is done, every file is right and the token stayed
    where it belongs. ``wrong`` counts files that are missing or have another content, ``corrupt``
    the latter alone.
    """

    seconds: float
    wrong: int
    corrupt: int
    sent_share: float
    limited_share: float
    sent: Mapping[str, int]
    sightings: tuple[Sighting, ...]
    remark: str


Trials = dict[str, tuple[Trial, ...]]


@dataclass(frozen=True, slots=True)
class Scene:
    """The Hub, the repo, and where the tools are pointed.

    ``endpoints`` are named in order to a tool that takes several; the others get the first.
    """

    hub: HubProcess
    spec: RepoSpec
    folder: Path
    endpoints: tuple[str, ...] = ("origin",)
    faults: tuple[Fault, ...] = ()
    is_watched: bool = False
    """Whether to look at what the sites sent, all the time."""
    limit_seconds: float = 200.0
    """When a tool that still runs is ended."""

    def job(self, tool: Tool, dest: Path) -> Job:
        """Return the pull that a tool is asked for; ours has a token that must not leak.

        The others get none: with one, hubdl fetches nothing that is behind a signed URL.
        """
        first, *others = (self.hub.url(site) for site in self.endpoints)
        return Job(
            self.spec.repo_id,
            first,
            dest,
            others=tuple(others),
            origin=self.hub.url("origin"),
            token=GOOD_TOKEN if tool.name == OURS else None,
        )


def hold_trials(options: Options, scene: Scene) -> Trials:
    """Run the tools in turn, each so many times; the faults begin with every run anew."""
    trials: Trials = {}
    for number in range(options.rounds):
        for tool in select(options.tools):
            trial = _hold(tool, scene, number)
            trials[tool.name] = (*trials.get(tool.name, ()), trial)
            end = "failed" if trial.seconds == FAILED else f"{trial.seconds:.2f} s"
            tell(
                f"  round {number + 1}: {tool.name}: {end}, sent {trial.sent_share:.3f} x"
                f"{'; ' if trial.remark else ''}{trial.remark}"
            )
    return trials


def findings_of(
    what: str,
    trials: Trials,
    value: Callable[[Trial], float],
    *,
    unit: str = "",
    target: float | None = None,
    digits: int = 2,
) -> Finding:
    """Return one quantity of all trials."""
    samples = {name: tuple(value(trial) for trial in held) for name, held in trials.items()}
    return Finding(what, samples, unit=unit, target=target, digits=digits)


def times_of(what: str, trials: Trials, *, target: float | None = None) -> Finding:
    """Return the times, with a note on each run that went wrong."""
    samples = {name: tuple(trial.seconds for trial in held) for name, held in trials.items()}
    notes = [
        f"{name}: {trial.remark}" for name, held in trials.items() for trial in held if trial.remark
    ]
    return Finding(what, samples, unit="s", target=target, notes=tuple(dict.fromkeys(notes)))


def against_the_best(what: str, times: Finding, *, target: float) -> Finding:
    """Divide our times by those of the best other tool that survived the same round."""
    ours = times.samples.get(OURS, ())
    others = [values for name, values in times.samples.items() if name != OURS]
    best = [min(values, default=FAILED) for values in zip(*others, strict=True)]
    ratios = [
        mine / other if other != FAILED else (FAILED if mine == FAILED else 0.0)
        for mine, other in zip(ours, best, strict=False)
    ]
    return Finding(what, {OURS: tuple(ratios)}, unit="x", target=target, digits=3)


def _hold(tool: Tool, scene: Scene, number: int) -> Trial:
    hub, spec = scene.hub, scene.spec
    dest = scene.folder / f"{tool.name}-{number}".replace(" ", "-")
    job = scene.job(tool, dest)
    home = scene.folder / "home"
    environ = environment(job, home)
    log = home / "log"
    log.unlink(missing_ok=True)
    hub.reset_records()
    before = hub.sent_by_site
    hub.faults.clear()
    hub.faults.add(*scene.faults)
    remarks: list[str] = []
    seconds = FAILED
    with ExitStack() as stack:
        run = stack.enter_context(RunningTool(tool.command(job), environ=environ, log=log))
        watch = _Watch(hub, run)
        if scene.is_watched:
            stack.enter_context(watch)
        try:
            seconds = run.finish(limit_seconds=scene.limit_seconds)
        except ToolFailedError:
            remarks.append(f"ended with {run.process.returncode} ({_last_line(log)})")
    hub.faults.clear()
    statuses = hub.statuses()
    wrong = tool.count_wrong_files(job, spec)
    corrupt = tool.count_wrong_files(job, spec, only_present=True)
    if wrong:
        remarks.append(f"{wrong} of {len(spec.head.files)} files missing or wrong")
    leaks = hub.leaks()
    if leaks:
        sites = ", ".join(sorted({record.site for record in leaks}))
        remarks.append(f"the token got to {sites} in {len(leaks)} requests")
    trial = Trial(
        seconds=FAILED if wrong or leaks else seconds,
        wrong=wrong,
        corrupt=corrupt,
        sent_share=hub.sent_share(spec.head.total_size),
        limited_share=statuses[429] / max(1, statuses.total()),
        sent={site: sent - before[site] for site, sent in hub.sent_by_site.items()},
        sightings=watch.sightings,
        remark="; ".join(remarks),
    )
    shutil.rmtree(dest, ignore_errors=True)
    return trial


class _Watch:
    """Looks at the sites' counters while a tool runs."""

    def __init__(self, hub: HubProcess, run: RunningTool) -> None:
        self.sightings: tuple[Sighting, ...] = ()
        self._hub = hub
        self._run = run
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        seen: list[Sighting] = []
        while not self._is_over.wait(_LOOK_SECONDS):
            sent = self._hub.sent_by_site
            seen.append(Sighting(self._run.age_seconds, sent))
        self.sightings = tuple(seen)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    words: Sequence[str] = [line.strip() for line in lines if line.strip()]
    told = [line for line in words if line.startswith("error: ")] or words or ["said nothing"]
    return told[-1][:160]
