"""`hfaria repair`."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.kept import describe_findings, raise_for
from hfaria.cli.option_groups import (
    Asking,
    Kept,
    Saying,
    asking_options,
    kept_options,
    saying_options,
)
from hfaria.cli.render import EXIT_CODES, plain
from hfaria.rules.sizes import count, format_size
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hfaria.rules.repairs import Repair


@click.command("repair", epilog=EXIT_CODES)
@kept_options
@click.option("--full", is_flag=True, help="Read unchanged files, too, when looking for trouble.")
@asking_options
@saying_options
def repair_command(
    *,
    kept: Kept,
    full: bool,
    asking: Asking,
    saying: Saying,
) -> None:
    """Verify repos, all if none is named, and fetch what is wrong or missing.

    Of a large file whose bytes are wrong, only the wrong part is fetched. Rerun to resume.
    """
    settings = load_settings(asking.overrides(kept.cache_dir))
    from hfaria.workflows.repair import repair  # noqa: PLC0415 - brings the HTTP client along

    with saying.reporting(settings) as reporter:
        done = repair(
            kept.specs,
            settings=settings,
            reporter=reporter,
            token=asking.secret(reporter),
            full=full,
        )
    saying.show(repair_document(done), chain.from_iterable(map(_describe, done)))
    raise_for([each.after for each in done if each.after is not None])


def repair_document(done: Sequence[Repair]) -> dict[str, Any]:
    """Return the JSON document of `repair --json`."""
    return {
        "is_right": not any(each.after and each.after.is_wrong for each in done),
        "is_complete": not any(each.after and each.after.is_incomplete for each in done),
        "bytes_fetched": sum(each.bytes_fetched for each in done),
        "repos": [
            {
                "repo_id": each.repo.spec.repo_id,
                "repo_type": each.repo.spec.repo_type.value,
                "files_fetched": each.files_fetched,
                "bytes_fetched": each.bytes_fetched,
                "mended": [
                    {
                        "path": mended.path,
                        "ranges": [list(pair) for pair in mended.ranges],
                        "bytes_fetched": mended.bytes_fetched,
                        "source": mended.source,
                    }
                    for mended in each.mended
                ],
                "failed": [{"path": file.path, "reason": file.reason} for file in each.failed],
                "unasked": each.unasked,
            }
            for each in done
        ],
    }


def _describe(each: Repair) -> Iterator[str]:
    label = plain(each.repo.spec.label)
    if each.after is None:
        yield f"{label}: right"
        return
    parts = []
    if each.mended:
        parts.append(f"{count(len(each.mended), 'file')} mended")
    if each.files_fetched:
        parts.append(f"{count(each.files_fetched, 'file')} fetched")
    what = ", ".join(parts) or "nothing done"
    yield f"{label}: {what}, {format_size(each.bytes_fetched)} over the network"
    if each.after.is_wrong or each.after.is_incomplete:
        yield from describe_findings(each.after)
    if each.unasked:
        files = count(each.unasked, "file")
        yield f"  {files} may never have been asked for: `hfaria pull {label}` fetches all"
