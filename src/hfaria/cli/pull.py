"""`hfaria pull`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hfaria.cli.detach import begin_job, check_detach, detach_option
from hfaria.cli.invocation import this_invocation
from hfaria.cli.moving_options import Moving, moving_options
from hfaria.cli.option_groups import Asking, asking_options
from hfaria.cli.options import (
    debug_option,
    exclude_option,
    include_option,
    json_option,
    repo_type_option,
    revision_option,
)
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
from hfaria.report.reporter import Reporter, make_reporter
from hfaria.rules.receipt import PartialPull
from hfaria.rules.selection import make_selection
from hfaria.rules.spec import RepoType, parse_reference
from hfaria.settings import load_settings


@click.command("pull", epilog=EXIT_CODES)
@click.argument("reference", metavar="REPO_ID")
@click.argument("filenames", nargs=-1, metavar="[FILENAMES]...")
@repo_type_option
@revision_option
@include_option
@exclude_option
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
@asking_options
@moving_options
@detach_option
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print the snapshot's path alone.")
@debug_option
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
    asking: Asking,
    moving: Moving,
    detach: bool,
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
    spec, names = parse_reference(
        reference,
        repo_type=None if repo_type is None else RepoType(repo_type),
        revision=revision,
        filenames=filenames,
    )
    selection, warning = make_selection(
        names=names, include=include, exclude=exclude, variant=variant
    )
    settings = load_settings(moving.add_to(asking.overrides(cache_dir)))
    invocation = this_invocation()
    if detach and invocation.job is None:
        check_detach(token=asking.token, dry_run=dry_run)
        begin_job(settings, title=spec.label, as_json=as_json, quiet=quiet)
        return
    # The workflow brings the HTTP client along: `--help` and usage errors come without it.
    from hfaria.workflows import pull as workflow  # noqa: PLC0415

    reporter = invocation.watched(
        make_reporter(sys.stderr, is_quiet=quiet, show_progress=settings.show_progress)
    )
    if warning is not None:
        reporter.warn(warning)
    request = workflow.PullRequest(
        spec,
        selection,
        local_dir=local_dir,
        refetch=force_download,
        token=asking.secret(reporter),
    )
    try:
        if dry_run:
            preview = workflow.preview(request, settings=settings, reporter=reporter)
            reporter.close()
            _render_preview(preview, as_json=as_json, quiet=quiet)
            return
        receipt = workflow.pull(
            request, settings=settings, reporter=reporter, on_bandwidth=invocation.steer
        )
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
