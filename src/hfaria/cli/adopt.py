"""`hfaria adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.option_groups import (
    Asking,
    Saying,
    asking_options,
    cache_option,
    saying_options,
)
from hfaria.cli.options import repo_type_option
from hfaria.cli.render import (
    EXIT_CODES,
    plain,
    preview_document,
    print_document,
    print_path,
    print_preview,
    print_receipt,
    receipt_document,
)
from hfaria.errors import PreflightFailed, UsageError
from hfaria.rules.receipt import PartialPull
from hfaria.rules.spec import RepoType
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from hfaria.report.reporter import Reporter
    from hfaria.settings import Settings
    from hfaria.workflows.adopt import Adoption, AdoptRequest


@click.command("adopt", epilog=EXIT_CODES)
@click.argument(
    "folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path)
)
@click.option("--repo", "repo_id", metavar="REPO_ID", help="Which repo it is, if DIR doesn't tell.")
@repo_type_option
@click.option("--revision", help="Branch, tag, PR ref or commit.  [default: what DIR tells]")
@click.option("--link", "way", flag_value="link", help="Make hard links.  [default]")
@click.option("--move", "way", flag_value="move", help="Take the files away from DIR.")
@click.option("--copy", "way", flag_value="copy", help="Copy them.")
@click.option("--all", "fetch_all", is_flag=True, help="Fetch all that the repo has besides.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
@cache_option
@asking_options
@saying_options
def adopt_command(
    *,
    folders: tuple[Path, ...],
    repo_id: str | None,
    repo_type: str | None,
    revision: str | None,
    way: str | None,
    fetch_all: bool,
    dry_run: bool,
    cache_dir: Path | None,
    asking: Asking,
    saying: Saying,
) -> None:
    """Take folders that other tools filled into the cache, and fetch what they lack.

    DIR is a folder of `hf download --local-dir`, of hfd.sh, a git clone, or a plain copy of a
    repo. Its files are compared with the Hub's digests; on the same disk no byte is copied.
    Rerun to resume.
    """
    if repo_id is not None and len(folders) > 1:
        raise UsageError("`--repo` names the repo of one folder, and more are given")
    settings = load_settings(asking.overrides(cache_dir))
    from hfaria.workflows.adopt import AdoptRequest, Way  # noqa: PLC0415 - brings the HTTP client

    reporter = saying.reporter(settings)
    token = asking.secret(reporter)
    requests = [
        AdoptRequest(
            folder.expanduser().absolute(),
            repo_id=repo_id,
            repo_type=None if repo_type is None else RepoType(repo_type),
            revision=revision,
            way=Way(way or "link"),
            fetch_all=fetch_all,
            token=token,
        )
        for folder in folders
    ]
    try:
        if dry_run:
            _preview(requests, settings, reporter, saying)
        else:
            _adopt(requests, settings, reporter, saying)
    finally:
        reporter.close()


def _adopt(
    requests: list[AdoptRequest], settings: Settings, reporter: Reporter, saying: Saying
) -> None:
    from hfaria.workflows.adopt import adopt, describe  # noqa: PLC0415

    documents: list[dict[str, Any]] = []
    for request in requests:
        try:
            done = adopt(request, settings=settings, reporter=reporter)
        except PartialPull as exc:
            if saying.as_json:
                documents.append({"folder": str(request.root), **receipt_document(exc.receipt)})
                print_document({"folders": documents})
            raise
        documents.append(adoption_document(done))
        reporter.close()
        if saying.quiet:
            print_path(done.receipt)
        elif not saying.as_json:
            reporter.note(plain(describe(done)))
            print_receipt(done.receipt)
    if saying.as_json:
        print_document({"folders": documents})


def adoption_document(done: Adoption) -> dict[str, Any]:
    """Return what became of one folder, with the receipt of the pull that it was."""
    return {
        "folder": str(done.folder.root),
        "kind": done.folder.trace.kind,
        "files_found": done.files_found,
        "files_removed": done.removed,
        **receipt_document(done.receipt),
    }


def _preview(
    requests: list[AdoptRequest], settings: Settings, reporter: Reporter, saying: Saying
) -> None:
    from hfaria.workflows.adopt import preview_adoption  # noqa: PLC0415

    documents: list[dict[str, Any]] = []
    problems: list[str] = []
    for request in requests:
        folder, found = preview_adoption(request, settings=settings, reporter=reporter)
        problems += found.problems
        documents.append({"folder": str(folder.root), **preview_document(found)})
        if saying.quiet:
            click.echo(str(found.path))
        elif not saying.as_json:
            print_preview(found)
    if saying.as_json:
        print_document({"folders": documents})
    if problems:
        raise PreflightFailed(problems[0], tuple(problems))
