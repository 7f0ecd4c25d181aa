"""Two mirrors at 2 MB/s each: one file from both, beside the same from one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import OURS, Finding
from bench.running import workplace
from bench.trials import FAILED, Scene, hold_trials, times_of
from loopback_hub import HubConfig, HubProcess, Shape, generated_repo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.options import Options

_SIZE = 200_000_000
_LINE = 2e6


def measure(options: Options) -> list[Finding]:
    """Time whole pulls from one and from both, in turns, and divide."""
    tell("two mirrors: 2 MB/s each")
    spec = generated_repo("bench/two", [("model.safetensors", options.scaled(_SIZE))])
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        hub.add_mirror("second")
        for site in ("mirror", "second"):
            hub.shape(site, Shape(latency_seconds=0.02, rate_total=_LINE))
        # The others take one endpoint, whose line is all they could fill.
        ours = options.only([name for name in options.tools if name == OURS])
        one = hold_trials(ours, Scene(hub, spec, folder, endpoints=("mirror",)))
        tell("  from both")
        both = hold_trials(ours, Scene(hub, spec, folder, endpoints=("mirror", "second")))
    size = options.scaled(_SIZE) // 1_000_000
    times = times_of(f"one file of {size} MB, a mirror of 2 MB/s", one)
    halved = times_of("the same from two such mirrors", both)
    shares = [
        after / before if FAILED not in {before, after} else FAILED
        for before, after in zip(
            times.samples.get(OURS, ()), halved.samples.get(OURS, ()), strict=True
        )
    ]
    what = "the same: time from two / time from one"
    ratio = Finding(what, {OURS: tuple(shares)}, unit="x", target=1 / 1.9, digits=3)
    astray = {name: tuple(_astray(t.sent) for t in held) for name, held in both.items()}
    return [
        times,
        halved,
        ratio,
        Finding("the same: bytes from the origin, not asked for", astray, target=0, digits=0),
    ]


def _astray(sent: Mapping[str, int]) -> float:
    return float(sent["origin"] + sent["cdn"])


if __name__ == "__main__":
    run_alone(measure, __doc__)
