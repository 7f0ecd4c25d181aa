"""The inside of a job: tell its state, and do what others ask of it, while a command runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hfaria.errors import ExitCode, UsageError
from hfaria.jobs.process import find_process
from hfaria.redact import redact
from hfaria.report.snapshots import SnapshotReporter
from hfaria.rules.jobs import JobEnd, JobFailed, JobReport, Process, Wish, has_life
from hfaria.rules.rate_limit import RateSchedule, parse_rate_schedule

if TYPE_CHECKING:
    from hfaria.errors import HfariaError
    from hfaria.jobs.folder import JobFolder
    from hfaria.report.reporter import Reporter
    from hfaria.rules.progress import Progress
    from hfaria.workflows.bandwidth import Bandwidth

_LOOK_SECONDS = 0.2


@dataclass(slots=True)
class JobRun:
    """A job as its own process sees it; the job's lock is held while it is used.

    A state that can't be written costs those who look at it, never the command.
    """

    folder: JobFolder
    _report: JobReport = field(init=False)
    _wish: Wish | None = field(init=False, default=None)
    _error: HfariaError | None = field(init=False, default=None)
    _limit: str | None = field(init=False, default=None)
    _schedule: RateSchedule | None = field(init=False, default=None)
    _bandwidth: Bandwidth | None = field(init=False, default=None)
    _is_over: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        now = time.time()
        process = find_process(os.getpid()) or Process(os.getpid(), "", "")
        last = self.folder.read_report()
        self._report = JobReport(
            process, now, now, progress=None if last is None else _at_rest(last.progress)
        )

    def begin(self) -> None:
        """Tell that it runs, and listen to others from now on; for the main thread."""
        self._tell(self._report)
        self._take_limit()
        main = threading.get_ident()
        threading.Thread(target=self._listen, args=(main,), name="hfaria-job", daemon=True).start()

    def watch(self, reporter: Reporter) -> Reporter:
        """Return a reporter that tells the job's state, too."""
        return SnapshotReporter(reporter, keep=self._keep, hear=self._hear)

    def steer(self, bandwidth: Bandwidth) -> None:
        """Hold it to the rate that others asked for, now and later."""
        self._bandwidth = bandwidth
        if self._schedule is not None:
            bandwidth.set(self._schedule)

    def note_error(self, error: HfariaError) -> None:
        """Remember what the command failed of."""
        self._error = error

    @property
    def farewell(self) -> str:
        """What to say when it is made to end."""
        words = {None: "interrupted", Wish.PAUSE: "paused", Wish.STOP: "stopped"}
        return f"{words[self._wish]}; `hfaria resume {self.folder.job_id}` goes on"

    def end(self, code: ExitCode) -> None:
        """Tell how it ended."""
        self._is_over.set()
        now = time.time()
        error = self._error
        end = JobEnd(
            exit_code=int(code),
            ended_at=now,
            wish=self._wish if code is ExitCode.INTERRUPTED else None,
            error=None if error is None else redact(error.message),
            hint=None if error is None else error.hint,
        )
        progress = _at_rest(self._report.progress, is_done=code is ExitCode.DONE)
        self._tell(replace(self._report, updated_at=now, progress=progress, end=end))

    def _keep(self, progress: Progress, waits_since: float | None) -> None:
        last = self._report.progress
        if last is not None and progress.held < last.held and not has_life(progress):
            return  # nothing was staged yet when it was counted: the last run's moment says more
        self._tell(
            replace(
                self._report, updated_at=time.time(), progress=progress, waits_since=waits_since
            )
        )

    def _hear(self, text: str) -> None:
        said = redact(text.splitlines()[0] if text else "")
        self._tell(replace(self._report, updated_at=time.time(), said=said))

    def _tell(self, report: JobReport) -> None:
        self._report = report
        with suppress(OSError):
            self.folder.write_report(report)

    def _listen(self, main: int) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            wish = self.folder.read_wish()
            if wish is not None and self._wish is None:
                self._wish = wish
                # To that very thread, so that a call which it waits in comes back.
                signal.pthread_kill(main, signal.SIGTERM)
            self._take_limit()

    def _take_limit(self) -> None:
        text = self.folder.read_limit()
        if text is None or text == self._limit:
            return
        self._limit = text
        with suppress(UsageError):  # it was looked at before it was written
            self._schedule = parse_rate_schedule(text, named_by="limit")
            if self._bandwidth is not None:
                self._bandwidth.set(self._schedule)


def _at_rest(progress: Progress | None, *, is_done: bool = False) -> Progress | None:
    """Return how far it got, with nothing moving; to the end, if it is done."""
    if progress is None:
        return None
    if is_done:  # the last moment that was shown is a little before that
        size, files, repos = progress.size, progress.files, progress.repos
        progress = replace(progress, held=size, files_done=files, repos_done=repos)
    return replace(progress, rate=0.0, active=(), waiting=None, waiting_for=None)


def error_of(end: JobEnd) -> JobFailed:
    """Return the error that a job ended with, to be raised by whoever began it."""
    code = ExitCode(end.exit_code)
    return JobFailed(end.error or f"the job ended: {code.meaning}", code, hint=end.hint)
