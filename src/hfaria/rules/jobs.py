"""Jobs: a command that runs by itself, what it told of itself, and what is to be believed of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import ExitCode, HfariaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfaria.rules.progress import Progress

MOST_ENDED = 50
"""Jobs that stay listed after their end; older ones are forgotten."""
STARTING_SECONDS = 30.0
"""How long a job may take from being written down to its first word."""


class JobState(enum.Enum):
    """What a job is doing; its value is what the user reads."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """It runs, and no byte moves."""
    PAUSED = "paused"
    CUT = "cut"
    """Its process ended without a word, or because the machine went down."""
    STOPPED = "stopped"
    FAILED = "failed"
    DONE = "done"

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self in {JobState.STARTING, JobState.RUNNING, JobState.WAITING}

    @property
    def is_to_be_continued(self) -> bool:
        """Whether it waits for somebody to resume it."""
        return self in {JobState.PAUSED, JobState.CUT}


class Wish(enum.Enum):
    """What a running job is asked for."""

    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class JobCommand:
    """What a job does, written once; enough to do it again after the machine was down.

    ``environment`` holds the variables that settings come from; of those in ``withheld`` it was
    known only that they were set, since their values are secrets.
    """

    job_id: str
    title: str
    arguments: tuple[str, ...]
    folder: str
    created_at: float
    environment: tuple[tuple[str, str], ...] = ()
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    """Which process it is. A pid alone is another's after a while, or after a reboot.

    ``started`` and ``boot_id`` are what the system says, and empty where it doesn't.
    """

    pid: int
    started: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job's process ended, by its own account; ``wish`` is who asked for it."""

    exit_code: int
    ended_at: float
    wish: Wish | None = None
    error: str | None = None
    hint: str | None = None


class JobFailed(HfariaError):
    """A job failed while its beginning was waited for; message, hint and exit code are its own."""

    def __init__(self, message: str, exit_code: ExitCode, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class JobReport:
    """What the job's process told last."""

    process: Process
    began_at: float
    updated_at: float
    progress: Progress | None = None
    waits_since: float | None = None
    said: str | None = None
    """Its last message, which is all there is to know before the first byte."""
    end: JobEnd | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether something moves, or is waited for: no check can refuse it any more."""
        moment = self.progress
        return moment is not None and has_life(moment)


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What was found out about a job's process without asking it.

    ``is_locked``: somebody holds the job's lock, which the kernel frees with its holder.
    ``process`` is the one that has the reported pid now, if there is one.
    """

    is_locked: bool
    process: Process | None
    now: float


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is to be believed."""

    command: JobCommand
    report: JobReport | None
    state: JobState
    limit: str | None = None
    """The rate that was asked for since, as it was written."""

    @property
    def job_id(self) -> str:
        """Its name."""
        return self.command.job_id

    @property
    def end(self) -> JobEnd | None:
        """How it ended, unless it runs again or was cut."""
        return None if self.report is None or self.state.is_alive else self.report.end

    @property
    def progress(self) -> Progress | None:
        """The last moment that is known."""
        return None if self.report is None else self.report.progress


def has_life(moment: Progress) -> bool:
    """Tell whether a moment is of a run that has begun: something moves, or is waited for."""
    return moment.rate > 0 or bool(moment.active) or moment.waiting is not None


def judge(command: JobCommand, report: JobReport | None, facts: JobFacts) -> JobState:
    """Say what a job is doing: what it told counts as far as the facts bear it out."""
    if report is not None and report.end is not None and not facts.is_locked:
        return _ended(report.end)
    if report is None or report.end is not None:
        is_young = facts.now - command.created_at < STARTING_SECONDS
        return JobState.STARTING if facts.is_locked or is_young else JobState.CUT
    if not facts.is_locked and not _is_same(report.process, facts.process):
        return JobState.CUT
    progress = report.progress
    if progress is not None and progress.waiting is not None:
        return JobState.WAITING
    return JobState.RUNNING


def _is_same(told: Process, found: Process | None) -> bool:
    return found is not None and bool(told.started) and told == found


def _ended(end: JobEnd) -> JobState:
    if end.exit_code == ExitCode.DONE:
        return JobState.DONE
    if end.exit_code == ExitCode.INTERRUPTED:
        # Nobody asked for it: the machine was shut down, or somebody killed it politely.
        stopped = {None: JobState.CUT, Wish.PAUSE: JobState.PAUSED, Wish.STOP: JobState.STOPPED}
        return stopped[end.wish]
    return JobState.FAILED


def to_forget(jobs: Iterable[Job], *, most: int = MOST_ENDED) -> tuple[Job, ...]:
    """Return the jobs that need not be listed any more: all but the newest of those at an end."""
    over = [job for job in jobs if not job.state.is_alive and not job.state.is_to_be_continued]
    newest_first = sorted(over, key=lambda job: job.command.created_at, reverse=True)
    return tuple(newest_first[most:])


def environment_again(
    command: JobCommand, environment: Mapping[str, str], *, names: Iterable[str]
) -> dict[str, str]:
    """Return ``environment`` with the variables of ``names`` as they were when the job was begun.

    Secrets are those of now.
    """
    forgotten = {*names} - {*command.withheld}
    others = {name: value for name, value in environment.items() if name not in forgotten}
    return {**others, **dict(command.environment)}
