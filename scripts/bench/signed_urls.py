"""Signed URLs that live 5 s, on a line of 8 MB/s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.running import workplace
from bench.trials import Scene, findings_of, hold_trials, times_of
from loopback_hub import HubConfig, HubProcess, Shape, sharded_model

if TYPE_CHECKING:
    from bench.options import Options
    from bench.results import Finding

_SIZE = 600_000_000
_SHARDS = 23
_LINE = 8e6
_LIFETIME_SECONDS = 5.0


def measure(options: Options) -> list[Finding]:
    """Time whole pulls as a share of what the line needs, and count the bytes sent."""
    tell("signed URLs: they live 5 s, 8 MB/s in all")
    spec = sharded_model("bench/signed", options.scaled(_SIZE), _SHARDS)
    size = spec.head.total_size
    config = HubConfig(repos=(spec,), url_lifetime_seconds=_LIFETIME_SECONDS)
    with HubProcess(config) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.02, rate_total=_LINE))
        trials = hold_trials(options, Scene(hub, spec, folder))
    what = f"{size // 1_000_000} MB, signed URLs live 5 s, 8 MB/s"
    return [
        times_of(what, trials),
        findings_of(
            "the same: time / (size / line)",
            trials,
            lambda trial: trial.seconds / (size / _LINE),
            unit="x",
            target=1.03,
            digits=3,
        ),
        findings_of(
            "the same: bytes sent / size",
            trials,
            lambda trial: trial.sent_share,
            unit="x",
            target=1.01,
            digits=3,
        ),
    ]


if __name__ == "__main__":
    run_alone(measure, __doc__)
