"""`hfaria clean`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.option_groups import (
    Kept,
    Saying,
    kept_options,
    saying_options,
    yes_option,
)
from hfaria.cli.render import EXIT_CODES, plain
from hfaria.rules.sizes import count, format_size
from hfaria.settings import Overrides, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hfaria.workflows.clean import Cleaning


@click.command("clean", epilog=EXIT_CODES)
@kept_options
@click.option("--keep-partials", is_flag=True, help="Leave what a pull would go on with.")
@yes_option
@saying_options
def clean_command(
    *,
    kept: Kept,
    keep_partials: bool,
    yes: bool,
    saying: Saying,
) -> None:
    """Show what no reader needs, and remove it with `--yes`.

    That is: blobs without entries, what runs that were cut left behind, and partial files of
    other tools. No revision is removed, with a ref or without.
    """
    settings = load_settings(Overrides(cache_dir=kept.cache_dir))
    from hfaria.workflows.clean import clean, find_leftovers  # noqa: PLC0415 - not for `--help`

    found = find_leftovers(kept.specs, cache_dir=settings.cache_dir, keep_partials=keep_partials)
    done = clean(found) if yes else found
    saying.show(clean_document(done, is_done=yes), _describe(done, is_done=yes))
    if found and not yes and not saying.quiet:
        sys.stderr.write("nothing was removed; `--yes` removes what is shown\n")


def clean_document(done: Sequence[Cleaning], *, is_done: bool) -> dict[str, Any]:
    """Return the JSON document of `clean --json`."""
    return {
        "is_done": is_done,
        "size": sum(each.size for each in done),
        "repos": [
            {
                "repo_id": each.repo.spec.repo_id,
                "repo_type": each.repo.spec.repo_type.value,
                "size": each.size,
                "busy": each.busy,
                "leftovers": [
                    {
                        "kind": leftover.kind.value,
                        "path": str(leftover.path),
                        "size": leftover.size,
                    }
                    for leftover in each.leftovers
                ],
            }
            for each in done
        ],
    }


def _describe(done: Sequence[Cleaning], *, is_done: bool) -> Iterator[str]:
    for each in done:
        yield f"{plain(each.repo.spec.label)}: {format_size(each.size)}"
        for leftover in each.leftovers:
            name = plain(str(leftover.path.relative_to(each.repo.folder)))
            yield f"  {format_size(leftover.size):>8}  {leftover.kind.value:<15}  {name}"
        if each.busy is not None:
            yield f"  left alone: {each.busy}"
    total = sum(each.size for each in done)
    number = count(sum(len(each.leftovers) for each in done), "file")
    if not done:
        yield "nothing is left over"
    elif is_done:
        yield f"removed {number}, {format_size(total)}"
    else:
        yield f"{number}, {format_size(total)} could go"
