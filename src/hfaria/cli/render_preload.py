"""Turn a preload's receipt and preview into text; stdout is for data, stderr for the rest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.render import plain
from hfaria.rules.manifest import title_of
from hfaria.rules.preload import RepoState
from hfaria.rules.receipt import PartialPull
from hfaria.rules.sizes import count, format_seconds, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hfaria.rules.preload import PreloadReceipt, RepoOutcome
    from hfaria.workflows.preload import PreloadPreview

_MOST_FAILURES = 10
_HEAD = ("repo", "state", "commit", "files", "size", "fetched")


def print_preload(receipt: PreloadReceipt) -> None:
    """Print a table of the repos, and below it what they come to."""
    rows = [_row(outcome) for outcome in receipt.repos]
    click.echo("\n".join(_table(_HEAD, rows)))
    fetched = "nothing had to be fetched"
    if receipt.bytes_fetched:
        fetched = f"fetched {format_size(receipt.bytes_fetched)}"
    done = sum(1 for outcome in receipt.repos if outcome.is_complete)
    sys.stdout.flush()
    sys.stderr.write(
        f"{done} of {count(len(receipt.repos), 'repo')} in place, "
        f"{count(receipt.files, 'file')}, {format_size(receipt.size)}; {fetched} in "
        f"{format_seconds(receipt.seconds)}\n"
    )
    sys.stderr.flush()
    if receipt.digest is not None:
        click.echo(f"digest {receipt.digest}")


def print_changes(receipt: PreloadReceipt) -> None:
    """Print a line for each repo that got something, and nothing if none did."""
    for outcome in receipt.repos:
        if outcome.state is RepoState.FETCHED and outcome.receipt is not None:
            size = format_size(outcome.receipt.bytes_fetched)
            click.echo(
                f"{title_of(outcome.spec)}: at commit {outcome.receipt.commit_hash[:12]}, "
                f"fetched {size}"
            )


def print_failures(receipt: PreloadReceipt) -> None:
    """Say of each repo that is not in place why, and what next."""
    for outcome in receipt.repos:
        error = outcome.error
        if error is None:
            continue
        sys.stderr.write(f"  - {title_of(outcome.spec)}: {plain(error.message)}\n")
        if isinstance(error, PartialPull):
            for file in error.receipt.failed[:_MOST_FAILURES]:
                sys.stderr.write(f"      {plain(file.path)}: {plain(file.reason)}\n")
        elif error.hint:
            sys.stderr.write(f"      {plain(error.hint)}\n")


def print_preload_preview(preview: PreloadPreview) -> None:
    """Print what would be fetched for each repo, and whether it fits."""
    rows = [
        (
            each.name,
            "present" if each.plan.is_complete else "fetch",
            each.plan.commit_hash[:12],
            str(len(each.plan.files)),
            format_size(each.plan.size),
            format_size(each.plan.bytes_to_fetch),
        )
        for each in preview.plans
    ]
    rows += [(title_of(each.spec), each.state.value, "-", "-", "-", "-") for each in preview.failed]
    click.echo("\n".join(_table((*_HEAD[:-1], "to fetch"), rows)))
    click.echo(f"to fetch, what repos share counted once: {format_size(preview.bytes_to_fetch)}")
    if preview.filesystem is not None:
        free = preview.filesystem.free_bytes
        click.echo(
            f"disk: needs {format_size(preview.bytes_needed)}, {format_size(free)} free, "
            f"leaves {format_size(max(0, free - preview.bytes_needed))}"
        )


def preload_document(receipt: PreloadReceipt) -> dict[str, Any]:
    """Return the receipt as the JSON document of `--json`; docs/reference/json.md describes it."""
    return {
        "manifest": str(receipt.manifest.absolute()),
        "lock": str(receipt.lock.absolute()),
        "is_complete": receipt.is_complete,
        "is_changed": receipt.changed,
        "digest": receipt.digest,
        "files": receipt.files,
        "size": receipt.size,
        "bytes_fetched": receipt.bytes_fetched,
        "seconds": round(receipt.seconds, 3),
        "repos": [_outcome_document(outcome) for outcome in receipt.repos],
    }


def preload_preview_document(preview: PreloadPreview) -> dict[str, Any]:
    """Return what would be done as the JSON document of `--dry-run --json`."""
    return {
        "bytes_to_fetch": preview.bytes_to_fetch,
        "disk_needed": preview.bytes_needed,
        "disk_free": None if preview.filesystem is None else preview.filesystem.free_bytes,
        "problems": list(preview.problems),
        "repos": [
            {
                "repo_id": each.plan.spec.repo_id,
                "repo_type": each.plan.spec.repo_type.value,
                "revision": each.plan.spec.revision,
                "commit": each.plan.commit_hash,
                "is_complete": each.plan.is_complete,
                "files": len(each.plan.files),
                "size": each.plan.size,
                "bytes_to_fetch": each.plan.bytes_to_fetch,
            }
            for each in preview.plans
        ],
        "failed": [_outcome_document(outcome) for outcome in preview.failed],
    }


def _outcome_document(outcome: RepoOutcome) -> dict[str, Any]:
    receipt, error = outcome.receipt, outcome.error
    return {
        "repo_id": outcome.spec.repo_id,
        "repo_type": outcome.spec.repo_type.value,
        "revision": outcome.spec.revision,
        "state": outcome.state.value,
        "commit": None if receipt is None else receipt.commit_hash,
        "path": None if receipt is None else str(receipt.path),
        "files": None if receipt is None else receipt.files,
        "size": None if receipt is None else receipt.size,
        "bytes_fetched": 0 if receipt is None else receipt.bytes_fetched,
        "endpoints": [] if receipt is None else list(receipt.endpoints),
        "failed": []
        if receipt is None
        else [{"path": file.path, "reason": file.reason} for file in receipt.failed],
        "error": None
        if error is None
        else {
            "message": error.message,
            "hint": error.hint,
            "exit_code": int(error.exit_code),
        },
    }


def _row(outcome: RepoOutcome) -> tuple[str, ...]:
    receipt = outcome.receipt
    if receipt is None:
        return (title_of(outcome.spec), outcome.state.value, "-", "-", "-", "-")
    fetched = format_size(receipt.bytes_fetched) if receipt.bytes_fetched else "-"
    return (
        title_of(outcome.spec),
        outcome.state.value,
        receipt.commit_hash[:12],
        str(receipt.files),
        format_size(receipt.size),
        fetched,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines with columns as wide as need be; numbers are to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.ljust(widths[at]) if at < len(head) // 2 else cell.rjust(widths[at])
            for at, cell in enumerate(row)
        ]
        yield "  ".join(cells).rstrip()
