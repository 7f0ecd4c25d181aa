"""`hfaria outdated`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.option_groups import (
    Asking,
    Kept,
    Saying,
    asking_options,
    kept_options,
    saying_options,
)
from hfaria.cli.render import EXIT_CODES, plain, print_document
from hfaria.errors import EndpointUnreachable
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hfaria.workflows.outdated import Comparison


@click.command("outdated", epilog=EXIT_CODES)
@kept_options
@asking_options
@saying_options
def outdated_command(
    *,
    kept: Kept,
    asking: Asking,
    saying: Saying,
) -> None:
    """Compare cached branches and tags with upstream; those of all repos if none is named."""
    settings = load_settings(asking.overrides(kept.cache_dir))
    if settings.is_offline:
        raise EndpointUnreachable(
            "offline: upstream can't be asked", hint="unset HF_HUB_OFFLINE to compare"
        )
    from hfaria.workflows.outdated import compare  # noqa: PLC0415 - brings the HTTP client along

    with saying.reporting(settings) as reporter:
        found = compare(
            kept.specs, settings=settings, reporter=reporter, token=asking.secret(reporter)
        )
    if saying.as_json:
        print_document(outdated_document(found))
    elif saying.quiet:
        for each in found:
            if each.is_outdated:
                click.echo(f"{plain(each.spec.label)} {plain(each.spec.revision)}")
    else:
        for line in _table(found):
            click.echo(line)
    unknown = [each.error for each in found if each.error is not None and not each.is_gone]
    if unknown:
        raise unknown[0]


def outdated_document(found: Sequence[Comparison]) -> dict[str, Any]:
    """Return the JSON document of `outdated --json`."""
    return {
        "is_outdated": any(each.is_outdated for each in found),
        "refs": [
            {
                "repo_id": each.spec.repo_id,
                "repo_type": each.spec.repo_type.value,
                "ref": each.spec.revision,
                "cached": each.ours,
                "upstream": each.theirs,
                "is_outdated": each.is_outdated,
                "endpoint": each.endpoint,
                "error": None if each.error is None else each.error.message,
            }
            for each in found
        ],
    }


def _table(found: Sequence[Comparison]) -> Iterator[str]:
    if not found:
        yield "no refs to compare"
        return
    labels = [f"{plain(each.spec.label)} {plain(each.spec.revision)}" for each in found]
    width = max(map(len, labels))
    for label, each in zip(labels, found, strict=True):
        yield f"{label:<{width}}  {each.ours[:12]}  {_state(each)}"


def _state(each: Comparison) -> str:
    if each.error is not None:
        return f"{'gone' if each.is_gone else 'unknown'}: {plain(each.error.message)}"
    if each.is_outdated and each.theirs is not None:
        return f"outdated: {each.theirs[:12]} at {each.endpoint}"
    return "up to date"
