"""How this command was called: its words, and the job that it is, if it is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfaria.report.reporter import Reporter
    from hfaria.workflows.bandwidth import Bandwidth
    from hfaria.workflows.job_run import JobRun


@dataclass(frozen=True, slots=True)
class Invocation:
    """The words after `hfaria`, and the job whose process this is."""

    arguments: tuple[str, ...] = ()
    job: JobRun | None = None

    def watched(self, reporter: Reporter) -> Reporter:
        """Return the reporter, which tells the job's state, too, if this is one."""
        return reporter if self.job is None else self.job.watch(reporter)

    @property
    def farewell(self) -> str:
        """What to say when it is made to end."""
        if self.job is None:
            return "interrupted; rerun the same command to resume"
        return self.job.farewell

    @property
    def steer(self) -> Callable[[Bandwidth], None] | None:
        """Who changes the rate while bytes move."""
        return None if self.job is None else self.job.steer


def this_invocation() -> Invocation:
    """Return how the command that runs now was called."""
    found = click.get_current_context().find_object(Invocation)
    return Invocation() if found is None else found
