"""Turn results and errors into text; stdout is for data, stderr for everything else."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from hfaria.errors import ExitCode, HfariaError, PreflightFailed
from hfaria.redact import redact
from hfaria.rules.receipt import PartialPull
from hfaria.rules.sizes import count, format_seconds, format_size

if TYPE_CHECKING:
    from hfaria.rules.receipt import Receipt
    from hfaria.workflows.pull import Preview

_MOST_FAILURES = 10
_MOST_WAITS = 3
_WORTH_SAYING_SECONDS = 1.0

EXIT_CODES = "\b\nExit codes:\n" + "\n".join(
    f"  {code.value:>3}  {code.meaning}" for code in ExitCode
)


def print_error(error: HfariaError) -> None:
    """Print what, where, whose, and on a line of its own what next."""
    sys.stderr.write(f"error: {plain(error.message)}\n")
    if isinstance(error, PreflightFailed) and len(error.problems) > 1:
        for problem in error.problems:
            sys.stderr.write(f"  - {plain(problem)}\n")
    if isinstance(error, PartialPull) and len(error.receipt.failed) > 1:
        failed = error.receipt.failed
        for file in failed[:_MOST_FAILURES]:
            sys.stderr.write(f"  - {plain(file.path)}: {plain(file.reason)}\n")
        if len(failed) > _MOST_FAILURES:
            sys.stderr.write(f"  - and {len(failed) - _MOST_FAILURES} more\n")
    if error.hint:
        sys.stderr.write(f"hint: {plain(error.hint)}\n")


def receipt_document(receipt: Receipt) -> dict[str, Any]:
    """Return the receipt as the JSON document of `--json`; docs/reference/json.md describes it."""
    return {
        "path": str(receipt.path),
        "repo_id": receipt.spec.repo_id,
        "repo_type": receipt.spec.repo_type.value,
        "revision": receipt.spec.revision,
        "commit": receipt.commit_hash,
        "is_complete": receipt.is_complete,
        "files": receipt.files,
        "size": receipt.size,
        "bytes_fetched": receipt.bytes_fetched,
        "bytes_reused": receipt.bytes_reused,
        "endpoints": list(receipt.endpoints),
        "listing_endpoint": receipt.listing_endpoint,
        "listing_trust": receipt.listing_trust.value,
        "retries": receipt.retries,
        "seconds": round(receipt.seconds, 3),
        "waits": [
            {"reason": wait.reason, "seconds": round(wait.seconds, 3)} for wait in receipt.waits
        ],
        "failed": [{"path": file.path, "reason": file.reason} for file in receipt.failed],
    }


def preview_document(preview: Preview) -> dict[str, Any]:
    """Return a plan as the JSON document of `--dry-run --json`."""
    plan = preview.plan
    cached = plan.cached_paths
    return {
        "path": str(preview.path),
        "repo_id": plan.spec.repo_id,
        "repo_type": plan.spec.repo_type.value,
        "revision": plan.spec.revision,
        "commit": plan.commit_hash,
        "endpoint": preview.endpoint,
        "size": plan.size,
        "bytes_to_fetch": plan.bytes_to_fetch,
        "bytes_reused": plan.bytes_reused,
        "disk_needed": preview.bytes_needed,
        "disk_free": preview.filesystem.free_bytes,
        "disk_left": preview.filesystem.free_bytes - preview.bytes_needed,
        "problems": list(preview.problems),
        "files": [
            {"path": file.path, "size": file.size, "is_cached": file.path in cached}
            for file in plan.files
        ],
    }


def print_document(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout."""
    # Piece by piece: as one text, the plan of 100,000 files would take some 70 MB more.
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_receipt(receipt: Receipt) -> None:
    """Say what was done: a summary on stderr, the path on stdout."""
    if receipt.bytes_fetched:
        rate = format_size(receipt.bytes_fetched / max(receipt.seconds, 0.001))
        what = (
            f"fetched and verified {format_size(receipt.bytes_fetched)} in "
            f"{format_seconds(receipt.seconds)} ({rate}/s)"
        )
        if receipt.bytes_reused:
            what += f", reused {format_size(receipt.bytes_reused)}"
    else:
        what = "nothing had to be fetched"
    if receipt.retries:
        what += f", {count(receipt.retries, 'retry')}"
    for wait in receipt.waits[:_MOST_WAITS]:
        if wait.seconds >= _WORTH_SAYING_SECONDS:
            what += f"\nwaited {format_seconds(wait.seconds)}: {plain(wait.reason)}"
    sys.stderr.write(
        f"done: {count(receipt.files, 'file')}, {format_size(receipt.size)} at commit "
        f"{receipt.commit_hash[:12]}\n{what}\n"
    )
    sys.stderr.flush()
    print_path(receipt)


def print_path(receipt: Receipt) -> None:
    """Print the snapshot's folder alone."""
    sys.stdout.write(f"{receipt.path}\n")
    sys.stdout.flush()


def print_preview(preview: Preview) -> None:
    """Print a plan as a table on stdout; problems go to stderr."""
    plan = preview.plan
    cached = plan.cached_paths
    to_fetch = sum(1 for file in plan.files if file.path not in cached)
    lines = [
        f"{plan.spec.label} at {plan.spec.revision} is commit {plan.commit_hash}",
        (
            f"{to_fetch} of {len(plan.files)} files to fetch, {format_size(plan.bytes_to_fetch)}; "
            f"{format_size(plan.bytes_reused)} of {format_size(plan.size)} here already"
        ),
        "",
    ]
    for file in plan.files:
        state = "cached" if file.path in cached else "fetch"
        lines.append(f"{format_size(file.size):>8}  {state:<6}  {plain(file.path)}")
    free = preview.filesystem.free_bytes
    lines += [
        "",
        (
            f"disk: needs {format_size(preview.bytes_needed)}, {format_size(free)} free, "
            f"leaves {format_size(max(0, free - preview.bytes_needed))}"
        ),
        f"path: {preview.path}",
    ]
    click.echo("\n".join(lines))


def plain(text: str) -> str:
    """Keep what others wrote, such as a hostile file name, from driving the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def said(text: str) -> str:
    """Return what a server may have said as one line, without secrets, fit to be shown."""
    return plain(redact(text).replace("\n", " "))
