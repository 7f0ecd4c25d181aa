"""`hfaria lock`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.manifest_options import manifest_option
from hfaria.cli.option_groups import (
    Asking,
    Saying,
    asking_options,
    cache_option,
    saying_options,
)
from hfaria.cli.render import EXIT_CODES, plain, print_document
from hfaria.errors import UsageError
from hfaria.rules.manifest import title_of
from hfaria.rules.sizes import count, format_size
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.lock import LockedRepo
    from hfaria.workflows.lock import LockChange, LockReceipt

_MOST_FILES = 10


@click.command("lock", epilog=EXIT_CODES)
@click.argument("named", nargs=-1, metavar="[REPO_ID]...")
@click.option(
    "--upgrade",
    is_flag=True,
    help="Move to what the revisions name now: all repos, or those named.",
)
@click.option("--check", is_flag=True, help="Fail if manifest and lock disagree; ask nobody.")
@click.option("--digest", "wants_digest", is_flag=True, help="Print the one digest over the lock.")
@manifest_option
@cache_option
@asking_options
@saying_options
def lock_command(
    *,
    named: tuple[str, ...],
    upgrade: bool,
    check: bool,
    wants_digest: bool,
    manifest: Path,
    cache_dir: Path | None,
    asking: Asking,
    saying: Saying,
) -> None:
    """Lock the manifest's repos: each at a commit, with a digest over its selected files.

    Locks what is new or selected otherwise; what is locked stays at its commit unless `--upgrade`.
    """
    if named and not upgrade:
        raise UsageError("naming repos makes sense with `--upgrade` alone")
    if check and upgrade:
        raise UsageError("`--check` and `--upgrade` can't be used together")
    settings = load_settings(asking.overrides(cache_dir))
    from hfaria.workflows import lock as workflow  # noqa: PLC0415 - brings the HTTP client

    reporter = saying.reporter(settings)
    try:
        receipt = workflow.lock(
            workflow.LockRequest(
                manifest,
                upgrade=upgrade,
                named=named,
                may_write=not check,
                keeps_endpoints=bool(asking.endpoints),
                token=asking.secret(reporter),
            ),
            settings=settings,
            reporter=reporter,
        )
    finally:
        reporter.close()
    if saying.as_json:
        print_document(lock_document(receipt))
    elif not saying.quiet:
        for line in _lines(receipt):
            reporter.note(line)
    if wants_digest and not saying.as_json:
        click.echo(receipt.digest)


def lock_document(receipt: LockReceipt) -> dict[str, Any]:
    """Return what was locked as the JSON document of `--json`."""
    changes = {change.spec: change for change in receipt.changes}
    return {
        "lock": str(receipt.path.absolute()),
        "digest": receipt.digest,
        "is_written": receipt.is_written,
        "repos": [
            {
                "repo_id": locked.spec.repo_id,
                "repo_type": locked.spec.repo_type.value,
                "revision": locked.spec.revision,
                "commit": locked.commit_hash,
                "digest": locked.digest,
                "files": locked.files,
                "size": locked.size,
                "endpoint": locked.endpoint,
                "locked_at": locked.locked_at.isoformat(),
                **_change_document(changes.get(locked.spec)),
            }
            for locked in receipt.lock.repos
        ],
        "removed": [title_of(c.spec) for c in receipt.changes if c.after is None],
    }


def _change_document(change: LockChange | None) -> dict[str, Any]:
    files = None if change is None else change.files
    return {
        "is_changed": change is not None and change.is_change,
        "bytes_to_fetch": 0 if change is None else change.bytes_to_fetch,
        "added": None if files is None else [file.path for file in files.added],
        "removed": None if files is None else [file.path for file in files.removed],
        "altered": None if files is None else [new.path for _, new in files.altered],
    }


def _lines(receipt: LockReceipt) -> Iterator[str]:
    """Say what changed, repo by repo, and what it means for this machine."""
    for change in receipt.changes:
        if not change.is_change:
            continue
        title = title_of(change.spec)
        if change.after is None:
            yield f"{title}: no longer in the manifest, removed from the lock"
        elif change.before is None:
            what = _contents(change.after)
            yield (
                f"{title}: locked at commit {change.after.commit_hash[:12]}, {what}, "
                f"{format_size(change.bytes_to_fetch)} to fetch"
            )
        else:
            yield from _moved(title, change, change.before, change.after)
    unchanged = sum(1 for change in receipt.changes if not change.is_change)
    files = "written" if receipt.is_written else "up to date"
    yield (
        f"{receipt.path}: {files}, {count(unchanged, 'repo')} unchanged"
        if unchanged
        else (f"{receipt.path}: {files}")
    )


def _contents(locked: LockedRepo) -> str:
    return f"{count(locked.files, 'file')}, {format_size(locked.size)}"


def _moved(title: str, change: LockChange, before: LockedRepo, after: LockedRepo) -> Iterator[str]:
    if before.commit_hash == after.commit_hash:
        yield f"{title}: stays at commit {after.commit_hash[:12]}, other files are selected"
    else:
        yield f"{title}: {before.commit_hash[:12]} -> {after.commit_hash[:12]}"
    if change.files is None:
        yield (
            f"  was {_contents(before)}, is {_contents(after)}; the old commit is not listed any "
            f"more; {format_size(change.bytes_to_fetch)} to fetch"
        )
        return
    files = change.files
    counts = [
        f"{len(group)} {what}"
        for group, what in (
            (files.added, "added"),
            (files.removed, "removed"),
            (files.altered, "altered"),
        )
        if group
    ]
    yield (
        f"  {', '.join(counts) or 'the same files'}; {format_size(change.bytes_to_fetch)} to fetch"
    )
    yield from _some("+", files.added)
    yield from _some("-", files.removed)
    yield from _some("~", [new for _, new in files.altered])


def _some(sign: str, files: Sequence[RemoteFile]) -> Iterator[str]:
    for file in files[:_MOST_FILES]:
        yield f"  {sign} {plain(file.path)} ({format_size(file.size)})"
    if len(files) > _MOST_FILES:
        yield f"  {sign} and {len(files) - _MOST_FILES} more"
