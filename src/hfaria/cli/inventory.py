"""`hfaria inventory`."""

from __future__ import annotations

from pathlib import Path

import click

from hfaria.cli.options import debug_option
from hfaria.cli.render import EXIT_CODES
from hfaria.settings import Overrides, load_settings
from hfaria.workflows import sticks as workflow


@click.command("inventory", epilog=EXIT_CODES)
@click.option(
    "--cache",
    "--cache-dir",
    "--dest",
    "cache_dir",
    type=click.Path(path_type=Path),
    help="Hugging Face cache to look at.  [default: HF_HUB_CACHE]",
)
@click.option("--hashes-only", is_flag=True, help="Leave out all names: hashes and sizes alone.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write.",
)
@debug_option
def inventory_command(
    *,
    cache_dir: Path | None,
    hashes_only: bool,
    output: Path,
    debug: bool,  # noqa: ARG001 - read before parsing
) -> None:
    """Write down what a cache has, so that the next bundle brings only what it lacks."""
    settings = load_settings(Overrides(cache_dir=cache_dir))
    workflow.write_inventory(output, cache_dir=settings.cache_dir, hashes_only=hashes_only)
