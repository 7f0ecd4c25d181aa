"""`hfaria status`: what jobs do, once or all the time."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from hfaria.cli.options import debug_option, json_option
from hfaria.cli.render import EXIT_CODES, print_document
from hfaria.cli.render_jobs import job_document, print_job, print_jobs
from hfaria.errors import UsageError
from hfaria.report.reporter import make_reporter
from hfaria.rules.jobs import JobState
from hfaria.rules.progress import ActiveTransfer, join
from hfaria.rules.sizes import count
from hfaria.settings import Overrides, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.rules.jobs import Job
    from hfaria.rules.progress import Progress
    from hfaria.workflows.jobs import Jobs

_LOOK_SECONDS = 0.5


@click.command("status", epilog=EXIT_CODES)
@click.argument("job_ids", nargs=-1, metavar="[JOB]...")
@click.option("-w", "--watch", is_flag=True, help="Show bars until no job runs any more.")
@click.option("--clear", is_flag=True, help="Forget jobs that are done, failed or stopped.")
@json_option
@debug_option
def status_command(
    *,
    job_ids: tuple[str, ...],
    watch: bool,
    clear: bool,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Show the jobs that `--detach` began: what they do, how far they are, what they wait for.

    A job whose process is gone without a word, after `kill -9` or a reboot, is `cut`: `hfaria
    resume` continues it.
    """
    if watch + clear + as_json > 1:
        raise UsageError("of `--watch`, `--clear` and `--json` only one can be given")
    if clear and job_ids:
        raise UsageError("`--clear` forgets all jobs that are over; it takes no names")
    settings = load_settings(Overrides())
    from hfaria.workflows.jobs import Jobs  # noqa: PLC0415 - not for `--help`

    jobs = Jobs(settings.state_dir)
    if clear:
        click.echo(f"forgotten: {count(jobs.clear(), 'job')}")
        return
    if watch:
        _watch(jobs, job_ids, show_progress=settings.show_progress)
    found = jobs.find(job_ids)
    if as_json:
        print_document({"jobs": [job_document(job, jobs.log_of(job)) for job in found]})
        return
    if not job_ids:
        for path in jobs.unreadable():
            sys.stderr.write(f"warning: what is written in `{path}` can't be understood\n")
    if not found:
        sys.stderr.write("no jobs\nhint: `hfaria pull --detach REPO_ID` begins one\n")
    elif len(job_ids) == 1:
        print_job(found[0], jobs.log_of(found[0]))
    else:
        print_jobs(found)
    if any(job.state is JobState.CUT for job in found):
        sys.stderr.write("hint: `hfaria resume` continues what was cut\n")


def _watch(jobs: Jobs, job_ids: Sequence[str], *, show_progress: bool) -> None:
    reporter = make_reporter(sys.stderr, is_quiet=False, show_progress=show_progress)
    seen: set[str] = set()
    try:
        while True:
            found = jobs.find(job_ids)
            running = {job.job_id for job in found if job.state.is_alive}
            if not running:
                return
            seen |= running  # those that end meanwhile stay part of the whole
            moment = _joint([job for job in found if job.job_id in seen])
            if moment is not None:
                reporter.show(moment)
            time.sleep(_LOOK_SECONDS)
    finally:
        reporter.close()


def _joint(jobs: Sequence[Job]) -> Progress | None:
    """Return the moment of several jobs as one: a single job's own, else a bar for each."""
    known = [(job, job.progress) for job in jobs if job.progress is not None]
    if len(known) == 1:
        return known[0][1]
    if not known:
        return None
    moments = {f"{job.job_id} {job.command.title}": progress for job, progress in known}
    active = tuple(
        ActiveTransfer(f"{job.job_id} {job.command.title}", moment.size, moment.held, moment.rate)
        for job, moment in known
        if job.state.is_alive
    )
    return replace(join(moments, repos_done=0), active=active, repos=1)
