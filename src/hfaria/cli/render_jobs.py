"""Jobs as a table, one by one, and as JSON documents."""

from __future__ import annotations

import shlex
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.render import plain
from hfaria.rules.jobs import JobState
from hfaria.rules.sizes import format_seconds, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hfaria.rules.jobs import Job

_HEADER = ("JOB", "STATE", "%", "RATE", "LEFT", "WHAT")
_WIDTH = 80
_INDENT = 6
_SLOWEST = 100.0  # bytes per second; below it a time to the end says nothing


def job_document(job: Job, log: Path) -> dict[str, Any]:
    """Return a job as `hfaria status --json` has it; docs/reference/json.md describes it."""
    report, progress, end = job.report, job.progress, job.end
    is_waiting = job.state is JobState.WAITING and progress is not None and report is not None
    return {
        "job": job.job_id,
        "state": job.state.value,
        "title": job.command.title,
        "arguments": list(job.command.arguments),
        "folder": job.command.folder,
        "log": str(log),
        "pid": report.process.pid if report is not None and job.state.is_alive else None,
        "created_at": _iso(job.command.created_at),
        "began_at": None if report is None else _iso(report.began_at),
        "updated_at": None if report is None else _iso(report.updated_at),
        "ended_at": None if end is None else _iso(end.ended_at),
        "exit_code": None if end is None else end.exit_code,
        "error": None if end is None else end.error,
        "hint": None if end is None else end.hint,
        "percent": None if progress is None else progress.percent,
        "held": None if progress is None else progress.held,
        "size": None if progress is None else progress.size,
        "files_done": None if progress is None else progress.files_done,
        "files": None if progress is None else progress.files,
        "rate": _rate(job),
        "seconds_left": _seconds_left(job),
        "limit_rate": job.limit,
        "waiting_for": progress.waiting_for if is_waiting and progress is not None else None,
        "waiting_since": (
            _iso(report.waits_since)
            if is_waiting and report is not None and report.waits_since is not None
            else None
        ),
        "said": None if report is None else report.said,
    }


def print_jobs(jobs: Sequence[Job]) -> None:
    """Print a table, with a line below each job that waits or failed."""
    rows = [_HEADER, *(_row(job) for job in jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER) - 1)]
    for row, job in zip(rows, (None, *jobs), strict=True):
        cells = [
            cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)  # noqa: PLR2004 - numbers
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lead = "  ".join(cells)
        click.echo(f"{lead}  {_fit(row[-1], _WIDTH - len(lead) - 2)}")
        for line in () if job is None else _below(job):
            click.echo(" " * _INDENT + _fit(line, _WIDTH - _INDENT))


def print_job(job: Job, log: Path) -> None:
    """Print all that is known of one job."""
    report, progress, end = job.report, job.progress, job.end
    state = job.state.value if end is None else f"{job.state.value}, exit code {end.exit_code}"
    lines = [
        ("job", job.job_id),
        ("state", state),
        ("command", shlex.join(["hfaria", *job.command.arguments])),
        ("folder", job.command.folder),
        ("log", str(log)),
        ("began", _local(job.command.created_at)),
    ]
    if end is not None:
        lines.append(("ended", _local(end.ended_at)))
    elif job.state is JobState.CUT and report is not None:
        lines.append(("last seen", _local(report.updated_at)))
    if report is not None and job.state.is_alive:
        lines.append(("process", str(report.process.pid)))
    if progress is not None:
        sizes = f"{format_size(progress.held)} of {format_size(progress.size)}"
        files = f"{progress.files_done} of {progress.files} files"
        lines.append(("progress", f"{progress.percent}%: {sizes}, {files}"))
    rate, left = _rate(job), _seconds_left(job)
    if rate is not None:
        eta = "" if left is None else f", {format_seconds(left)} left"
        lines.append(("rate", f"{format_size(rate)}/s{eta}"))
    if job.limit is not None:
        lines.append(("limit", "none" if job.limit == "0" else job.limit))
    lines += [("", line) for line in _below(job)]
    for name, value in lines:
        click.echo(f"{name:<10} {plain(value)}")


def _row(job: Job) -> tuple[str, ...]:
    progress, rate, left = job.progress, _rate(job), _seconds_left(job)
    return (
        job.job_id,
        job.state.value,
        "-" if progress is None else f"{progress.percent}",
        "-" if rate is None else f"{format_size(rate)}/s",
        "-" if left is None else format_seconds(left),
        plain(job.command.title),
    )


def _below(job: Job) -> Iterator[str]:
    report, progress, end = job.report, job.progress, job.end
    if job.state is JobState.WAITING and report is not None and progress is not None:
        since = "" if report.waits_since is None else f"since {_local(report.waits_since)}: "
        yield plain(f"{since}{progress.waiting_for}")
    elif job.state.is_alive and progress is None and report is not None and report.said:
        yield plain(report.said)
    elif end is not None and end.error is not None:
        yield plain(f"{end.error}")
    elif job.state is JobState.CUT and report is not None:
        yield f"no sign of it after {_local(report.updated_at)}"


def _rate(job: Job) -> float | None:
    if job.progress is None or job.state is not JobState.RUNNING:
        return None
    return round(job.progress.rate)


def _seconds_left(job: Job) -> float | None:
    progress, rate = job.progress, _rate(job)
    if progress is None or rate is None or rate < _SLOWEST or progress.seconds_left is None:
        return None
    return round(progress.seconds_left)


def _fit(text: str, width: int) -> str:
    """Shorten a text, in the middle: both ends of a name or a reason tell something."""
    if len(text) <= width or width < 4:  # noqa: PLR2004 - too short to shorten
        return text
    head = width // 2
    return f"{text[:head]}…{text[-(width - head - 1) :]}"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")


def _local(at: float) -> str:
    """Write a moment as the user's clock shows it, with the day unless it is today."""
    local = time.localtime(at)
    is_today = local[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M", local)
