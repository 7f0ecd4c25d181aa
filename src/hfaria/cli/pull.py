"""`hfaria pull`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hfaria.cli.render import (
    EXIT_CODES,
    preview_document,
    print_document,
    print_path,
    print_preview,
    print_receipt,
    receipt_document,
)
from hfaria.errors import PreflightFailed, UsageError
from hfaria.redact import Secret
from hfaria.report.reporter import Reporter, make_reporter
from hfaria.rules.receipt import PartialPull
from hfaria.rules.selection import make_selection
from hfaria.rules.spec import RepoType, parse_reference
from hfaria.rules.staleness import Stale
from hfaria.settings import (
    DEFAULT_CONNECTIONS,
    DEFAULT_JOBS,
    DEFAULT_PATIENCE_SECONDS,
    DEFAULT_RESERVE,
    Overrides,
    load_settings,
    read_secret,
)


@click.command("pull", epilog=EXIT_CODES)
@click.argument("reference", metavar="REPO_ID")
@click.argument("filenames", nargs=-1, metavar="[FILENAMES]...")
@click.option(
    "--repo-type",
    "--type",
    type=click.Choice([kind.value for kind in RepoType]),
    help="Kind of repo.  [default: model]",
)
@click.option("--revision", help="Branch, tag, PR ref or commit.  [default: main]")
@click.option("--include", multiple=True, metavar="GLOB", help="Only files that match; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No files that match; repeatable.")
@click.option(
    "--variant",
    metavar="NAME",
    help="One of the variants that `hfaria files` lists, with all it needs.",
)
@click.option(
    "--dest",
    "--cache-dir",
    "cache_dir",
    type=click.Path(path_type=Path, file_okay=True),
    help="Hugging Face cache to pull into.  [default: HF_HUB_CACHE]",
)
@click.option(
    "--local-dir",
    type=click.Path(path_type=Path),
    help="Write a plain folder instead of a cache.",
)
@click.option(
    "--force-download/--no-force-download", default=False, help="Fetch what is cached, too."
)
@click.option("--dry-run/--no-dry-run", default=False, help="Say what would be done, and stop.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    help="Hub or mirror, or a short name; repeatable, in order.  [default: HF_ENDPOINT]",
)
@click.option(
    "--origin/--no-origin",
    "use_origin",
    default=None,
    help="Ask the origin after all others.  [default: yes]",
)
@click.option(
    "--stale",
    type=click.Choice([each.value for each in Stale]),
    help="When the first endpoint is behind: take its commit, the origin's, or fail."
    "  [default: say it and take the newest]",
)
@click.option(
    "--trust-endpoint",
    "trusted_endpoints",
    multiple=True,
    metavar="URL",
    help="An endpoint besides the origin that may see the token; repeatable.",
)
@click.option("--token", help="Token; visible to other users of this machine: prefer HF_TOKEN.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File that holds the token.",
)
@click.option(
    "-x",
    "--connections",
    type=int,
    metavar="N",
    help=f"Connections per large file, 1-16.  [default: {DEFAULT_CONNECTIONS}]",
)
@click.option(
    "-j",
    "--jobs",
    type=int,
    metavar="N",
    help=f"Large files at once, with 16 small ones beside each.  [default: {DEFAULT_JOBS}]",
)
@click.option(
    "--reserve",
    metavar="SIZE",
    help=f"Disk space to leave free.  [default: {DEFAULT_RESERVE}]",
)
@click.option(
    "--patience",
    metavar="TIME",
    help="Give up after so long without any byte: 90s, 30m, 2h, forever."
    f"  [default: {DEFAULT_PATIENCE_SECONDS:.0f}]",
)
@click.option(
    "--limit-rate",
    metavar="RATE",
    help="Bytes a second at most, such as 2M, or by the time of day: 2M@08:00-19:00.",
)
@click.option("--rpc-url", metavar="URL", help="Use a running aria2 daemon on this machine.")
@click.option(
    "--rpc-secret-file",
    type=click.Path(path_type=Path),
    help="File that holds its secret; else HFARIA_RPC_SECRET.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print the snapshot's path alone.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def pull_command(
    *,
    reference: str,
    filenames: tuple[str, ...],
    repo_type: str | None,
    revision: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    variant: str | None,
    cache_dir: Path | None,
    local_dir: Path | None,
    force_download: bool,
    dry_run: bool,
    endpoints: tuple[str, ...],
    use_origin: bool | None,
    stale: str | None,
    trusted_endpoints: tuple[str, ...],
    token: str | None,
    token_file: Path | None,
    connections: int | None,
    jobs: int | None,
    reserve: str | None,
    patience: str | None,
    limit_rate: str | None,
    rpc_url: str | None,
    rpc_secret_file: Path | None,
    as_json: bool,
    quiet: bool,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Fetch a repo into a Hugging Face cache, verified; rerun to resume.

    REPO_ID is `namespace/name` or an `hf://` reference. FILENAMES are files of the repo, or
    folders with a trailing slash; none means all.
    """
    if cache_dir is not None and local_dir is not None:
        raise UsageError("`--dest` and `--local-dir` can't be used together")
    if as_json and quiet:
        raise UsageError("`--json` and `-q` can't be used together")
    if token is not None and token_file is not None:
        raise UsageError("`--token` and `--token-file` can't be used together")
    spec, names = parse_reference(
        reference,
        repo_type=None if repo_type is None else RepoType(repo_type),
        revision=revision,
        filenames=filenames,
    )
    selection, warning = make_selection(
        names=names, include=include, exclude=exclude, variant=variant
    )
    settings = load_settings(
        Overrides(
            cache_dir=cache_dir,
            endpoints=endpoints,
            use_origin=use_origin,
            stale=stale,
            trusted_endpoints=trusted_endpoints,
            connections=connections,
            jobs=jobs,
            reserve=reserve,
            patience=patience,
            limit_rate=limit_rate,
            rpc_url=rpc_url,
            rpc_secret_file=rpc_secret_file,
        )
    )
    # The workflow brings the HTTP client along: `--help` and usage errors come without it.
    from hfaria.workflows import pull as workflow  # noqa: PLC0415

    reporter = make_reporter(sys.stderr, is_quiet=quiet, show_progress=settings.show_progress)
    if warning is not None:
        reporter.warn(warning)
    if token is not None:
        reporter.warn("a token on the command line is visible to other users; prefer HF_TOKEN")
    request = workflow.PullRequest(
        spec,
        selection,
        local_dir=local_dir,
        refetch=force_download,
        token=_token(token, token_file),
    )
    try:
        if dry_run:
            preview = workflow.preview(request, settings=settings, reporter=reporter)
            reporter.close()
            _render_preview(preview, as_json=as_json, quiet=quiet)
            return
        receipt = workflow.pull(request, settings=settings, reporter=reporter)
    except PartialPull as exc:
        reporter.close()
        if as_json:
            print_document(receipt_document(exc.receipt))
        raise
    finally:
        reporter.close()
    if as_json:
        print_document(receipt_document(receipt))
    elif quiet:
        print_path(receipt)
    else:
        _say_what_a_reader_needs(reporter, filtered=not selection.is_everything)
        print_receipt(receipt)


def _render_preview(preview: object, *, as_json: bool, quiet: bool) -> None:
    from hfaria.workflows.pull import Preview  # noqa: PLC0415

    if not isinstance(preview, Preview):
        raise TypeError(preview)
    if as_json:
        print_document(preview_document(preview))
    elif quiet:
        click.echo(str(preview.path))
    else:
        print_preview(preview)
    if preview.problems:
        raise PreflightFailed(
            f"the pull would be refused, for {len(preview.problems)} reasons"
            if len(preview.problems) > 1
            else preview.problems[0],
            preview.problems,
        )


def _say_what_a_reader_needs(reporter: Reporter, *, filtered: bool) -> None:
    if filtered:
        reporter.note(
            "only a part of the repo was asked for: offline, `snapshot_download` needs the same "
            "patterns"
        )


def _token(token: str | None, token_file: Path | None) -> Secret | None:
    if token_file is not None:
        return read_secret(token_file, what="the token")
    return None if token is None else Secret(token)
