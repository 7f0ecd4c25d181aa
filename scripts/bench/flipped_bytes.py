"""The CDN flips bytes in each blob's first delivery: alone, and beside a clean mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import OURS
from bench.running import workplace
from bench.trials import Scene, findings_of, hold_trials, times_of
from loopback_hub import Fault, HubConfig, HubProcess, Shape, WrongBytes, sharded_model

if TYPE_CHECKING:
    from bench.options import Options
    from bench.results import Finding
    from bench.trials import Trials

_SIZE = 600_000_000
_SHARDS = 23
_LINE = 120e6
_FAULTS = (
    Fault(
        WrongBytes(within=1_000_000, count=3, seed=5), site="cdn", kind="bytes", per="blob", first=1
    ),
)


def measure(options: Options) -> list[Finding]:
    """Count files with wrong content that are visible, and the bytes sent."""
    tell("flipped bytes: in each blob's first delivery from the CDN")
    spec = sharded_model("bench/flipped", options.scaled(_SIZE), _SHARDS)
    size = options.scaled(_SIZE) // 1_000_000
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.01, rate_total=_LINE))
        alone = hold_trials(options, Scene(hub, spec, folder, faults=_FAULTS))
        both = Scene(hub, spec, folder, endpoints=("origin", "mirror"), faults=_FAULTS)
        tell("  with a clean mirror as the second endpoint")
        beside = hold_trials(options.only([OURS]), both)
    return [
        *_findings(f"{size} MB, bytes flipped in each first delivery", alone, most_sent=None),
        *_findings("the same, with a clean second source", beside, most_sent=1.2),
    ]


def _findings(what: str, trials: Trials, most_sent: float | None) -> list[Finding]:
    return [
        times_of(f"{what}: time", trials),
        findings_of(
            f"{what}: files with wrong content", trials, lambda t: t.corrupt, target=0, digits=0
        ),
        findings_of(
            f"{what}: bytes sent / size",
            trials,
            lambda trial: trial.sent_share,
            unit="x",
            target=most_sent,
            digits=3,
        ),
    ]


if __name__ == "__main__":
    run_alone(measure, __doc__)
