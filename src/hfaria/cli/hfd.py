"""`hfaria hfd`: the options of the script hfd.sh, for those who come from there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hfaria.cli.options import TOKEN_WARNING, debug_option
from hfaria.cli.render import EXIT_CODES, print_receipt
from hfaria.errors import UsageError
from hfaria.redact import Secret
from hfaria.report.reporter import make_reporter
from hfaria.rules.adoption import glob_of_hfd
from hfaria.rules.selection import make_selection
from hfaria.rules.spec import RepoSpec, RepoType
from hfaria.settings import Overrides, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEVERAL = ("--include", "--exclude")


class _HfdCommand(click.Command):
    """Takes several patterns after one option, as the script does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_one_by_one(args)))


def _one_by_one(args: list[str]) -> Iterator[str]:
    """Repeat an option that takes several values before each of them."""
    option: str | None = None
    is_first = False
    for arg in args:
        if arg.startswith("-"):
            option = arg if arg in _SEVERAL else None
            is_first = option is not None
            yield arg
        elif option is None or is_first:
            is_first = False
            yield arg
        else:
            yield from (option, arg)


@click.command("hfd", cls=_HfdCommand, epilog=EXIT_CODES)
@click.argument("repo_id", metavar="REPO_ID")
@click.option("--include", multiple=True, metavar="PATTERN...", help="Only files that match.")
@click.option("--exclude", multiple=True, metavar="PATTERN...", help="No files that match.")
@click.option("--hf_username", help="Not needed; the token alone counts.")
@click.option("--hf_token", help="Token; visible to other users of this machine: prefer HF_TOKEN.")
@click.option("--tool", type=click.Choice(["aria2c", "wget"]), help="Not needed; it is aria2c.")
@click.option("-x", "connections", type=int, metavar="N", help="Connections a file.  [default: 4]")
@click.option("-j", "jobs", type=int, metavar="N", help="Files at once.  [default: 5]")
@click.option("--dataset", is_flag=True, help="It is a dataset.")
@click.option("--local-dir", type=click.Path(path_type=Path), help="Where to.  [default: ./NAME]")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--to-cache", is_flag=True, help="Into the Hugging Face cache, not a plain folder.")
@debug_option
def hfd_command(
    *,
    repo_id: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    hf_username: str | None,  # noqa: ARG001 - accepted, since scripts give it
    hf_token: str | None,
    tool: str | None,
    connections: int | None,
    jobs: int | None,
    dataset: bool,
    local_dir: Path | None,
    revision: str | None,
    to_cache: bool,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Fetch a repo with the options of hfd.sh.

    What the script fetched into the folder is looked at and kept, and its unfinished files are
    continued.
    """
    if to_cache and local_dir is not None:
        raise UsageError("`--to-cache` and `--local-dir` can't be used together")
    spec = RepoSpec(repo_id, RepoType.DATASET if dataset else RepoType.MODEL, revision or "main")
    selection, _ = make_selection(
        names=(),
        include=tuple(map(glob_of_hfd, include)),
        exclude=tuple(map(glob_of_hfd, exclude)),
    )
    settings = load_settings(Overrides(connections=connections or 4, jobs=jobs or 5))
    from hfaria.workflows.adopt import pull_over  # noqa: PLC0415 - brings the HTTP client along

    reporter = make_reporter(sys.stderr, is_quiet=False, show_progress=settings.show_progress)
    if hf_token is not None:
        reporter.warn(TOKEN_WARNING)
    if tool == "wget":
        reporter.note("`--tool wget` is taken for aria2c, which does the same and more")
    folder = (local_dir or Path(repo_id.rpartition("/")[2])).expanduser().absolute()
    try:
        receipt = pull_over(
            spec,
            selection,
            folder,
            to_cache=to_cache,
            settings=settings,
            reporter=reporter,
            token=None if hf_token is None else Secret(hf_token),
        )
    finally:
        reporter.close()
    print_receipt(receipt)
