"""Options of the commands that ask for the repos of a manifest, handed over as one value."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.options import read_token
from hfaria.rules.manifest import MANIFEST_NAME
from hfaria.rules.staleness import Stale
from hfaria.settings import (
    DEFAULT_CONNECTIONS,
    DEFAULT_JOBS,
    DEFAULT_PATIENCE_SECONDS,
    DEFAULT_RESERVE,
    Overrides,
    load_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.settings import Settings

    Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Where the cache is, whom to ask, with which token, and how; None says nothing."""

    cache_dir: Path | None = None
    endpoints: tuple[str, ...] = ()
    use_origin: bool | None = None
    stale: str | None = None
    trusted_endpoints: tuple[str, ...] = ()
    token: str | None = None
    token_file: Path | None = None
    patience: str | None = None
    connections: int | None = None
    jobs: int | None = None
    reserve: str | None = None
    limit_rate: str | None = None
    rpc_url: str | None = None
    rpc_secret_file: Path | None = None

    def settings(self) -> Settings:
        """Combine them with environment, config file and defaults."""
        return load_settings(
            Overrides(
                cache_dir=self.cache_dir,
                endpoints=self.endpoints,
                use_origin=self.use_origin,
                stale=self.stale,
                trusted_endpoints=self.trusted_endpoints,
                patience=self.patience,
                connections=self.connections,
                jobs=self.jobs,
                reserve=self.reserve,
                limit_rate=self.limit_rate,
                rpc_url=self.rpc_url,
                rpc_secret_file=self.rpc_secret_file,
            )
        )

    def secret(self, reporter: Reporter) -> Secret | None:
        """Return the token that was given; warns about one that others can see."""
        secret = read_token(self.token, self.token_file)
        if self.token is not None:
            reporter.warn("a token on the command line is visible to other users; prefer HF_TOKEN")
        return secret


_ASKING = (
    click.option(
        "--dest",
        "--cache-dir",
        "cache_dir",
        type=click.Path(path_type=Path, file_okay=True),
        help="The Hugging Face cache.  [default: HF_HUB_CACHE]",
    ),
    click.option(
        "--endpoint",
        "endpoints",
        multiple=True,
        metavar="URL",
        help="Hub or mirror, or a short name; repeatable, in order.  [default: the manifest's]",
    ),
    click.option(
        "--origin/--no-origin",
        "use_origin",
        default=None,
        help="Ask the origin after all others.  [default: yes]",
    ),
    click.option(
        "--stale",
        type=click.Choice([each.value for each in Stale]),
        help="When the first endpoint is behind: take its commit, the origin's, or fail."
        "  [default: say it and take the newest]",
    ),
    click.option(
        "--trust-endpoint",
        "trusted_endpoints",
        multiple=True,
        metavar="URL",
        help="An endpoint besides the origin that may see the token; repeatable.",
    ),
    click.option("--token", help="Token; visible to other users of this machine: prefer HF_TOKEN."),
    click.option(
        "--token-file", type=click.Path(path_type=Path), help="File that holds the token."
    ),
    click.option(
        "--patience",
        metavar="TIME",
        help="Give up after so long without any byte: 90s, 30m, 2h, forever."
        f"  [default: {DEFAULT_PATIENCE_SECONDS:.0f}]",
    ),
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
debug_option = click.option("--debug", is_flag=True, help="Show tracebacks.")


def asking_options(command: Command) -> Command:
    """Add the options that say whom to ask; they arrive as ``options``."""
    return _with(command, _ASKING)


def moving_options(command: Command) -> Command:
    """Add those, and the ones about the transfers; they arrive as ``options``."""
    return _with(command, (*_ASKING, *_MOVING))


def _with(command: Command, decorators: tuple[Callable[[Command], Command], ...]) -> Command:
    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:  # noqa: ANN401 - click's own parameters
        names = SetOptions.__dataclass_fields__.keys() & given.keys()
        options = SetOptions(**{name: given.pop(name) for name in names})
        return command(options=options, **given)

    decorated: Command = wrapped
    for decorate in reversed(decorators):
        decorated = decorate(decorated)
    return decorated
