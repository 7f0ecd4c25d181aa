"""`hfaria bundle` with all of its commands."""

from __future__ import annotations

from hfaria.cli.bundle import bundle_group
from hfaria.cli.bundle_create import create_command
from hfaria.cli.bundle_repair import abort_command, ack_command, repair_command

__all__ = ["bundle_group"]

for _command in (create_command, repair_command, ack_command, abort_command):
    bundle_group.add_command(_command)
