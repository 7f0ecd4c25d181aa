"""`hfaria logs`, `pause`, `resume`, `stop` and `limit`: read and steer jobs from anywhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hfaria.cli.detach import say_begun
from hfaria.cli.options import debug_option
from hfaria.cli.render import EXIT_CODES, print_error
from hfaria.errors import HfariaError, JobBusy, UsageError
from hfaria.jobs.log import follow_log, read_log
from hfaria.rules.jobs import JobState, Wish
from hfaria.rules.rate_limit import parse_rate_schedule
from hfaria.settings import Overrides, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hfaria.rules.jobs import Job
    from hfaria.workflows.jobs import Jobs

_jobs_argument = click.argument("job_ids", nargs=-1, metavar="[JOB]...")


@click.command("logs", epilog=EXIT_CODES)
@click.argument("job_id", metavar="[JOB]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@debug_option
def logs_command(*, job_id: str | None, follow: bool, debug: bool) -> None:  # noqa: ARG001
    """Print what a job said, without secrets; that of the newest job unless one is named."""
    from hfaria.workflows.jobs import newest  # noqa: PLC0415 - not for `--help`

    jobs = _jobs()
    job = newest(jobs.find(() if job_id is None else (job_id,)))
    log = jobs.log_of(job)
    pieces = follow_log(log, is_over=lambda: not jobs.is_alive(job)) if follow else read_log(log)
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    except FileNotFoundError as exc:
        raise UsageError(f"job `{job.job_id}` has no log") from exc


@click.command("pause", epilog=EXIT_CODES)
@_jobs_argument
@debug_option
def pause_command(*, job_ids: tuple[str, ...], debug: bool) -> None:  # noqa: ARG001
    """Let jobs rest until they are resumed; all that run, unless some are named.

    A paused job has no process and moves nothing; what it fetched is kept. A reboot does not end
    the pause.
    """
    jobs = _jobs()
    chosen = jobs.find(job_ids)
    for job in chosen if job_ids else ():
        if not job.state.is_alive:
            raise UsageError(f"job `{job.job_id}` does not run: it is {job.state.value}")
    _end(jobs, [job for job in chosen if job.state.is_alive], Wish.PAUSE)


@click.command("stop", epilog=EXIT_CODES)
@_jobs_argument
@debug_option
def stop_command(*, job_ids: tuple[str, ...], debug: bool) -> None:  # noqa: ARG001
    """End jobs in order, as Ctrl-C does; all that run, unless some are named.

    What they fetched is kept, and `hfaria resume JOB` still continues them.
    """
    jobs = _jobs()
    chosen = jobs.find(job_ids)
    if job_ids:
        for job in chosen:
            if job.state.is_to_be_continued:
                _say(jobs.give_up(job))
            elif not job.state.is_alive:
                sys.stderr.write(f"job {job.job_id} is {job.state.value} already\n")
    _end(jobs, [job for job in chosen if job.state.is_alive], Wish.STOP)


@click.command("resume", epilog=EXIT_CODES)
@_jobs_argument
@debug_option
def resume_command(*, job_ids: tuple[str, ...], debug: bool) -> None:  # noqa: ARG001
    """Continue jobs; all that were paused or cut, unless some are named.

    The same command runs again, where it ran, and goes on inside the files. Tokens are those that
    are set now.
    """
    jobs = _jobs()
    chosen = jobs.find(job_ids)
    if job_ids:
        for job in chosen:
            if job.state is JobState.DONE:
                raise UsageError(f"job `{job.job_id}` is done: there is nothing to continue")
    else:
        chosen = tuple(job for job in chosen if job.state.is_to_be_continued)

    def resume(job: Job) -> None:
        for name in jobs.missing_secrets(job):
            sys.stderr.write(f"warning: {name} was set when job {job.job_id} began, not now\n")
        say_begun(jobs.resume(job), "goes on")

    _each(chosen, resume, nothing="nothing to resume")


@click.command("limit", epilog=EXIT_CODES)
@click.argument("rate", metavar="RATE")
@_jobs_argument
@debug_option
def limit_command(*, rate: str, job_ids: tuple[str, ...], debug: bool) -> None:  # noqa: ARG001
    """Hold jobs to a rate from now on; all that are not over, unless some are named.

    RATE is as for `--limit-rate`: `2M`, `2M@08:00-19:00`; `0` is no limit.
    """
    parse_rate_schedule(rate, named_by="RATE")
    jobs = _jobs()
    chosen = jobs.find(job_ids)
    if not job_ids:
        chosen = tuple(job for job in chosen if job.state.is_alive or job.state.is_to_be_continued)

    def limit(job: Job) -> None:
        jobs.limit(job, rate)
        when = "now" if job.state.is_alive else "when it is resumed"
        sys.stderr.write(f"job {job.job_id}: {rate} from {when} on\n")

    _each(chosen, limit, nothing="no job to limit")


def _jobs() -> Jobs:
    from hfaria.workflows.jobs import Jobs  # noqa: PLC0415 - not for `--help`

    return Jobs(load_settings(Overrides()).state_dir)


def _end(jobs: Jobs, running: Sequence[Job], wish: Wish) -> None:
    """Ask all of them first: they end at the same time."""
    for job in running:
        jobs.ask(job, wish)
    _each(running, lambda job: _say(jobs.await_end(job)), nothing=f"no job to {wish.value}")


def _each(jobs: Sequence[Job], act: Callable[[Job], None], *, nothing: str) -> None:
    """Do it to each; one that fails does not keep the others from it, and the last error counts."""
    if not jobs:
        sys.stderr.write(f"{nothing}\n")
    failed: HfariaError | None = None
    for job in jobs:
        try:
            act(job)
        except HfariaError as exc:
            if len(jobs) == 1:
                raise
            sys.stderr.write(f"job {job.job_id}: ")
            print_error(exc)
            failed = exc
    if failed is not None:
        raise JobBusy(f"not all of {len(jobs)} jobs could be reached")


def _say(job: Job) -> None:
    progress = job.progress
    at = "" if progress is None else f" at {progress.percent}%"
    sys.stderr.write(f"job {job.job_id} is {job.state.value}{at}: {job.command.title}\n")
