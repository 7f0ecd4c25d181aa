"""`hfaria preload`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hfaria.cli.render import EXIT_CODES, print_document
from hfaria.cli.render_preload import (
    preload_document,
    preload_preview_document,
    print_changes,
    print_failures,
    print_preload,
    print_preload_preview,
)
from hfaria.cli.set_options import SetOptions, debug_option, manifest_argument, moving_options
from hfaria.errors import PreflightFailed, UsageError
from hfaria.report.reporter import make_reporter
from hfaria.rules.lock import LockMode
from hfaria.rules.preload import IncompletePreload

if TYPE_CHECKING:
    from pathlib import Path


@click.command("preload", epilog=EXIT_CODES)
@manifest_argument
@click.option(
    "--group", "groups", multiple=True, metavar="NAME", help="Only repos in it; repeatable."
)
@click.option("--locked", is_flag=True, help="Fail if manifest and lock disagree.")
@click.option(
    "--frozen",
    is_flag=True,
    help="Take what is locked alone; ask nobody for a listing that is here.",
)
@click.option("--dry-run/--no-dry-run", default=False, help="Say what would be done, and stop.")
@moving_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print a line for each repo that changed.")
@debug_option
def preload_command(
    *,
    manifest: Path,
    groups: tuple[str, ...],
    locked: bool,
    frozen: bool,
    dry_run: bool,
    options: SetOptions,
    as_json: bool,
    quiet: bool,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Fetch all repos of a manifest, each at its locked commit; rerun to resume.

    FILE is the manifest, `hfaria.toml` unless it is named; its lock lies beside it. What is not
    locked yet is locked. A repo that fails does not stop the others.
    """
    if locked and frozen:
        raise UsageError("`--locked` and `--frozen` can't be used together")
    if as_json and quiet:
        raise UsageError("`--json` and `-q` can't be used together")
    settings = options.settings()
    # The workflow brings the HTTP client along: `--help` and usage errors come without it.
    from hfaria.workflows import preload as workflow  # noqa: PLC0415

    reporter = make_reporter(sys.stderr, is_quiet=quiet, show_progress=settings.show_progress)
    mode = LockMode.LOCKED if locked else LockMode.FROZEN if frozen else LockMode.UPDATE
    request = workflow.PreloadRequest(
        manifest,
        groups=groups,
        lock_mode=mode,
        keeps_endpoints=bool(options.endpoints),
        token=options.secret(reporter),
    )
    try:
        if dry_run:
            preview = workflow.preview(request, settings=settings, reporter=reporter)
            reporter.close()
            if as_json:
                print_document(preload_preview_document(preview))
            else:
                print_preload_preview(preview)
            if preview.problems:
                raise PreflightFailed(
                    f"the preload would be refused: {preview.problems[0]}", preview.problems
                )
            return
        receipt = workflow.preload(request, settings=settings, reporter=reporter)
    except IncompletePreload as exc:
        reporter.close()
        receipt = exc.receipt
        if as_json:
            print_document(preload_document(receipt))
        elif quiet:
            print_changes(receipt)
        else:
            print_preload(receipt)
        print_failures(receipt)
        raise
    finally:
        reporter.close()
    if as_json:
        print_document(preload_document(receipt))
    elif quiet:
        print_changes(receipt)
    else:
        print_preload(receipt)
