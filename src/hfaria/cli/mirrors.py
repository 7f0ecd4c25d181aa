"""`hfaria mirrors`."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

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
from hfaria.errors import EndpointUnreachable
from hfaria.report.reporter import make_reporter
from hfaria.rules.endpoints import MODELSCOPE_PREFIX, Api
from hfaria.rules.sizes import count, format_size
from hfaria.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.probe import Probe
    from hfaria.rules.ranking import Ranked
    from hfaria.rules.standing import Standing
    from hfaria.workflows.mirrors import MirrorReport

_WIDTH = 80
_HOUR = 3600
_ROW = "{:<2} {:<27} {:>8} {:>10}  {:<12} {:<6} {:<5}"
_INDENT = "   "
_LONGEST_NAME = 27
_UNKNOWN = "-"


@click.command("mirrors", epilog=EXIT_CODES)
@click.argument("reference", metavar="[REPO_ID]", required=False, default=DEFAULT_REPO)
@repo_type_option
@revision_option
@probing_options
@json_option
@debug_option
def mirrors_command(
    *,
    reference: str,
    repo_type: str | None,
    revision: str | None,
    asking: Asking,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read before parsing, so that it covers parsing too
) -> None:
    """Probe the endpoints for a repo, and say in which order to ask them.

    REPO_ID is the repo to ask for; without one, a small public model. Takes 20 s at most.
    """
    spec = read_reference(reference, repo_type, revision)
    settings = load_settings(asking.overrides())
    from hfaria.workflows.mirrors import probe_mirrors  # noqa: PLC0415 - brings the HTTP client

    reporter = make_reporter(sys.stderr, is_quiet=as_json, show_progress=settings.show_progress)
    secret = asking.secret(reporter)
    try:
        report = probe_mirrors(spec, settings=settings, token=secret, reporter=reporter)
    finally:
        reporter.close()
    if as_json:
        print_document(mirrors_document(report))
    else:
        named = [_spelled(one.endpoint) for one in settings.endpoints]
        click.echo("\n".join(_lines(report, named)))
    if not report.order:
        first = report.ranked[0]
        raise EndpointUnreachable(
            f"no endpoint can serve `{spec.label}`"
            + (f": {said(first.why)}" if len(report.ranked) == 1 else ""),
            hint="`hfaria doctor` tells whether it is this machine, the network or the endpoint",
        )


def mirrors_document(report: MirrorReport) -> dict[str, Any]:
    """Return the JSON document of `--json`; docs/reference/json.md describes it."""
    return {
        "repo_id": report.spec.repo_id,
        "repo_type": report.spec.repo_type.value,
        "revision": report.spec.revision,
        "compared_with": None if report.newest is None else report.newest.endpoint.url,
        "order": [_spelled(endpoint) for endpoint in report.order],
        "endpoints": [_endpoint_document(ranked) for ranked in report.ranked],
    }


def _endpoint_document(ranked: Ranked) -> dict[str, Any]:
    probe = ranked.probe
    sample, head, standing = probe.sample, probe.head, probe.standing
    made_at = None if head is None else head.last_modified
    return {
        "url": probe.endpoint.url,
        "api": probe.endpoint.api.value,
        "is_origin": probe.is_origin,
        "place": ranked.place,
        "why": said(ranked.why),
        "can_serve": probe.can_serve,
        "problem": None if probe.problem is None else said(probe.problem),
        "hint": None if probe.remedy is None else said(probe.remedy),
        "is_reachable": probe.is_reachable,
        "latency_seconds": _rounded(probe.latency_seconds, 4),
        "bytes_per_second": _rounded(probe.rate, 0),
        "sample_path": None if sample is None else said(sample.path),
        "sample_bytes": 0 if sample is None else sample.received,
        "commit": None if head is None else head.commit_hash,
        "made_at": None if made_at is None else made_at.isoformat(),
        "age": standing.age.value,
        "commits_apart": standing.commits,
        "hours_apart": None if standing.seconds is None else round(standing.seconds / _HOUR, 2),
        "honours_ranges": probe.honours_ranges,
        "redirects_to": None if probe.location_host is None else said(probe.location_host),
        "needs_login": probe.needs_login,
        "accepts_anonymous": probe.accepts_anonymous,
        "files_held": None if probe.held is None else probe.held[0],
        "keeps_listings": probe.keeps_listings,
        "rate_limits": {kind: said(text) for kind, text in probe.rate_limits},
    }


def _lines(report: MirrorReport, named: list[str]) -> Iterator[str]:
    spec = report.spec
    heading = f"{spec.label} at {spec.revision}"
    if report.newest is not None and report.newest.head is not None:
        newest = report.newest.endpoint.host if not report.newest.is_origin else "the origin"
        heading += f"; {newest} has commit {report.newest.head.commit_hash[:12]}"
    yield _cut(heading, _WIDTH)
    yield ""
    yield _ROW.format("", "endpoint", "latency", "rate", "commit", "ranges", "login").rstrip()
    for ranked in report.ranked:
        yield _row(ranked)
        for text in (*_remarks(ranked), *_hints(ranked)):
            yield from textwrap.wrap(
                said(text),
                _WIDTH,
                initial_indent=_INDENT,
                subsequent_indent=_INDENT,
                break_on_hyphens=False,
            )
    order = [_spelled(endpoint) for endpoint in report.order]
    if order == named:
        yield ""
        yield "order: as it is"
    elif order:
        yield ""
        yield "order:"
        yield from (f"  --endpoint {url}" for url in order)


def _row(ranked: Ranked) -> str:
    probe = ranked.probe
    latency, rate = probe.latency_seconds, probe.rate
    return _ROW.format(
        ranked.place or _UNKNOWN,
        _cut(_name(probe), _LONGEST_NAME),
        _UNKNOWN if latency is None else f"{latency * 1000:.0f} ms",
        _UNKNOWN if rate is None else f"{format_size(rate)}/s",
        _UNKNOWN if probe.head is None else _short(probe.standing),
        _yes_or_no(probe.honours_ranges),
        _yes_or_no(probe.needs_login),
    ).rstrip()


def _remarks(ranked: Ranked) -> Iterator[str]:
    probe = ranked.probe
    remarks = [ranked.why]
    if probe.standing.is_elsewhere and str(probe.standing) not in ranked.why:
        remarks.append(str(probe.standing))
    if probe.location_host is not None:
        remarks.append(f"bytes from {probe.location_host}")
    if probe.held is not None:
        remarks.append(f"has {probe.held[0]} of {count(probe.held[1], 'LFS file')}")
    if probe.keeps_listings is False and probe.can_serve:
        remarks.append("long listings go on at another host")
    yield "; ".join(remarks)


def _hints(ranked: Ranked) -> Iterator[str]:
    if ranked.probe.remedy is not None:
        yield f"hint: {ranked.probe.remedy}"


def _short(standing: Standing) -> str:
    """Return the standing in a column's width."""
    if standing.is_elsewhere and standing.commits is not None:
        return f"{standing.commits} {standing.age.value}"
    return str(standing.age.value)


def _name(probe: Probe) -> str:
    return probe.endpoint.url.partition("://")[2]


def _spelled(endpoint: Endpoint) -> str:
    """Return an endpoint as `--endpoint` takes it."""
    prefix = MODELSCOPE_PREFIX if endpoint.api is Api.MODELSCOPE else ""
    return f"{prefix}{endpoint.url}"


def _yes_or_no(value: bool | None) -> str:
    return _UNKNOWN if value is None else "yes" if value else "no"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits) if digits else round(value)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
