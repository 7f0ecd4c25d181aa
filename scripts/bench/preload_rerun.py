"""A preload of what is in place: the time until the prompt is back, and requests."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.preload_set import Machine, five_repos
from bench.results import OURS, Finding
from bench.running import workplace
from loopback_hub import HubConfig, HubProcess

if TYPE_CHECKING:
    from bench.options import Options

_RERUNS = 10


def measure(options: Options) -> list[Finding]:
    """Time the program, and count requests."""
    tell(f"preload rerun: five repos in place, median of {_RERUNS}")
    specs, _ = five_repos(options)
    times: dict[str, list[float]] = {}
    requests: dict[str, list[float]] = {}
    with HubProcess(HubConfig(repos=specs)) as hub, workplace(options) as folder:
        machine = Machine(folder / "machine", hub)
        machine.write_manifest(specs)
        machine.run("preload")
        for _ in range(options.rounds):
            for flag in ("--frozen", "--locked"):
                hub.reset_records()
                taken = [machine.run("preload", flag, "-q") for _ in range(_RERUNS)]
                times.setdefault(flag, []).append(statistics.median(taken))
                requests.setdefault(flag, []).append(float(len(hub.records)))
                tell(f"  {flag}: {times[flag][-1]:.3f} s")
    findings: list[Finding] = []
    for flag, seconds in times.items():
        findings += [
            Finding(
                f"preload {flag}, all in place: time",
                {OURS: tuple(seconds)},
                unit="s",
                target=0.6,
                digits=3,
            ),
            Finding(
                f"preload {flag}, all in place: requests",
                {OURS: tuple(requests[flag])},
                target=0.0,
                digits=0,
            ),
        ]
    return findings


if __name__ == "__main__":
    run_alone(measure, __doc__)
