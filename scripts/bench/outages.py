"""Hub and CDN are gone for 4 s of every 10, and what was under way is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.running import workplace
from bench.trials import Scene, against_the_best, hold_trials, times_of
from loopback_hub import Fault, HubConfig, HubProcess, Refuse, Shape, sharded_model

if TYPE_CHECKING:
    from bench.options import Options
    from bench.results import Finding

_SIZE = 600_000_000
_SHARDS = 23
_LINE = 20e6
_TARGET_SECONDS = 51.0
# The first six seconds are good, so that nobody fails at the listing.
_FAULTS = (Fault(Refuse(), begins=6.0, window=(4.0, 10.0)),)


def measure(options: Options) -> list[Finding]:
    """Time whole pulls."""
    tell("outages: Hub and CDN gone 4 s of every 10")
    spec = sharded_model("bench/outages", options.scaled(_SIZE), _SHARDS)
    line = options.scaled(int(_LINE))
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.02, rate_total=line))
        trials = hold_trials(options, Scene(hub, spec, folder, faults=_FAULTS))
    what = f"{options.scaled(_SIZE) // 1_000_000} MB, Hub and CDN gone 4 s of every 10"
    times = times_of(what, trials, target=_TARGET_SECONDS)
    return [times, against_the_best("the same: time / the best other's", times, target=1.0)]


if __name__ == "__main__":
    run_alone(measure, __doc__)
