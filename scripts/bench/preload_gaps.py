"""How busy a preload keeps the line from one repo to the next, beside one repo of as much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.preload_set import Machine
from bench.results import OURS, Finding
from bench.running import workplace
from loopback_hub import Generated, HubConfig, HubProcess, Shape, repo

if TYPE_CHECKING:
    from bench.options import Options

_LINE = 50e6
_SIZE = 200_000_000
_REPOS = 5


def measure(options: Options) -> list[Finding]:
    """Time five repos of one large file each, and one repo of the same five files."""
    size = options.scaled(_SIZE)
    tell(f"preload gaps: {_REPOS} repos of {size // 1_000_000} MB at {_LINE / 1e6:.0f} MB/s")
    files = {f"part-{n}.safetensors": Generated(n + 1, size) for n in range(_REPOS)}
    several = tuple(repo(f"bench/one-{name[5]}", {name: file}) for name, file in files.items())
    together = repo("bench/together", files)
    apart: list[float] = []
    whole: list[float] = []
    with HubProcess(HubConfig(repos=(*several, together))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.04, rate_total=_LINE))
        for number in range(options.rounds):
            for name, specs, times in (("apart", several, apart), ("whole", (together,), whole)):
                machine = Machine(folder / f"{name}-{number}", hub)
                machine.write_manifest(specs)
                times.append(machine.run("preload"))
                tell(f"  round {number + 1}, {name}: {times[-1]:.2f} s")
    gaps = tuple((a - b) / (_REPOS - 1) for a, b in zip(apart, whole, strict=True))
    return [
        Finding(f"preload of {_REPOS} repos: time", {OURS: tuple(apart)}, unit="s"),
        Finding("preload of one repo with the same files: time", {OURS: tuple(whole)}, unit="s"),
        Finding("preload: time lost between two repos", {OURS: gaps}, unit="s", digits=3),
    ]


if __name__ == "__main__":
    run_alone(measure, __doc__)
