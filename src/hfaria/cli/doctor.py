"""`hfaria doctor`."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfaria.cli.moving_options import Moving
from hfaria.cli.option_groups import Asking, probing_options
from hfaria.cli.options import (
    DEFAULT_REPO,
    debug_option,
    json_option,
    read_reference,
    repo_type_option,
    revision_option,
)
from hfaria.cli.render import EXIT_CODES, print_document, said
from hfaria.errors import (
    DestinationError,
    EngineError,
    ExitCode,
    HfariaError,
    HubError,
    UsageError,
)
from hfaria.report.reporter import make_reporter
from hfaria.rules.checkup import Verdict, is_failure
from hfaria.rules.sizes import count
from hfaria.settings import DEFAULT_RESERVE
from hfaria.workflows.forgiving import load_settings_anyway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfaria.rules.checkup import Check
    from hfaria.workflows.doctor import DoctorReport

_WIDTH = 80
_INDENT = " " * 15
_MARKS = {Verdict.OK: "ok", Verdict.WARN: "warn", Verdict.FAIL: "FAIL"}
_ERRORS: dict[ExitCode, type[HfariaError]] = {
    ExitCode.USAGE: UsageError,
    ExitCode.HUB: HubError,
    ExitCode.ENGINE: EngineError,
    ExitCode.DESTINATION: DestinationError,
}


@click.command("doctor", epilog=EXIT_CODES)
@click.argument("reference", metavar="[REPO_ID]", required=False, default=DEFAULT_REPO)
@repo_type_option
@revision_option
@probing_options
@click.option(
    "--dest",
    "--cache-dir",
    "cache_dir",
    type=click.Path(path_type=Path),
    help="Hugging Face cache to check.  [default: HF_HUB_CACHE]",
)
@click.option("--local-dir", type=click.Path(path_type=Path), help="Check a plain folder instead.")
@click.option(
    "--reserve", metavar="SIZE", help=f"Disk space to leave free.  [default: {DEFAULT_RESERVE}]"
)
@click.option("--rpc-url", metavar="URL", help="Check a running aria2 daemon on this machine.")
@click.option(
    "--rpc-secret-file",
    type=click.Path(path_type=Path),
    help="File that holds its secret; else HFARIA_RPC_SECRET.",
)
@json_option
@debug_option
def doctor_command(
    *,
    reference: str,
    repo_type: str | None,
    revision: str | None,
    asking: Asking,
    cache_dir: Path | None,
    local_dir: Path | None,
    reserve: str | None,
    rpc_url: str | None,
    rpc_secret_file: Path | None,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Check all that a pull needs, and say what is wrong and what helps.

    REPO_ID is the repo to ask for; without one, a small public model. Takes half a minute at most;
    exits with 0 if a pull can work, else with the code that it would end with.
    """
    if cache_dir is not None and local_dir is not None:
        raise UsageError("`--dest` and `--local-dir` can't be used together")
    spec = read_reference(reference, repo_type, revision)
    settings, fault = load_settings_anyway(
        Moving(reserve=reserve, rpc_url=rpc_url, rpc_secret_file=rpc_secret_file).add_to(
            asking.overrides(cache_dir)
        )
    )
    from hfaria.workflows.doctor import DoctorRequest, examine  # noqa: PLC0415 - slow to import

    reporter = make_reporter(sys.stderr, is_quiet=as_json, show_progress=settings.show_progress)
    secret = asking.secret(reporter)
    reporter.note(f"checking what a pull of {spec.label} needs")
    reporter.close()
    request = DoctorRequest(
        spec,
        settings.cache_dir if local_dir is None else local_dir.expanduser(),
        token=secret,
        token_option="--token-file" if asking.token_file is not None else "--token",
        fault=fault,
    )
    report = examine(request, settings=settings)
    if as_json:
        print_document(doctor_document(report))
    else:
        click.echo("\n".join(_lines(report)))
    failure = report.failure
    if failure is not None:
        kind = _ERRORS.get(failure.exit_code, HfariaError)
        raise kind(f"a pull can't work: {failure.name}: {said(failure.text)}", hint=failure.remedy)


def doctor_document(report: DoctorReport) -> dict[str, Any]:
    """Return the JSON document of `--json`; docs/reference/json.md describes it."""
    failure = report.failure
    return {
        "can_pull": failure is None,
        "exit_code": int(ExitCode.DONE if failure is None else failure.exit_code),
        "checks": [_check_document(check) for check in report.checks],
    }


def _check_document(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "subject": said(check.subject) or None,
        "verdict": check.verdict.value,
        "text": said(check.text),
        "hint": None if check.remedy is None else said(check.remedy),
    }


def _lines(report: DoctorReport) -> Iterator[str]:
    for check in report.checks:
        head = f"{_MARKS[check.verdict]:<5}{check.name:<10}"
        yield from _wrapped(head, said(check.text))
        if check.remedy is not None:
            yield from _wrapped(_INDENT, f"hint: {said(check.remedy)}")
    failed = sum(map(is_failure, report.checks))
    warned = sum(check.verdict is Verdict.WARN for check in report.checks)
    yield ""
    if failed:
        yield f"a pull can't work here: {count(failed, 'problem')}"
    else:
        yield "a pull can work here" + (f", with {count(warned, 'warning')}" if warned else "")


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )
