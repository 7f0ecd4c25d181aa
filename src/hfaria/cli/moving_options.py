"""Options of the commands that move bytes."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.options import decorate
from hfaria.settings import DEFAULT_CONNECTIONS, DEFAULT_JOBS, DEFAULT_RESERVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfaria.settings import Overrides

    Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Moving:
    """How bytes are moved; None says nothing."""

    connections: int | None = None
    jobs: int | None = None
    reserve: str | None = None
    limit_rate: str | None = None
    rpc_url: str | None = None
    rpc_secret_file: Path | None = None

    def add_to(self, overrides: Overrides) -> Overrides:
        """Return what else is said about settings, with this."""
        return replace(
            overrides,
            connections=self.connections,
            jobs=self.jobs,
            reserve=self.reserve,
            limit_rate=self.limit_rate,
            rpc_url=self.rpc_url,
            rpc_secret_file=self.rpc_secret_file,
        )


_MOVING = (
    click.option(
        "-x",
        "--connections",
        type=int,
        metavar="N",
        help=f"Connections per large file, 1-16.  [default: {DEFAULT_CONNECTIONS}]",
    ),
    click.option(
        "-j",
        "--jobs",
        type=int,
        metavar="N",
        help=f"Large files at once, with 16 small ones beside each.  [default: {DEFAULT_JOBS}]",
    ),
    click.option(
        "--reserve",
        metavar="SIZE",
        help=f"Disk space to leave free.  [default: {DEFAULT_RESERVE}]",
    ),
    click.option(
        "--limit-rate",
        metavar="RATE",
        help="Bytes a second at most, such as 2M, or by the time of day: 2M@08:00-19:00.",
    ),
    click.option("--rpc-url", metavar="URL", help="Use a running aria2 daemon on this machine."),
    click.option(
        "--rpc-secret-file",
        type=click.Path(path_type=Path),
        help="File that holds its secret; else HFARIA_RPC_SECRET.",
    ),
)


def moving_options(command: Command) -> Command:
    """Add the options about transfers; they arrive as ``moving``."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:  # noqa: ANN401 - click's own parameters
        names = Moving.__dataclass_fields__
        moving = Moving(**{name: given.pop(name) for name in names})
        return command(moving=moving, **given)

    return decorate(wrapped, _MOVING)
