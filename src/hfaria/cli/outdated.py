"""`hfaria outdated`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.option_groups import (
    Asking,
    Saying,
    asking_options,
    cache_option,
    saying_options,
)
from hfaria.cli.options import read_reference, repo_type_option
from hfaria.cli.render import EXIT_CODES, plain, print_document
from hfaria.errors import EndpointUnreachable
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hfaria.workflows.outdated import Comparison


@click.command("outdated", epilog=EXIT_CODES)
@click.argument("references", nargs=-1, metavar="[REPO_ID]...")
@repo_type_option
@cache_option
@asking_options
@saying_options
def outdated_command(
    *,
    references: tuple[str, ...],
    repo_type: str | None,
    cache_dir: Path | None,
    asking: Asking,
    saying: Saying,
) -> None:
    """Compare cached branches and tags with upstream; those of all repos if none is named."""
    specs = [read_reference(reference, repo_type, None) for reference in references]
    settings = load_settings(asking.overrides(cache_dir))
    if settings.is_offline:
        raise EndpointUnreachable(
            "offline: upstream can't be asked", hint="unset HF_HUB_OFFLINE to compare"
        )
    from hfaria.workflows.outdated import compare  # noqa: PLC0415 - brings the HTTP client along

    reporter = saying.reporter(settings)
    try:
        found = compare(specs, settings=settings, reporter=reporter, token=asking.secret(reporter))
    finally:
        reporter.close()
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
