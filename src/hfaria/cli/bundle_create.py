"""`hfaria bundle create`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hfaria.cli.bundle_render import (
    created_document,
    draft_document,
    draft_lines,
    print_created,
)
from hfaria.cli.render import EXIT_CODES, print_document
from hfaria.errors import UsageError
from hfaria.report.reporter import make_reporter
from hfaria.rules.bundle_plan import InPlace
from hfaria.rules.selection import Selection
from hfaria.rules.sizes import parse_size
from hfaria.rules.spec import RepoSpec, parse_pinned
from hfaria.settings import Overrides, load_settings, read_secret


@click.command("create", epilog=EXIT_CODES)
@click.argument("repos", nargs=-1, metavar="[REPO[@REVISION]]...")
@click.option(
    "--from-file",
    "lists",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File with a repo on each line, as REPO; repeatable.",
)
@click.option(
    "--to",
    "places",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Where a stick is mounted; repeatable.",
)
@click.option(
    "--stick",
    "sticks",
    multiple=True,
    metavar="SIZE",
    help="A further stick that is not at hand yet, such as 64G; repeatable.",
)
@click.option("--plan-only", is_flag=True, help="Show the plan, and stop.")
@click.option(
    "--base",
    metavar="WHAT",
    help="What the target has: an inventory's file, set:ID, or none.  [default: none]",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only files that match; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No files that match; repeatable.")
@click.option(
    "--in-place",
    type=click.Choice([mode.value for mode in InPlace]),
    default=InPlace.AUTO.value,
    show_default=True,
    help="Which revisions can be loaded from the stick itself.",
)
@click.option("--part-size", metavar="SIZE", help="Cut files into parts of at most this size.")
@click.option(
    "--sign-ssh",
    "ssh_key",
    metavar="KEY",
    type=click.Path(path_type=Path),
    help="Sign with this SSH key.",
)
@click.option(
    "--sign-minisign",
    "minisign_key",
    metavar="KEY",
    type=click.Path(path_type=Path),
    help="Sign with this minisign key.",
)
@click.option("--no-readback", is_flag=True, help="Don't compare what the stick gives back.")
@click.option("--recheck", is_flag=True, help="Hash anew what an interrupted run wrote.")
@click.option(
    "--cache",
    "--cache-dir",
    "cache_dir",
    type=click.Path(path_type=Path),
    help="Hugging Face cache to take from, and to pull into.  [default: HF_HUB_CACHE]",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    help="Hub or mirror to ask; repeatable, in order.  [default: HF_ENDPOINT]",
)
@click.option("--token-file", type=click.Path(path_type=Path), help="File that holds the token.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print the folders on the sticks alone.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def create_command(
    *,
    repos: tuple[str, ...],
    lists: tuple[Path, ...],
    places: tuple[Path, ...],
    sticks: tuple[str, ...],
    plan_only: bool,
    base: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    in_place: str,
    part_size: str | None,
    ssh_key: Path | None,
    minisign_key: Path | None,
    no_readback: bool,
    recheck: bool,
    cache_dir: Path | None,
    endpoints: tuple[str, ...],
    token_file: Path | None,
    as_json: bool,
    quiet: bool,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Put repos onto sticks, for a machine without network; rerun to resume.

    REPO is `namespace/name`, with `datasets/` or another type before it where it is no model, or
    an `hf://` reference. What the cache lacks is pulled first.
    """
    if as_json and quiet:
        raise UsageError("`--json` and `-q` can't be used together")
    specs = _specs(repos, lists)
    if not specs:
        raise UsageError("no repo is named", hint="name some, or give a list with `--from-file`")
    if not places and not (plan_only and sticks):
        raise UsageError(
            "no place to write to is named",
            hint="`--to` says where a stick is mounted; `--plan-only --stick 64G` needs none",
        )
    settings = load_settings(Overrides(cache_dir=cache_dir, endpoints=endpoints))
    from hfaria.bundle.importer.format import PIECE_SIZE  # noqa: PLC0415 - slow, as the next
    from hfaria.workflows import bundle_create as workflow  # noqa: PLC0415

    request = workflow.BundleRequest(
        specs,
        tuple(place.expanduser() for place in places),
        stick_sizes=tuple(parse_size(text, named_by="--stick") for text in sticks),
        selection=Selection(include=include, exclude=exclude),
        base=base,
        in_place=InPlace(in_place),
        part_size=None if part_size is None else _part_size(part_size, PIECE_SIZE),
        ssh_key=ssh_key,
        minisign_key=minisign_key,
        read_back=not no_readback,
        recheck=recheck,
        token=None if token_file is None else read_secret(token_file, what="the token"),
    )
    reporter = make_reporter(sys.stderr, is_quiet=quiet, show_progress=settings.show_progress)
    try:
        if plan_only:
            draft = workflow.plan_only(request, settings=settings, reporter=reporter)
            reporter.close()
            if as_json:
                print_document(draft_document(draft))
            else:
                click.echo("\n".join(draft_lines(draft)))
            if draft.problems:
                raise workflow.refusal(draft.problems)
            return
        created = workflow.create(
            request,
            settings=settings,
            reporter=reporter,
            on_plan=lambda draft: reporter.note("\n".join(draft_lines(draft))),
        )
    finally:
        reporter.close()
    if as_json:
        print_document(created_document(created))
    else:
        print_created(created, is_quiet=quiet)
    workflow.require_all(created)


def _specs(repos: tuple[str, ...], lists: tuple[Path, ...]) -> tuple[RepoSpec, ...]:
    texts = list(repos)
    for path in lists:
        try:
            lines = path.expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
            raise UsageError(f"the list `{path}` can't be read: {reason}") from exc
        texts += [text for line in lines if (text := line.partition("#")[0].strip())]
    return tuple(dict.fromkeys(parse_pinned(text) for text in texts))


def _part_size(text: str, piece: int) -> int:
    size = parse_size(text, named_by="--part-size") // piece * piece
    if size == 0:
        raise UsageError(f"`--part-size {text}` is less than a piece, which has 16 MiB")
    return size
