"""`hfaria ls` and `hfaria verify`: what is here, and whether it is still right."""

from __future__ import annotations

import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.option_groups import (
    Kept,
    Saying,
    kept_options,
    saying_options,
)
from hfaria.cli.render import EXIT_CODES, plain, print_document
from hfaria.errors import HfariaError, MissingContent, WrongContent
from hfaria.rules.findings import RepoFindings, Trouble
from hfaria.rules.inventory import Completeness, RepoOnDisk, Snapshot, size_of
from hfaria.rules.sizes import count, format_age, format_size
from hfaria.settings import Overrides, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_FINDINGS = 20
_WORST_FIRST = (
    Completeness.INCOMPLETE,
    Completeness.UNKNOWN,
    Completeness.PART,
    Completeness.COMPLETE,
)


# --- ls -------------------------------------------------------------------------------------------


@click.command("ls", epilog=EXIT_CODES)
@kept_options
@saying_options
def ls_command(
    *,
    kept: Kept,
    saying: Saying,
) -> None:
    """Show what the cache holds: repos, or the revisions of those that are named."""
    settings = load_settings(Overrides(cache_dir=kept.cache_dir))
    from hfaria.workflows.verify import find_repos  # noqa: PLC0415 - not for `--help`

    repos = find_repos(kept.specs, settings.cache_dir)
    if kept.repo_type is not None:
        repos = tuple(repo for repo in repos if repo.spec.repo_type.value == kept.repo_type)
    if saying.as_json:
        print_document(ls_document(settings.cache_dir, repos))
    elif saying.quiet:
        for repo in repos:
            click.echo(repo.spec.label)
    elif kept.references:
        click.echo("\n\n".join("\n".join(_revisions(repo)) for repo in repos))
    else:
        click.echo("\n".join(_repos(settings.cache_dir, repos)))


def ls_document(cache_dir: Path, repos: Sequence[RepoOnDisk]) -> dict[str, Any]:
    """Return the JSON document of `ls --json`."""
    return {
        "cache_dir": str(cache_dir),
        "size": size_of(repos),
        "repos": [
            {
                "repo_id": repo.spec.repo_id,
                "repo_type": repo.spec.repo_type.value,
                "path": str(repo.folder),
                "size": repo.size,
                "leftover_size": repo.leftover_size,
                "revisions": [
                    {
                        "commit": snapshot.commit_hash,
                        "refs": list(snapshot.refs),
                        "files": len(snapshot.entries),
                        "size": _size(snapshot),
                        "state": snapshot.completeness.value,
                        "missing": len(snapshot.missing),
                        "verified_at": repo.verified_at(snapshot),
                    }
                    for snapshot in repo.snapshots
                ],
            }
            for repo in repos
        ],
    }


def _repos(cache_dir: Path, repos: Sequence[RepoOnDisk]) -> Iterator[str]:
    if not repos:
        yield f"no repos in {cache_dir}"
        return
    labels = [plain(repo.spec.label) for repo in repos]
    width = max(4, *map(len, labels))
    yield f"{'repo':<{width}}  {'on disk':>8}  revisions  {'state':<10}  verified"
    for label, repo in zip(labels, repos, strict=True):
        yield (
            f"{label:<{width}}  {format_size(repo.size):>8}  {len(repo.snapshots):>9}  "
            f"{_state(repo):<10}  {_verified(repo)}"
        )
    yield ""
    yield f"{count(len(repos), 'repo')}, {format_size(size_of(repos))} in {cache_dir}"
    left = sum(repo.leftover_size for repo in repos)
    if any(repo.leftovers for repo in repos):
        yield f"{format_size(left)} of leftovers; `hfaria clean` shows them"


def _state(repo: RepoOnDisk) -> str:
    states = {snapshot.completeness for snapshot in repo.snapshots}
    return next((state.value for state in _WORST_FIRST if state in states), "empty")


def _verified(repo: RepoOnDisk) -> str:
    times = [repo.verified_at(snapshot) for snapshot in repo.snapshots]
    known = [each for each in times if each is not None]
    if not known:
        return "no"
    oldest = format_age(time.time() - min(known))
    return oldest if len(known) == len(times) else f"{len(known)} of {len(times)}, {oldest}"


def _revisions(repo: RepoOnDisk) -> Iterator[str]:
    yield f"{repo.spec.label}, {format_size(repo.size)} in {repo.folder}"
    for snapshot in repo.snapshots:
        refs = ", ".join(snapshot.refs) or "no ref"
        verified_at = repo.verified_at(snapshot)
        verified = (
            "not verified"
            if verified_at is None
            else f"verified {format_age(time.time() - verified_at)}"
        )
        missing = len(snapshot.missing)
        state = snapshot.completeness.value + (f", {missing} missing" if missing else "")
        yield (
            f"  {snapshot.commit_hash}  {plain(refs)}\n"
            f"      {count(len(snapshot.entries), 'file')}, {format_size(_size(snapshot))}, "
            f"{state}, {verified}"
        )
    for leftover in repo.leftovers:
        name = plain(str(leftover.path.relative_to(repo.folder)))
        yield f"  {leftover.kind.value}: {format_size(leftover.size)}  {name}"


