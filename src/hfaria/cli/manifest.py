"""`hfaria add` and `hfaria remove`: edit the manifest, and keep what its author wrote."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hfaria.cli.manifest_options import manifest_option
from hfaria.cli.options import (
    debug_option,
    endpoint_option,
    exclude_option,
    include_option,
    repo_type_option,
    revision_option,
)
from hfaria.cli.render import EXIT_CODES
from hfaria.errors import UsageError
from hfaria.rules.manifest import title_of
from hfaria.rules.spec import DEFAULT_REVISION, RepoType, parse_reference

if TYPE_CHECKING:
    from pathlib import Path


@click.command("add", epilog=EXIT_CODES)
@click.argument("reference", metavar="REPO_ID")
@repo_type_option
@revision_option
@include_option
@exclude_option
@click.option("--variant", metavar="NAME", help="One variant, with all it needs.")
@click.option(
    "--priority", type=int, metavar="N", help="The higher, the sooner it is fetched.  [default: 0]"
)
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group; repeatable.")
@endpoint_option("Hub or mirror for this repo, or a short name; repeatable, in order.")
@manifest_option
@debug_option
def add_command(
    *,
    reference: str,
    repo_type: str | None,
    revision: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    variant: str | None,
    priority: int | None,
    groups: tuple[str, ...],
    endpoints: tuple[str, ...],
    manifest: Path,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Add a repo to the manifest, or change the one that is there.

    Makes the manifest if there is none. Nobody is asked: `hfaria lock` and `hfaria preload` find
    out whether the repo exists.
    """
    spec, names = parse_reference(
        reference, repo_type=None if repo_type is None else RepoType(repo_type), revision=revision
    )
    if names:
        raise UsageError(
            f"`{reference}` names a file", hint=f"name the repo, and `--include '{names[0]}'`"
        )
    says_revision = revision is not None or spec.revision != DEFAULT_REVISION
    from hfaria.project.manifest_edit import RepoEdit, add_repo  # noqa: PLC0415 - brings tomlkit

    edited = add_repo(
        manifest,
        RepoEdit(
            repo_id=spec.repo_id,
            repo_type=spec.repo_type,
            revision=spec.revision if says_revision else None,
            include=include or None,
            exclude=exclude or None,
            variant=variant,
            priority=priority,
            groups=groups or None,
            endpoints=endpoints or None,
        ),
    )
    what = "added" if edited.is_new else "changed" if edited.is_changed else "is there already"
    sys.stderr.write(f"{manifest}:{edited.line}: {title_of(edited.spec)} {what}\n")


@click.command("remove", epilog=EXIT_CODES)
@click.argument("name", metavar="REPO_ID")
@manifest_option
@debug_option
def remove_command(
    *,
    name: str,
    manifest: Path,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Remove a repo from the manifest and from its lock; what is in the cache stays.

    REPO_ID may end in `@REVISION`; without, all revisions go.
    """
    from hfaria.workflows.manifest import remove  # noqa: PLC0415 - brings tomlkit

    for repo in remove(manifest, name):
        sys.stderr.write(f"{manifest}: {title_of(repo.spec)} removed\n")
