"""`hfaria bundle repair`, `ack` and `abort`: what follows after a bundle was made."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hfaria.cli.bundle_render import created_document, print_created
from hfaria.cli.option_groups import (
    Asking,
    Saying,
    asking_options,
    bundle_cache_option,
    saying_options,
)
from hfaria.cli.options import debug_option
from hfaria.cli.render import EXIT_CODES, print_document
from hfaria.rules.sizes import format_size
from hfaria.settings import Overrides, load_settings


@click.command("repair", epilog=EXIT_CODES)
@click.argument("needs", metavar="NEEDS.json", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "place",
    metavar="PATH",
    required=True,
    type=click.Path(path_type=Path),
    help="Where the stick is mounted.",
)
@click.option("--no-readback", is_flag=True, help="Don't compare what the stick gives back.")
@bundle_cache_option
@asking_options
@saying_options
def repair_command(
    *,
    needs: Path,
    place: Path,
    no_readback: bool,
    cache_dir: Path | None,
    asking: Asking,
    saying: Saying,
) -> None:
    """Put only those pieces onto a stick that an import asks for.

    NEEDS.json is the file that the import wrote. The stick is of the same set, and imported the
    same way.
    """
    settings = load_settings(asking.overrides(cache_dir))
    from hfaria.workflows import bundle_repair as workflow  # noqa: PLC0415 - slow

    reporter = saying.reporter(settings)
    request = workflow.RepairRequest(
        needs.expanduser(),
        place.expanduser(),
        read_back=not no_readback,
        token=asking.secret(reporter),
    )
    try:
        created = workflow.repair(request, settings=settings, reporter=reporter)
    finally:
        reporter.close()
    if saying.as_json:
        print_document(created_document(created))
    else:
        print_created(created, is_quiet=saying.quiet)


@click.command("ack", epilog=EXIT_CODES)
@click.argument("code", metavar="CODE")
@debug_option
def ack_command(*, code: str, debug: bool) -> None:  # noqa: ARG001 - read before parsing
    """Note that a set arrived, by the receipt that its import printed (HFR1-...)."""
    settings = load_settings(Overrides())
    from hfaria.workflows import bundle_repair as workflow  # noqa: PLC0415 - slow

    set_id = workflow.acknowledge(code, settings=settings)
    sys.stderr.write(f"set {set_id[:8]} arrived; `--base set:{set_id[:8]}` sends what is new\n")


@click.command("abort", epilog=EXIT_CODES)
@click.argument("set_id", metavar="SET")
@click.option(
    "--to",
    "places",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A stick whose unfinished folder of this set is removed; repeatable.",
)
@click.option(
    "--cache",
    "--cache-dir",
    "cache_dir",
    type=click.Path(path_type=Path),
    help="A cache that gets rid of what imports of this set have staged in it.",
)
@debug_option
def abort_command(
    *,
    set_id: str,
    places: tuple[Path, ...],
    cache_dir: Path | None,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Give up on an unfinished set: forget its plan, and remove what it wrote to sticks.

    SET is the id, 8 digits of it at least. Finished sticks stay, and so do files that the set did
    not write. With --cache, the partials of an import go; --to names a stick of a set that was not
    made on this machine.
    """
    settings = load_settings(Overrides())
    from hfaria.workflows import bundle_repair as workflow  # noqa: PLC0415 - slow

    aborted = workflow.abort(
        set_id,
        [place.expanduser() for place in places],
        cache_dir=None if cache_dir is None else cache_dir.expanduser(),
        settings=settings,
    )
    for bag in aborted.bags:
        sys.stderr.write(f"removed {bag}\n")
    for bag in aborted.kept:
        sys.stderr.write(f"kept {bag}: it is finished, or holds files of others\n")
    if cache_dir is not None:
        sys.stderr.write(f"dropped {format_size(aborted.freed)} of partials from {cache_dir}\n")
    plan = "its plan is forgotten" if aborted.had_plan else "it had no plan here"
    sys.stderr.write(f"set {aborted.set_id[:8]}: {plan}\n")
