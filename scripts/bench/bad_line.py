"""A bad line: resets, stalls, cut bodies, 5xx and connections closed without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.running import workplace
from bench.trials import Scene, against_the_best, hold_trials, times_of
from loopback_hub import (
    Close,
    Fault,
    Hangup,
    HubConfig,
    HubProcess,
    Reset,
    Shape,
    Stall,
    Status,
    sharded_model,
)

if TYPE_CHECKING:
    from bench.options import Options
    from bench.results import Finding

_SIZE = 600_000_000
_SHARDS = 23
_LINE = 120e6
_STALL_SECONDS = 20.0
_FAULTS = (
    Fault(Reset(per_megabyte=0.01), site="cdn", kind="bytes"),
    Fault(Stall(_STALL_SECONDS, after=1_000_000), site="cdn", kind="bytes", skip=30, every=60),
    Fault(Close(after=3_000_000), site="cdn", kind="bytes", skip=5, every=10),
    Fault(Status(503), site="cdn", skip=7, every=20),
    Fault(Hangup(), site="cdn", skip=11, every=20),
    Fault(Status(502), site="origin", kind="resolve", skip=3, every=20),
    Fault(Hangup(), site="origin", kind="resolve", skip=9, every=20),
)


def measure(options: Options) -> list[Finding]:
    """Time whole pulls, and divide ours by the best of the others that survives."""
    tell("bad line: resets 1 % a MB, 20 s stalls, cut bodies, 5xx, accept then close")
    spec = sharded_model("bench/bad-line", options.scaled(_SIZE), _SHARDS)
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.01, rate_total=_LINE))
        trials = hold_trials(options, Scene(hub, spec, folder, faults=_FAULTS))
    size = options.scaled(_SIZE) // 1_000_000
    times = times_of(f"{size} MB, resets, 20 s stalls, cut bodies, 5xx, closed connections", trials)
    against = against_the_best("the same: time / the best other's", times, target=1.1)
    return [times, against]


if __name__ == "__main__":
    run_alone(measure, __doc__)
