"""How the commands about a manifest are told which one."""

from __future__ import annotations

from pathlib import Path

import click

from hfaria.rules.manifest import MANIFEST_NAME

manifest_argument = click.argument(
    "manifest",
    metavar="[FILE]",
    required=False,
    default=MANIFEST_NAME,
    type=click.Path(path_type=Path),
)
manifest_option = click.option(
    "--manifest",
    metavar="FILE",
    default=MANIFEST_NAME,
    type=click.Path(path_type=Path),
    help=f"The manifest.  [default: {MANIFEST_NAME}]",
)
