"""`hfaria bundle create`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hfaria.cli.bundle_render import (
    created_document,
    draft_document,
    draft_lines,
    print_created,
)
from hfaria.cli.option_groups import (
    Asking,
    Saying,
    asking_options,
    bundle_cache_option,
    saying_options,
)
from hfaria.cli.options import exclude_option, include_option
from hfaria.cli.render import EXIT_CODES, print_document
from hfaria.errors import UsageError
from hfaria.rules.bundle_plan import InPlace
from hfaria.rules.manifest import LOCK_NAME, MANIFEST_NAME
from hfaria.rules.selection import Selection
from hfaria.rules.sizes import parse_size
from hfaria.rules.spec import RepoSpec, parse_pinned
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hfaria.report.reporter import Reporter
    from hfaria.workflows.bundle_request import StickWanted

    Command = Callable[..., object]


def _project_file(flag: str, usual: str, text: str) -> Callable[[Command], Command]:
    """Return an option that may stand alone, and then means the file of the usual name."""
    return click.option(
        flag,
        is_flag=False,
        flag_value=usual,
        metavar="[FILE]",
        type=click.Path(path_type=Path),
        help=text,
    )


@click.command("create", epilog=EXIT_CODES)
@click.argument("repos", nargs=-1, metavar="[REPO[@REVISION]]...")
@click.option(
    "--from-file",
    "lists",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File with a repo on each line, as REPO; repeatable.",
)
@_project_file(
    "--manifest",
    MANIFEST_NAME,
    f"The repos of a manifest, {MANIFEST_NAME} unless it is named, each with its own files.",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME",
    help="Only the manifest's repos in it; repeatable.",
)
@_project_file("--lock", LOCK_NAME, f"Exactly what a lock holds, {LOCK_NAME} unless it is named.")
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
@include_option
@exclude_option
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
@bundle_cache_option
@asking_options
@saying_options
def create_command(
    *,
    repos: tuple[str, ...],
    lists: tuple[Path, ...],
    manifest: Path | None,
    groups: tuple[str, ...],
    lock: Path | None,
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
    asking: Asking,
    saying: Saying,
) -> None:
    """Put repos onto sticks, for a machine without network; rerun to resume.

    REPO is `namespace/name`, with `datasets/` or another type before it where it is no model, or
    an `hf://` reference. --manifest and --lock name the repos of a project, each with its own
    files. What the cache lacks is pulled first.
    """
    specs = _specs(repos, lists)
    _check_what(specs, manifest=manifest, groups=groups, lock=lock, filters=(*include, *exclude))
    if not places and not (plan_only and sticks):
        raise UsageError(
            "no place to write to is named",
            hint="`--to` says where a stick is mounted; `--plan-only --stick 64G` needs none",
        )
    settings = load_settings(asking.overrides(cache_dir))
    from hfaria.bundle.importer.format import PIECE_SIZE  # noqa: PLC0415 - slow, as the next
    from hfaria.workflows import bundle_create as workflow  # noqa: PLC0415
    from hfaria.workflows.bundle_draft import refusal  # noqa: PLC0415
    from hfaria.workflows.bundle_request import BundleRequest  # noqa: PLC0415

    reporter = saying.reporter(settings)
    request = BundleRequest(
        specs,
        tuple(place.expanduser() for place in places),
        stick_sizes=tuple(parse_size(text, named_by="--stick") for text in sticks),
        selection=Selection(include=include, exclude=exclude),
        manifest=None if manifest is None else manifest.expanduser(),
        lock=None if lock is None else lock.expanduser(),
        groups=groups,
        keeps_endpoints=bool(asking.endpoints),
        base=base,
        in_place=InPlace(in_place),
        part_size=None if part_size is None else _part_size(part_size, PIECE_SIZE),
        ssh_key=ssh_key,
        minisign_key=minisign_key,
        read_back=not no_readback,
        recheck=recheck,
        token=asking.secret(reporter),
    )
    can_ask = not (saying.as_json or saying.quiet) and _is_at_terminal()
    try:
        if plan_only:
            draft = workflow.plan_only(request, settings=settings, reporter=reporter)
            reporter.close()
            if saying.as_json:
                print_document(draft_document(draft))
            else:
                click.echo("\n".join(draft_lines(draft, will_ask=can_ask)))
            if draft.problems:
                raise refusal(draft.problems)
            return
        created = workflow.create(
            request,
            settings=settings,
            reporter=reporter,
            on_plan=lambda draft: reporter.note("\n".join(draft_lines(draft, will_ask=can_ask))),
            next_stick=partial(_ask_for, reporter) if can_ask else None,
        )
    finally:
        reporter.close()
    if saying.as_json:
        print_document(created_document(created))
    else:
        print_created(created, is_quiet=saying.quiet)
    workflow.require_all(created)


def _is_at_terminal() -> bool:
    """Tell whether somebody can be asked: what asks and what answers are a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _ask_for(reporter: Reporter, wanted: StickWanted) -> Path | None:
    """Ask where the next stick is mounted; None for no answer."""
    reporter.close()
    if wanted.trouble is not None:
        sys.stderr.write(f"{wanted.trouble}\n")
    what = "it was begun" if wanted.is_begun else wanted.size
    sys.stderr.write(
        f"Insert stick {wanted.number} ({what}) and name its folder, or press Enter to stop: "
    )
    sys.stderr.flush()
    # A folder that is dragged into a terminal comes in quotes.
    answer = sys.stdin.readline().strip().strip("'\"")
    return Path(answer).expanduser() if answer else None


def _check_what(
    specs: Sequence[RepoSpec],
    *,
    manifest: Path | None,
    groups: Sequence[str],
    lock: Path | None,
    filters: Sequence[str],
) -> None:
    """Raise `UsageError` unless it is said, and in one way only, what is to be carried."""
    if manifest is not None and lock is not None:
        raise UsageError(
            "`--manifest` and `--lock` can't be used together",
            hint="`--manifest` takes what is locked beside it at the locked commits; `--lock` "
            "takes nothing else",
        )
    if groups and manifest is None:
        raise UsageError("`--group` makes sense with `--manifest` alone")
    if specs:
        return
    if manifest is None and lock is None:
        raise UsageError(
            "no repo is named",
            hint="name some, or give a list with `--from-file`, `--manifest` or `--lock`",
        )
    if filters:
        raise UsageError(
            "`--include` and `--exclude` are about the repos that are named, and none is",
            hint="a manifest says for each repo which of its files are wanted",
        )


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
