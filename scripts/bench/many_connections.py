"""A link that is slow per connection: compare with bare aria2c, which verifies nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import OURS, Finding, ratio
from bench.rounds import time_pulls
from bench.running import workplace
from loopback_hub import HubConfig, HubProcess, Shape, sharded_model

if TYPE_CHECKING:
    from bench.options import Options

_SIZE = 600_000_000
_SHARDS = 23
_SHAPE = Shape(latency_seconds=0.06, rate_per_connection=4e6)
_CONNECTIONS = 8
_JOBS = 4


def measure(options: Options) -> list[Finding]:
    """Time whole pulls, and divide by the time of the bare aria2c script."""
    tell(f"many connections: 4 MB/s each, 60 ms, -x {_CONNECTIONS} -j {_JOBS}")
    spec = sharded_model("bench/sharded", options.scaled(_SIZE), _SHARDS)
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, _SHAPE)
        samples = time_pulls(options, hub, spec, folder, connections=_CONNECTIONS, jobs=_JOBS)
    what = f"{options.scaled(_SIZE) // 1_000_000} MB in {_SHARDS} files, 4 MB/s per connection"
    times = Finding(f"{what}, 60 ms", samples, unit="s")
    tools = (OURS, "hf download", "hubdl")
    against = ratio(
        "the same: time / aria2c script's time", times, to="aria2c script", target=1.15, tools=tools
    )
    return [times, against]


if __name__ == "__main__":
    run_alone(measure, __doc__)
