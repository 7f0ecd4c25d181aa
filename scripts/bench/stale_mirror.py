"""A mirror that is one commit behind and lacks a shard, beside an origin without a CDN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import OURS
from bench.running import workplace
from bench.trials import Scene, findings_of, hold_trials, times_of
from loopback_hub import (
    Behind,
    Fault,
    Generated,
    HubConfig,
    HubProcess,
    Lacks,
    Shape,
    SiteSpec,
    repo,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bench.options import Options
    from bench.results import Finding
    from loopback_hub import Content

_SHARDS = 12
_SHARD_SIZE = 50_000_000
_LACKED = "model-05.safetensors"
_CHANGED = "model-02.safetensors"
_LINE = 60e6
_SITES = (
    SiteSpec("origin", "origin", "127.0.0.1", lfs_from="self"),
    SiteSpec("mirror", "mirror", "127.0.0.2", lfs_from="self"),
)
_FAULTS = (
    Fault(Behind(1), site="mirror"),
    Fault(Lacks(paths=(_LACKED,)), site="mirror"),
)


def measure(options: Options) -> list[Finding]:
    """See whether the newest commit is complete, and how much of it the mirror sent."""
    tell("stale mirror: one commit behind, lacks a shard, no CDN")
    size = options.scaled(_SHARD_SIZE)
    old: dict[str, Content | bytes | str | Path] = {
        f"model-{n:02d}.safetensors": Generated(n, size) for n in range(_SHARDS)
    }
    old["config.json"] = b'{"version": 1}'
    new = {**old, "config.json": b'{"version": 2}', _CHANGED: Generated(100, size)}
    spec = repo("bench/stale", old, new)
    there = (_SHARDS - 2) * size
    with (
        HubProcess(HubConfig(repos=(spec,), sites=_SITES)) as hub,
        workplace(options) as folder,
    ):
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.02, rate_total=_LINE))
        trials = hold_trials(
            options, Scene(hub, spec, folder, endpoints=("mirror",), faults=_FAULTS)
        )
    what = "mirror one commit behind that lacks a shard"
    ours = {OURS: trials[OURS]} if OURS in trials else {}
    return [
        times_of(f"{what}: time", trials),
        findings_of(
            f"{what}: files of the newest commit missing or wrong",
            trials,
            lambda trial: trial.wrong,
            target=0,
            digits=0,
        ),
        findings_of(
            f"{what}: what it has, but the origin sent, as a share",
            ours,
            lambda trial: max(0, there - trial.sent["mirror"]) / there,
            target=0.05,
            digits=3,
        ),
    ]


if __name__ == "__main__":
    run_alone(measure, __doc__)
