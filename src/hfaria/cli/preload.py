"""`hfaria preload`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hfaria.cli.detach import begin_job, check_detach, detach_option
from hfaria.cli.invocation import this_invocation
from hfaria.cli.manifest_options import manifest_argument
from hfaria.cli.moving_options import Moving, moving_options
from hfaria.cli.option_groups import (
    Asking,
    Saying,
    asking_options,
    cache_option,
    saying_options,
)
from hfaria.cli.render import EXIT_CODES, print_document
from hfaria.cli.render_preload import (
    preload_document,
    preload_preview_document,
    print_changes,
    print_failures,
    print_preload,
    print_preload_preview,
)
from hfaria.errors import PreflightFailed, UsageError
from hfaria.rules.lock import LockMode
from hfaria.rules.preload import IncompletePreload
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.rules.preload import PreloadReceipt


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
@cache_option
@asking_options
@moving_options
@detach_option
@saying_options
def preload_command(
    *,
    manifest: Path,
    groups: tuple[str, ...],
    locked: bool,
    frozen: bool,
    dry_run: bool,
    cache_dir: Path | None,
    asking: Asking,
    moving: Moving,
    detach: bool,
    saying: Saying,
) -> None:
    """Fetch all repos of a manifest, each at its locked commit; rerun to resume.

    FILE is the manifest, `hfaria.toml` unless it is named; its lock lies beside it. What is not
    locked yet is locked. A repo that fails does not stop the others.
    """
    if locked and frozen:
        raise UsageError("`--locked` and `--frozen` can't be used together")
    settings = load_settings(moving.add_to(asking.overrides(cache_dir)))
    invocation = this_invocation()
    if detach and invocation.job is None:
        check_detach(token=asking.token, dry_run=dry_run)
        title = str(manifest)
        begin_job(settings, title=title, as_json=saying.as_json, quiet=saying.quiet)
        return
    # The workflow brings the HTTP client along: `--help` and usage errors come without it.
    from hfaria.workflows import preload as workflow  # noqa: PLC0415

    reporter = invocation.watched(saying.reporter(settings))
    mode = LockMode.LOCKED if locked else LockMode.FROZEN if frozen else LockMode.UPDATE
    request = workflow.PreloadRequest(
        manifest,
        groups=groups,
        lock_mode=mode,
        keeps_endpoints=bool(asking.endpoints),
        token=asking.secret(reporter),
    )
    try:
        if dry_run:
            preview = workflow.preview(request, settings=settings, reporter=reporter)
            reporter.close()
            if saying.as_json:
                print_document(preload_preview_document(preview))
            else:
                print_preload_preview(preview)
            if preview.problems:
                raise PreflightFailed(
                    f"the preload would be refused: {preview.problems[0]}", preview.problems
                )
            return
        receipt = workflow.preload(
            request, settings=settings, reporter=reporter, on_bandwidth=invocation.steer
        )
    except IncompletePreload as exc:
        reporter.close()
        receipt = exc.receipt
        _render(receipt, saying)
        print_failures(receipt)
        raise
    finally:
        reporter.close()
    _render(receipt, saying)


def _render(receipt: PreloadReceipt, saying: Saying) -> None:
    if saying.as_json:
        print_document(preload_document(receipt))
    elif saying.quiet:
        print_changes(receipt)
    else:
        print_preload(receipt)
