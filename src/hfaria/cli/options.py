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
    from collections.abc import Callable

    from hfaria.rules.spec import RepoSpec

_F = TypeVar("_F", bound="Callable[..., object]")

DEFAULT_REPO = "sentence-transformers/all-MiniLM-L6-v2"
"""Asked for unless another is named: public, 90 MB at most a file, and on most mirrors."""

_ENDPOINT_OPTIONS = (
    click.option(
        "--repo-type",
        "--type",
        type=click.Choice([kind.value for kind in RepoType]),
        help="Kind of repo.  [default: model]",
    ),
    click.option("--revision", help="Branch, tag, PR ref or commit.  [default: main]"),
    click.option(
        "--endpoint",
        "endpoints",
        multiple=True,
        metavar="URL",
        help="Hub or mirror, or a short name; repeatable, in order.  [default: as for `pull`]",
    ),
    click.option(
        "--origin/--no-origin",
        "use_origin",
        default=None,
        help="Ask the origin after all others.  [default: yes]",
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
)


def endpoint_options(command: _F) -> _F:
    """Add the options that say which repo is meant, whom to ask, and with which token."""
    for option in reversed(_ENDPOINT_OPTIONS):
        command = option(command)
    return command


def read_reference(reference: str, repo_type: str | None, revision: str | None) -> RepoSpec:
    """Read a reference to a whole repo; raises `UsageError` for one to a file."""
    kind = None if repo_type is None else RepoType(repo_type)
    spec, names = parse_reference(reference, repo_type=kind, revision=revision)
    if names:
        raise UsageError(f"`{reference}` names a file; name the repo alone")
    return spec


def read_token(token: str | None, token_file: Path | None) -> Secret | None:
    """Return the token that was given, if one was."""
    if token is not None and token_file is not None:
        raise UsageError("`--token` and `--token-file` can't be used together")
    if token_file is not None:
        return read_secret(token_file, what="the token")
    return None if token is None else Secret(token)
