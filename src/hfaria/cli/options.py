"""Options that commands about endpoints share, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from hfaria.errors import UsageError
from hfaria.redact import Secret
from hfaria.rules.spec import RepoType, parse_reference
from hfaria.settings import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hfaria.rules.spec import RepoSpec

_F = TypeVar("_F", bound="Callable[..., object]")

DEFAULT_REPO = "sentence-transformers/all-MiniLM-L6-v2"
"""Asked for unless another is named: public, 90 MB at most a file, and on most mirrors."""

TOKEN_WARNING = "a token on the command line is visible to other users; prefer HF_TOKEN"  # noqa: S105

repo_type_option = click.option(
    "--repo-type",
    "--type",
    type=click.Choice([kind.value for kind in RepoType]),
    help="Kind of repo.  [default: model]",
)
revision_option = click.option("--revision", help="Branch, tag, PR ref or commit.  [default: main]")
origin_option = click.option(
    "--origin/--no-origin",
    "use_origin",
    default=None,
    help="Ask the origin after all others.  [default: yes]",
)
trust_option = click.option(
    "--trust-endpoint",
    "trusted_endpoints",
    multiple=True,
    metavar="URL",
    help="An endpoint besides the origin that may see the token; repeatable.",
)
token_option = click.option(
    "--token", help="Token; visible to other users of this machine: prefer HF_TOKEN."
)
token_file_option = click.option(
    "--token-file", type=click.Path(path_type=Path), help="File that holds the token."
)
include_option = click.option(
    "--include", multiple=True, metavar="GLOB", help="Only files that match; repeatable."
)
exclude_option = click.option(
    "--exclude", multiple=True, metavar="GLOB", help="No files that match; repeatable."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
)
debug_option = click.option("--debug", is_flag=True, help="Show tracebacks.")


def endpoint_option(text: str) -> Callable[[_F], _F]:
    """Return the repeatable `--endpoint`, with ``text`` as its help."""
    return click.option("--endpoint", "endpoints", multiple=True, metavar="URL", help=text)


def decorate(command: _F, options: Sequence[Callable[[_F], _F]]) -> _F:
    """Add options in the order in which the help lists them."""
    for option in reversed(options):
        command = option(command)
    return command


def read_reference(reference: str, repo_type: str | None, revision: str | None) -> RepoSpec:
    """Read a reference to a whole repo; raises `UsageError` for one to a file."""
    kind = None if repo_type is None else RepoType(repo_type)
    spec, names = parse_reference(reference, repo_type=kind, revision=revision)
    if names:
        raise UsageError(f"`{reference}` names a file; name the repo alone")
    return spec


def check_one_token(token: str | None, token_file: Path | None) -> None:
    """Raise `UsageError` if a token is given in two ways."""
    if token is not None and token_file is not None:
        raise UsageError("`--token` and `--token-file` can't be used together")


def read_token(token: str | None, token_file: Path | None) -> Secret | None:
    """Return the token that was given, if one was."""
    check_one_token(token, token_file)
    if token_file is not None:
        return read_secret(token_file, what="the token")
    return None if token is None else Secret(token)
