"""`hfaria bundle`: caches on sticks. What is done where the sticks arrive."""

from __future__ import annotations

from pathlib import Path

import click

from hfaria.bundle.importer.options import Options, check_day, parse_size
from hfaria.cli.options import debug_option, json_option
from hfaria.cli.render import EXIT_CODES, print_document
from hfaria.settings import Overrides, load_settings
from hfaria.workflows import sticks as workflow

_PATHS = click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
_TRUST = click.option(
    "--trust",
    multiple=True,
    metavar="KEY",
    help="A public key you vouch for (ssh-ed25519, minisign), or a file of them; repeatable.",
)
_REQUIRE_SIGNATURE = click.option(
    "--require-signature", is_flag=True, help="Refuse what is not signed by a trusted key."
)


@click.group("bundle", epilog=EXIT_CODES)
def bundle_group() -> None:
    """Carry a cache on sticks to a machine without network."""


@bundle_group.command("inspect", epilog=EXIT_CODES)
@_PATHS
@_TRUST
@click.option("--files", "with_files", is_flag=True, help="List every file.")
@json_option
@debug_option
def inspect_command(
    *,
    paths: tuple[Path, ...],
    trust: tuple[str, ...],
    with_files: bool,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read before parsing
) -> None:
    """Show what sticks hold, from which commits, and who signed it.

    PATH is a stick, or its folder hfb-...; name all sticks that are at hand. Only the bundle's
    documents are read.
    """
    document = workflow.inspect_sticks(paths, trust=trust, with_files=with_files, is_quiet=as_json)
    if as_json:
        print_document(document)


@bundle_group.command("verify", epilog=EXIT_CODES)
@_PATHS
@click.option("--quick", "is_quick", is_flag=True, help="Compare sizes, don't read contents.")
@_TRUST
@_REQUIRE_SIGNATURE
@click.option(
    "--needs", type=click.Path(path_type=Path), help="Write the bad pieces there, to be repaired."
)
@json_option
@debug_option
def verify_command(
    *,
    paths: tuple[Path, ...],
    is_quick: bool,
    trust: tuple[str, ...],
    require_signature: bool,
    needs: Path | None,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read before parsing
) -> None:
    """Read all that sticks hold and compare it with their lists."""
    document, error = workflow.verify_sticks(
        paths,
        trust=trust,
        require_signature=require_signature,
        is_quick=is_quick,
        needs=needs,
        is_quiet=as_json,
    )
    if as_json:
        print_document(document)
    if error is not None:
        raise error


@bundle_group.command("import", epilog=EXIT_CODES)
@_PATHS
@click.option(
    "--cache",
    "--cache-dir",
    "--dest",
    "cache_dir",
    type=click.Path(path_type=Path),
    help="Hugging Face cache to import into.  [default: HF_HUB_CACHE]",
)
@click.option("--repo", "repos", multiple=True, metavar="REPO", help="Only this repo; repeatable.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "copy", "move", "link"]),
    default="auto",
    help="`auto` shares blocks where it can; `move` frees the stick; `link` makes hard links.",
)
@click.option("--update-refs", is_flag=True, help="Let refs that name another commit move.")
@_TRUST
@_REQUIRE_SIGNATURE
@click.option("--safe-only", is_flag=True, help="Refuse pickles and programs.")
@click.option("--not-before", metavar="DATE", help="Refuse a bundle made before that day.")
@click.option("--rehash-existing", is_flag=True, help="Read again what the cache has already.")
@click.option(
    "--reserve", metavar="SIZE", help="Disk space to leave free.  [default: 1 GiB, or 1 %]"
)
@click.option("--partial", "is_partial", is_flag=True, help="Import from an unfinished stick.")
@click.option(
    "--needs",
    type=click.Path(path_type=Path),
    help="Write all that is missing there, as for a lost stick.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, copy nothing.")
@click.option("--load-check", is_flag=True, help="Then let huggingface_hub load it, offline.")
@json_option
@debug_option
def import_command(
    *,
    paths: tuple[Path, ...],
    cache_dir: Path | None,
    repos: tuple[str, ...],
    mode: str,
    update_refs: bool,
    trust: tuple[str, ...],
    require_signature: bool,
    safe_only: bool,
    not_before: str | None,
    rehash_existing: bool,
    reserve: str | None,
    is_partial: bool,
    needs: Path | None,
    dry_run: bool,
    load_check: bool,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read before parsing
) -> None:
    """Bring sticks into a cache, verified; run again to go on, or with the next stick.

    PATH is a stick, or its folder hfb-...; sticks of a set may come in any order, or several at
    once.
    """
    settings = load_settings(Overrides(cache_dir=cache_dir))
    with workflow.bundle_errors():
        options = Options(
            cache=str(settings.cache_dir),
            repos=repos,
            mode=mode,
            update_refs=update_refs,
            trust=trust,
            require_signature=require_signature,
            safe_only=safe_only,
            not_before=check_day(not_before),
            rehash=rehash_existing,
            reserve=None if reserve is None else parse_size(reserve),
            is_dry_run=dry_run,
            needs=None if needs is None else str(needs),
            allow_symlinks=settings.allow_symlinks,
        )
    document, error = workflow.import_sticks(
        paths,
        options,
        settings=settings,
        is_partial=is_partial,
        with_load_check=load_check,
        is_quiet=as_json,
    )
    if as_json:
        print_document(document)
    if error is not None:
        raise error
