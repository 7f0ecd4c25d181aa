"""Jobs, from outside: begin one, look at all of them, continue, hold, end, forget."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.errors import HfariaError, JobBusy, StoreError, UsageError
from hfaria.jobs.folder import JobFolder, all_folders, find_folder, make_folder
from hfaria.jobs.process import find_process, spawn
from hfaria.rules.jobs import (
    Job,
    JobCommand,
    JobEnd,
    JobFacts,
    JobReport,
    JobState,
    Process,
    Wish,
    environment_again,
    judge,
    to_forget,
)
from hfaria.settings import JOB_VARIABLES, environment, environment_of_job
from hfaria.workflows.job_run import error_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

_BEGIN_SECONDS = 10.0
_END_SECONDS = 20.0
_LOOK_SECONDS = 0.05
_INTERRUPTED = 130
RUNNER = "hfaria.cli.job_process"
"""The module that a job's process runs, with the job's folder as its argument."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that was begun or continued, and where it says more."""

    job: Job
    log: Path


@dataclass(frozen=True, slots=True)
class Jobs:
    """All jobs whose state is below one folder."""

    state_dir: Path

    # --- look ------------------------------------------------------------------------------------

    def find(self, job_ids: Sequence[str] = ()) -> tuple[Job, ...]:
        """Return jobs by their names, or all of them, in the order in which they were made.

        Raises `UsageError` for a name that there is not.
        """
        if job_ids:
            return tuple(self._must_read(find_folder(self.state_dir, each)) for each in job_ids)
        read = [self._read(folder) for folder in all_folders(self.state_dir)]
        jobs = [job for job in read if job is not None]
        return tuple(sorted(jobs, key=lambda job: job.command.created_at))

    def unreadable(self) -> tuple[Path, ...]:
        """Return folders of jobs whose command can't be understood."""
        folders = all_folders(self.state_dir)
        return tuple(folder.path for folder in folders if folder.read_command() is None)

    def log_of(self, job: Job) -> Path:
        """Return where a job's log is."""
        return self._folder(job).log

    def is_alive(self, job: Job) -> bool:
        """Tell whether a job's process runs now."""
        now = self._read(self._folder(job))
        return now is not None and now.state.is_alive

    # --- begin and continue ----------------------------------------------------------------------

    def detach(self, arguments: Sequence[str], *, title: str) -> Begun:
        """Begin a command as a job; returns once it got under way.

        Raises `JobFailed` with the job's own error if it fails before that.
        """
        values, withheld = environment_of_job()
        self._forget_old()
        folder = make_folder(self.state_dir)
        command = JobCommand(
            job_id=folder.job_id,
            title=title,
            arguments=tuple(arguments),
            folder=str(Path.cwd()),
            created_at=time.time(),
            environment=values,
            withheld=withheld,
        )
        try:
            folder.begin(command)
            process = self._spawn(folder, command)
        except HfariaError:
            with suppress(StoreError):  # what never began is no job
                folder.remove()
            raise
        return self._follow(folder, process)

    def resume(self, job: Job) -> Begun:
        """Start a job's command again; it goes on where its partials end."""
        folder = self._folder(job)
        if folder.is_locked() or job.state in {JobState.RUNNING, JobState.WAITING}:
            raise JobBusy(f"job {job.job_id} runs already")
        folder.write_wish(None)
        return self._follow(folder, self._spawn(folder, job.command))

    def missing_secrets(self, job: Job) -> tuple[str, ...]:
        """Return variables that were set when the job was begun, and are not now."""
        now = environment()
        return tuple(name for name in job.command.withheld if not now.get(name))

    def _spawn(self, folder: JobFolder, command: JobCommand) -> subprocess.Popen[bytes]:
        return spawn(
            [sys.executable, "-m", RUNNER, str(folder.path.absolute())],
            folder=folder.path,
            environment=environment_again(command, environment(), names=JOB_VARIABLES),
            log=folder.log,
        )

    def _follow(self, folder: JobFolder, process: subprocess.Popen[bytes]) -> Begun:
        report = self._wait_for_begin(folder, process)
        if report is not None and report.end is not None and report.end.exit_code:
            raise error_of(report.end)
        return Begun(self._must_read(folder), folder.log)

    def _wait_for_begin(
        self, folder: JobFolder, process: subprocess.Popen[bytes]
    ) -> JobReport | None:
        deadline = time.monotonic() + _BEGIN_SECONDS
        report = None
        with suppress(KeyboardInterrupt):  # which ends the waiting, and not the job
            while time.monotonic() < deadline:
                code = process.poll()
                told = folder.read_report()
                report = told if told is not None and told.process.pid == process.pid else None
                if report is not None and (report.end is not None or report.is_under_way):
                    return report
                if code is not None:
                    raise JobBusy(
                        f"job {folder.job_id} did not begin",
                        hint=f"`hfaria logs {folder.job_id}` shows its last words",
                    )
                time.sleep(_LOOK_SECONDS)
        return report

    # --- hold and end ----------------------------------------------------------------------------

    def ask(self, job: Job, wish: Wish) -> None:
        """Ask a job's process to end, for good or until it is resumed."""
        self._folder(job).write_wish(wish)

    def await_end(self, job: Job) -> Job:
        """Return the job once its process has ended; raises `JobBusy` if it doesn't."""
        folder = self._folder(job)
        deadline = time.monotonic() + _END_SECONDS
        while True:
            now = self._must_read(folder)
            if not now.state.is_alive:
                return now
            if time.monotonic() > deadline:
                pid = "?" if now.report is None else now.report.process.pid
                raise JobBusy(f"job {job.job_id} (process {pid}) does not end")
            time.sleep(_LOOK_SECONDS)

    def give_up(self, job: Job) -> Job:
        """Let a job that is paused or was cut count as stopped."""
        folder = self._folder(job)
        with folder.hold():
            now = time.time()
            last = folder.read_report()
            report = JobReport(
                process=Process(0, "", "") if last is None else last.process,
                began_at=now if last is None else last.began_at,
                updated_at=now,
                progress=None if last is None else last.progress,
                end=JobEnd(exit_code=_INTERRUPTED, ended_at=now, wish=Wish.STOP),
            )
            try:
                folder.write_report(report)
            except OSError as exc:
                raise StoreError(
                    f"the state of job {job.job_id} can't be written: {exc.strerror}"
                ) from exc
        return self._must_read(folder)

    def limit(self, job: Job, rate: str) -> None:
        """Hold a job to a rate, at once if it runs, and when it is resumed.

        ``rate`` is one that `parse_rate_schedule` takes.
        """
        self._folder(job).write_limit(rate)

    # --- forget ----------------------------------------------------------------------------------

    def clear(self) -> int:
        """Forget jobs that are over, and what can't be understood; returns how many."""
        forgotten = 0
        for folder in all_folders(self.state_dir):
            job = self._read(folder)
            if job is not None and (job.state.is_alive or job.state.is_to_be_continued):
                continue
            if job is not None or not folder.is_locked():
                folder.remove()
                forgotten += 1
        return forgotten

    def _forget_old(self) -> None:
        for job in to_forget(self.find()):
            self._folder(job).remove()

    # --- one -------------------------------------------------------------------------------------

    def _folder(self, job: Job) -> JobFolder:
        return find_folder(self.state_dir, job.job_id)

    def _read(self, folder: JobFolder) -> Job | None:
        command = folder.read_command()
        if command is None:
            return None
        is_locked = folder.is_locked()
        report = folder.read_report()  # after the lock: one that ends tells it before it lets go
        process = None if report is None else find_process(report.process.pid)
        facts = JobFacts(is_locked=is_locked, process=process, now=time.time())
        return Job(command, report, judge(command, report, facts), folder.read_limit())

    def _must_read(self, folder: JobFolder) -> Job:
        job = self._read(folder)
        if job is None:
            raise UsageError(
                f"what is written of job `{folder.job_id}` can't be understood",
                hint=f"`hfaria status --clear` forgets it; its files are in `{folder.path}`",
            )
        return job


def newest(jobs: Sequence[Job]) -> Job:
    """Return the job that was made last; raises `UsageError` if there is none."""
    if not jobs:
        raise UsageError("there is no job", hint="`hfaria pull --detach REPO_ID` begins one")
    return jobs[-1]
