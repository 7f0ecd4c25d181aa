"""Judge what was measured: clocks, proxies, the destination. Each gives findings with remedies."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import ExitCode
from hfaria.rules.checkup import Check, fail, ok, warn
from hfaria.rules.sizes import format_seconds, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hfaria.rules.endpoints import Endpoint
    from hfaria.rules.preflight import Filesystem
    from hfaria.rules.proxies import Proxies

LARGEST_SKEW_SECONDS = 300.0
"""Beyond it, signed URLs count as expired or not yet valid, and tokens too (S3 allows 15 min)."""

_TIGHT_BYTES = 10**9
_PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class ClockReading:
    """How far a server's clock is ahead of ours, in seconds."""

    host: str
    skew_seconds: float


def judge_clock(readings: Sequence[ClockReading]) -> Check:
    """Tell a wrong clock of ours from a wrong clock of a server's."""
    if not readings:
        return warn("clock", "no server told the time to compare with")
    skew = min((reading.skew_seconds for reading in readings), key=abs)
    wrong = [one for one in readings if abs(one.skew_seconds) > LARGEST_SKEW_SECONDS]
    if abs(skew) > LARGEST_SKEW_SECONDS:
        typical = statistics.median(reading.skew_seconds for reading in readings)
        direction = "behind" if typical > 0 else "ahead of"
        return warn(
            "clock",
            f"{format_seconds(abs(typical))} {direction} {readings[0].host}: certificates and "
            "signed URLs may be refused",
            remedy="set the clock: `timedatectl set-ntp true`, or `date`",
        )
    if wrong:
        other = wrong[0]
        direction = "ahead" if other.skew_seconds > 0 else "behind"
        return warn(
            "clock",
            f"ours is right; that of {other.host} is "
            f"{format_seconds(abs(other.skew_seconds))} {direction}",
            remedy="URLs that it signs may be refused: name another endpoint first",
        )
    return ok("clock", f"within {max(1, round(abs(skew)))} s of {readings[0].host}")


def judge_proxies(
    environ: Mapping[str, str], *, proxies: Proxies, endpoints: Sequence[Endpoint]
) -> tuple[Check, ...]:
    """Say which proxy variables are set, what they mean for the endpoints, and what contradicts."""
    named = {name: value for name, value in environ.items() if name.lower() in _PROXY_NAMES}
    if not any(named.values()) and not proxies.by_endpoint:
        return (ok("proxy", "none: no proxy variable is set"),)
    return tuple(_proxy_findings(named, proxies, endpoints))


def _proxy_findings(
    named: Mapping[str, str], proxies: Proxies, endpoints: Sequence[Endpoint]
) -> Iterator[Check]:
    for lower in _PROXY_NAMES:
        upper = lower.upper()
        if named.get(lower) and named.get(upper) and named[lower] != named[upper]:
            yield warn(
                "proxy",
                f"{lower} and {upper} differ; {lower} counts",
                subject=lower,
                remedy=f"unset one of them: `unset {upper}`",
            )
    through = {one.host: proxies.find(one.url, one) for one in endpoints}
    used = {str(proxy) for proxy in through.values() if proxy is not None}
    sources = [name for name, value in named.items() if value]
    sources += ["the config file"] if proxies.by_endpoint else []
    if used:
        direct = [host for host, proxy in through.items() if proxy is None]
        text = f"{', '.join(sorted(used))}, set by {', '.join(sorted(sources))}"
        if direct:
            text += f"; not for {', '.join(direct)}"
        yield ok("proxy", text)
    else:
        yield ok(
            "proxy", f"{', '.join(sorted(sources))} set, and no endpoint is reached through a proxy"
        )


def judge_disk(
    filesystem: Filesystem, *, folder: str, exists: bool, reserve: int
) -> tuple[Check, ...]:
    """Judge the destination: may it be written, is there room, what can't it store."""
    if filesystem.refusals:
        return tuple(
            fail(
                "disk",
                refusal,
                subject=refusal if number else "",
                exit_code=ExitCode.DESTINATION,
                remedy="fix its permissions, or name another place: `--dest`, HF_HUB_CACHE",
            )
            for number, refusal in enumerate(filesystem.refusals)
        )
    free = format_size(filesystem.free_bytes)
    left = filesystem.free_bytes - reserve
    if left < 0:
        return (
            fail(
                "disk",
                f"`{folder}`: {free} free, less than the reserve of {format_size(reserve)}",
                exit_code=ExitCode.DESTINATION,
                remedy="make room, name another disk with `--dest`, or lower `--reserve`",
            ),
        )
    state = "can be written" if exists else "will be made"
    text = f"`{folder}` {state}: {free} free on {filesystem.kind}"
    if left < _TIGHT_BYTES:
        return (
            warn(
                "disk",
                f"{text}, {format_size(left)} above the reserve",
                remedy="make room: `hf cache prune`, or name another disk with `--dest`",
            ),
        )
    return (ok("disk", text), *_limits(filesystem))


def _limits(filesystem: Filesystem) -> Iterator[Check]:
    if filesystem.largest_file is not None:
        yield warn(
            "disk",
            f"{filesystem.kind} takes no file of more than {format_size(filesystem.largest_file)}",
            subject="file size",
            remedy="format it as exFAT, or name another disk with `--dest`",
        )
    if filesystem.ignores_case or filesystem.has_windows_names:
        yield warn(
            "disk",
            f"{filesystem.kind} does not take every name that a repo may have",
            subject="names",
            remedy="`hfaria pull --dry-run` tells which of a repo's files are refused",
        )


def judge_symlinks(filesystem: Filesystem, *, is_allowed: bool) -> Check:
    """Say whether entries of a snapshot are links, or files of their own."""
    if not is_allowed:
        return ok("symlinks", "switched off: each entry of a snapshot is a file of its own")
    if filesystem.has_symlinks:
        return ok("symlinks", "work here")
    return warn(
        "symlinks",
        "not here: equal files and other revisions take their space again",
        remedy="name a disk with symlinks, or on Windows switch on Developer Mode",
    )
