"""Groups of options that several commands share, each handed over as one value."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.options import (
    TOKEN_WARNING,
    check_one_token,
    debug_option,
    decorate,
    endpoint_option,
    json_option,
    origin_option,
    read_reference,
    read_token,
    repo_type_option,
    token_file_option,
    token_option,
    trust_option,
)
from hfaria.cli.render import print_document
from hfaria.errors import UsageError
from hfaria.report.reporter import Reporter, make_reporter
from hfaria.rules.staleness import Stale
from hfaria.settings import DEFAULT_PATIENCE_SECONDS, Overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hfaria.redact import Secret
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings

    Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom to ask, and with which token."""

    endpoints: tuple[str, ...] = ()
    use_origin: bool | None = None
    stale: str | None = None
    trusted_endpoints: tuple[str, ...] = ()
    token: str | None = None
    token_file: Path | None = None
    patience: str | None = None

    def overrides(self, cache_dir: Path | None = None) -> Overrides:
        """Return what it says about settings."""
        return Overrides(
            cache_dir=cache_dir,
            endpoints=self.endpoints,
            use_origin=self.use_origin,
            stale=self.stale,
            trusted_endpoints=self.trusted_endpoints,
            patience=self.patience,
        )

    def secret(self, reporter: Reporter) -> Secret | None:
        """Return the token that was given; warns about one that others can see."""
        secret = read_token(self.token, self.token_file)
        if self.token is not None:
            reporter.warn(TOKEN_WARNING)
        return secret


@dataclass(frozen=True, slots=True)
class Saying:
    """What to print."""

    as_json: bool = False
    quiet: bool = False

    def reporter(self, settings: Settings) -> Reporter:
        """Return who shows progress on stderr."""
        return make_reporter(sys.stderr, is_quiet=self.quiet, show_progress=settings.show_progress)

    @contextmanager
    def reporting(self, settings: Settings) -> Iterator[Reporter]:
        """Yield who shows progress on stderr, and leave the terminal as it should stay."""
        reporter = self.reporter(settings)
        try:
            yield reporter
        finally:
            reporter.close()

    def show(self, document: dict[str, Any], lines: Iterable[str]) -> None:
        """Print a result on stdout: as a document, as lines, or not at all."""
        if self.as_json:
            print_document(document)
        elif not self.quiet:
            for line in lines:
                click.echo(line)


@dataclass(frozen=True, slots=True)
class Kept:
    """Which repos of which cache; all of it if none is named."""

    references: tuple[str, ...] = ()
    repo_type: str | None = None
    cache_dir: Path | None = None

    @property
    def specs(self) -> list[RepoSpec]:
        """The repos that are named."""
        return [read_reference(reference, self.repo_type, None) for reference in self.references]


_ASKING = (
    endpoint_option(
        "Hub or mirror, or a short name; repeatable, in order.  [default: HF_ENDPOINT]"
    ),
    origin_option,
    click.option(
        "--stale",
        type=click.Choice([each.value for each in Stale]),
        help="When the first endpoint is behind: take its commit, the origin's, or fail."
        "  [default: say it and take the newest]",
    ),
    trust_option,
    token_option,
    token_file_option,
    click.option(
        "--patience",
        metavar="TIME",
        help="Give up after so long without any byte: 90s, 30m, 2h, forever."
        f"  [default: {DEFAULT_PATIENCE_SECONDS:.0f}]",
    ),
)
_PROBING = (
    endpoint_option(
        "Hub or mirror, or a short name; repeatable, in order.  [default: as for `pull`]"
    ),
    origin_option,
    trust_option,
    token_option,
    token_file_option,
)
_SAYING = (
    json_option,
    click.option("-q", "--quiet", is_flag=True, help="Print only what is asked for."),
    debug_option,
)

cache_option = click.option(
    "--dest",
    "--cache-dir",
    "cache_dir",
    type=click.Path(path_type=Path, file_okay=True),
    help="The Hugging Face cache.  [default: HF_HUB_CACHE]",
)
bundle_cache_option = click.option(
    "--cache",
    "--cache-dir",
    "cache_dir",
    type=click.Path(path_type=Path),
    help="Hugging Face cache to take from, and to pull into.  [default: HF_HUB_CACHE]",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do it; without, only show it.")


def asking_options(command: Command) -> Command:
    """Add the options that say whom to ask; they arrive as ``asking``."""
    return _asking(command, _ASKING)


def probing_options(command: Command) -> Command:
    """Add those options that mean something where nothing is pulled; they arrive as ``asking``."""
    return _asking(command, _PROBING)


def _asking(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:  # noqa: ANN401 - click's own parameters
        names = given.keys() & Asking.__dataclass_fields__.keys()
        asking = Asking(**{name: given.pop(name) for name in names})
        check_one_token(asking.token, asking.token_file)
        return command(asking=asking, **given)

    asking_command: Command = wrapped
    return decorate(asking_command, options)


def kept_options(command: Command) -> Command:
    """Add what says which repos of a cache are meant; it arrives as ``kept``."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:  # noqa: ANN401 - click's own parameters
        kept = Kept(**{name: given.pop(name) for name in Kept.__dataclass_fields__})
        return command(kept=kept, **given)

    references = click.argument("references", nargs=-1, metavar="[REPO_ID]...")
    return decorate(wrapped, (references, repo_type_option, cache_option))


def saying_options(command: Command) -> Command:
    """Add `--json`, `-q` and `--debug`; they arrive as ``saying``."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:  # noqa: ANN401 - click's own parameters
        given.pop("debug")  # read before parsing, so that it covers parsing too
        saying = Saying(given.pop("as_json"), given.pop("quiet"))
        if saying.as_json and saying.quiet:
            raise UsageError("`--json` and `-q` can't be used together")
        return command(saying=saying, **given)

    return decorate(wrapped, _SAYING)
