"""`hfaria files`."""

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
from hfaria.cli.options import read_reference, repo_type_option, revision_option
from hfaria.cli.render import EXIT_CODES, plain, print_document
from hfaria.rules.sizes import count, format_size
from hfaria.rules.variants import Group, Role, Variants, group_files
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfaria.rules.spec import RepoSpec
    from hfaria.workflows.catalogue import Catalogue

_MOST_SHOWN = 6
"""Files of a group beside the weights that are named; `--all` names every one."""


@click.command("files", epilog=EXIT_CODES)
@click.argument("reference", metavar="REPO_ID")
@repo_type_option
@revision_option
@click.option("--all", "show_all", is_flag=True, help="Name every file.")
@cache_option
@asking_options
@saying_options
def files_command(
    *,
    reference: str,
    repo_type: str | None,
    revision: str | None,
    show_all: bool,
    cache_dir: Path | None,
    asking: Asking,
    saying: Saying,
) -> None:
    """Show a repo's files, sorted into variants.

    A variant is what `--variant` of `hfaria pull` takes: one quantisation, precision or
    framework, with all its shards. What every variant needs comes along with it.
    """
    spec = read_reference(reference, repo_type, revision)
    settings = load_settings(asking.overrides(cache_dir))
    # The workflow brings the HTTP client along: `--help` and usage errors come without it.
    from hfaria.workflows.access import list_repo  # noqa: PLC0415

    reporter = saying.reporter(settings)
    try:
        catalogue = list_repo(
            spec, settings=settings, reporter=reporter, token=asking.secret(reporter)
        )
    finally:
        reporter.close()
    variants = group_files(catalogue.listing.files)
    if saying.as_json:
        print_document(files_document(spec, catalogue, variants))
    elif saying.quiet:
        for group in variants.choices:
            click.echo(plain(group.name))
    else:
        click.echo("\n".join(_table(spec, catalogue, variants, show_all=show_all)))


def files_document(spec: RepoSpec, catalogue: Catalogue, variants: Variants) -> dict[str, Any]:
    """Return the groups as the JSON document of `--json`; docs/reference/json.md describes it."""
    return {
        "repo_id": spec.repo_id,
        "repo_type": spec.repo_type.value,
        "revision": spec.revision,
        "commit": catalogue.listing.commit_hash,
        "size": catalogue.listing.size,
        "groups": [
            {
                "name": group.name,
                "role": group.role.value,
                "framework": group.framework.value if group.framework else None,
                "precision": group.precision,
                "size": group.size,
                "size_with_all_it_needs": _whole_size(variants, group),
                "files": [
                    {"path": file.path, "size": file.size, "blob_name": file.blob_name}
                    for file in group.files
                ],
            }
            for group in variants.groups
        ],
    }


def _whole_size(variants: Variants, group: Group) -> int | None:
    if group.role is not Role.WEIGHTS:
        return None
    files = variants.needed_by(group)
    return sum({file.blob_name: file.size for file in files}.values())


def _table(
    spec: RepoSpec, catalogue: Catalogue, variants: Variants, *, show_all: bool
) -> Iterator[str]:
    listing = catalogue.listing
    yield f"{spec.label} at {spec.revision} is commit {listing.commit_hash}"
    hint = "" if show_all else "; `--all` names them"
    yield f"{count(len(listing.files), 'file')}, {format_size(listing.size)}{hint}"
    choices = variants.choices
    if choices:
        yield ""
        yield f"{count(len(choices), 'variant')}, with what each one needs:"
        width = max(len(group.name) for group in choices)
        for group in choices:
            whole = _whole_size(variants, group) or 0
            yield (
                f"  {plain(group.name):<{width}}  {format_size(whole):>8}  "
                f"{count(len(group.files), 'file')} of {group.framework.value}"  # type: ignore[union-attr]
            )
    for group in variants.groups:
        if group.role is Role.WEIGHTS and not show_all:
            continue
        yield ""
        yield f"{plain(group.name)}{_explanation(group)}: {format_size(group.size)}"
        shown = group.files if show_all else group.files[:_MOST_SHOWN]
        for file in shown:
            yield f"{format_size(file.size):>10}  {plain(file.path)}"
        if len(shown) < len(group.files):
            yield f"{'':>10}  and {len(group.files) - len(shown)} more"


def _explanation(group: Group) -> str:
    if group.role is Role.SHARED:
        return " (comes with them)" if group.part or group.name == "every variant" else ""
    return " (picked by `--include` only)" if group.role is Role.OTHER else ""
