"""`hfaria bundle` and its commands."""

from __future__ import annotations

import click

from hfaria.cli.bundle_create import create_command
from hfaria.cli.bundle_repair import abort_command, ack_command, repair_command
from hfaria.cli.render import EXIT_CODES


@click.group("bundle", epilog=EXIT_CODES)
def bundle_group() -> None:
    """Carry a cache on sticks to a machine without network."""


for command in (create_command, repair_command, ack_command, abort_command):
    bundle_group.add_command(command)
