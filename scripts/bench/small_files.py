"""Thousands of small files on a link with latency: each costs a round trip or several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import OURS, Finding, ratio
from bench.rounds import time_pulls
from bench.running import workplace
from bench.tools import CONNECTIONS, JOBS
from loopback_hub import HubConfig, HubProcess, Shape, many_small_files

if TYPE_CHECKING:
    from bench.options import Options

_COUNT = 3000
_FILE_SIZE = 2000
_SHAPE = Shape(latency_seconds=0.08)


def measure(options: Options) -> list[Finding]:
    """Time whole pulls, and divide by the time of `hf download`."""
    count = options.scaled(_COUNT)
    tell(f"small files: {count} of {_FILE_SIZE} bytes, 80 ms")
    spec = many_small_files("bench/small", count, _FILE_SIZE)
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, _SHAPE)
        samples = time_pulls(options, hub, spec, folder, connections=CONNECTIONS, jobs=JOBS)
    times = Finding(f"{count} files of 2 kB, 80 ms", samples, unit="s")
    tools = (OURS, "hubdl", "aria2c script")
    against = ratio(
        "the same: time / `hf download`'s time", times, to="hf download", target=1 / 6, tools=tools
    )
    return [times, against]


if __name__ == "__main__":
    run_alone(measure, __doc__)