def _size(snapshot: Snapshot) -> int:
    sizes = {
        (entry.device, entry.state.inode): entry.state.size
        for entry in snapshot.entries.values()
        if entry.state is not None
    }
    return sum(sizes.values())


# --- verify ---------------------------------------------------------------------------------------


@click.command("verify", epilog=EXIT_CODES)
@kept_options
@click.option("--full", is_flag=True, help="Read every byte again, also of unchanged files.")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Hold the cache to a lock, such as `hfaria.lock`: only what is locked counts.",
)
@saying_options
def verify_command(
    *,
    kept: Kept,
    full: bool,
    lock_path: Path | None,
    saying: Saying,
) -> None:
    """Compare repos with their listings, offline; all repos if none is named.

    Files that are as they were when they were verified are not read again.
    """
    settings = load_settings(Overrides(cache_dir=kept.cache_dir))
    from hfaria.workflows.verify import verify, verify_lock  # noqa: PLC0415 - not for `--help`

    with saying.reporting(settings) as reporter:
        if lock_path is None:
            found = verify(kept.specs, cache_dir=settings.cache_dir, full=full, reporter=reporter)
        else:
            found = verify_lock(
                lock_path, kept.specs, cache_dir=settings.cache_dir, full=full, reporter=reporter
            )
    saying.show(verify_document(found), chain.from_iterable(map(describe_findings, found)))
    raise_for(found)


def verify_document(found: Sequence[RepoFindings]) -> dict[str, Any]:
    """Return the JSON document of `verify --json`."""
    return {
        "is_right": not any(each.is_wrong for each in found),
        "is_complete": not any(each.is_incomplete for each in found),
        "repos": [
            {
                "repo_id": each.repo.spec.repo_id,
                "repo_type": each.repo.spec.repo_type.value,
                "files": each.files,
                "bytes_hashed": each.bytes_hashed,
                "bytes_unchanged": each.bytes_unchanged,
                "revisions": [
                    {"commit": snapshot.commit_hash, "state": snapshot.completeness.value}
                    for snapshot in each.repo.snapshots
                ],
                "findings": [
                    {
                        "trouble": finding.trouble.value,
                        "commit": finding.commit_hash,
                        "path": finding.path,
                        "reason": finding.reason,
                        "size": finding.size,
                    }
                    for finding in each.findings
                ],
            }
            for each in found
        ],
    }


def describe_findings(each: RepoFindings) -> Iterator[str]:
    """Yield the lines about one repo."""
    label = plain(each.repo.spec.label)
    revisions = count(len(each.repo.snapshots), "revision")
    verdict = "wrong" if each.is_wrong else "incomplete" if each.is_incomplete else "right"
    yield (
        f"{label}: {verdict}; {count(each.files, 'file')}, {revisions}, "
        f"{format_size(each.bytes_hashed)} read, {format_size(each.bytes_unchanged)} unchanged"
    )
    for finding in each.findings[:_MOST_FINDINGS]:
        commit = f" at {finding.commit_hash[:12]}" if finding.commit_hash else ""
        reason = f"{plain(finding.path)}{commit}: {plain(finding.reason)}"
        yield f"  {finding.trouble.value}: {reason}"
    if len(each.findings) > _MOST_FINDINGS:
        yield f"  and {len(each.findings) - _MOST_FINDINGS} more"
    for snapshot in each.unlisted:
        yield f"  no listing of {snapshot.commit_hash[:12]}: what it lacks can't be told"


def raise_for(found: Sequence[RepoFindings]) -> None:
    """Raise what the findings amount to."""
    wrong = _by_repo(found, Trouble.MISMATCHED)
    missing = _by_repo(found, Trouble.MISSING)
    error: HfariaError | None = None
    if wrong:
        error = WrongContent(f"{_total(wrong)} not what the listing says: {', '.join(wrong)}")
    elif missing:
        error = MissingContent(f"{_total(missing)} missing: {', '.join(missing)}")
    if error is not None:
        raise error


def _by_repo(found: Sequence[RepoFindings], trouble: Trouble) -> dict[str, int]:
    counts = {each.repo.spec.label: len(each.of(trouble)) for each in found}
    return {f"`{label}`": number for label, number in counts.items() if number}


def _total(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    return f"{count(total, 'file')} {'is' if total == 1 else 'are'}"
