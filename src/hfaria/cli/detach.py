"""`--detach`: the same command as a job in the background."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hfaria.cli.invocation import this_invocation
from hfaria.cli.render import print_document
from hfaria.errors import UsageError

if TYPE_CHECKING:
    from hfaria.settings import Settings
    from hfaria.workflows.jobs import Begun

detach_option = click.option(
    "--detach", is_flag=True, help="Go on in the background, and print the job's name."
)


def check_detach(*, token: str | None, dry_run: bool) -> None:
    """Refuse what can't be done in the background; raises `UsageError`."""
    if dry_run:
        raise UsageError("`--detach` and `--dry-run` can't be used together")
    if token is not None:
        raise UsageError(
            "`--detach` and `--token` can't be used together: a job's words are written down",
            hint="set HF_TOKEN, use `--token-file`, or log in with `hf auth login`",
        )


def begin_job(settings: Settings, *, title: str, as_json: bool, quiet: bool) -> None:
    """Begin this very command as a job, and say what it is called."""
    from hfaria.workflows.jobs import Jobs  # noqa: PLC0415 - not for `--help`

    begun = Jobs(settings.state_dir).detach(this_invocation().arguments, title=title)
    if as_json:
        print_document({"job": begun.job.job_id, "log": str(begun.log)})
        return
    click.echo(begun.job.job_id)
    if not quiet:
        say_begun(begun, "began")


def say_begun(begun: Begun, verb: str) -> None:
    """Say on stderr what became of it, and where to look."""
    job = begun.job
    if job.state.is_alive:
        sys.stderr.write(f"job {job.job_id} {verb}: {job.command.title}\n")
        sys.stderr.write(f"hint: `hfaria status {job.job_id}` shows it; log: {begun.log}\n")
    else:
        sys.stderr.write(f"job {job.job_id} is {job.state.value}: {job.command.title}\n")
