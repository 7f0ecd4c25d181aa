"""Kill -9 of everything after each fifth: count the bytes sent until the repo is there.

A run is killed, with all its children, when it was sent a fifth of the repo's size; after five
kills the next run may end. A tool that loses nothing needs 1.0 times the size, one that keeps
nothing 2.0 times, and one that also has to repair what it kept even more.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import Finding
from bench.rounds import interleave
from bench.running import RunningTool, workplace
from bench.tools import Job, Tool, environment
from loopback_hub import HubConfig, HubProcess, Shape, sharded_model

if TYPE_CHECKING:
    from pathlib import Path

    from bench.options import Options
    from loopback_hub import RepoSpec

_SIZE = 600_000_000
_SHARDS = 23
_LINE = 40e6
_KILLS = 5
_LOOK_SECONDS = 0.1
_QUIET_SECONDS = 0.5


def measure(options: Options) -> list[Finding]:
    """Count the bytes of files that the Hub sent over all runs, as a share of the repo's size."""
    tell("kills: -9 of everything after each fifth, 40 MB/s in all")
    spec = sharded_model("bench/killed", options.scaled(_SIZE), _SHARDS)
    wrong: dict[str, int] = {}
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.02, rate_total=_LINE))

        def measured(tool: Tool, number: int) -> float:
            dest = folder / f"{tool.name}-{number}".replace(" ", "-")
            job = Job(spec.repo_id, hub.url(), dest)
            sent = _pull_with_kills(tool, job, spec, hub, folder / "home")
            wrong[tool.name] = max(wrong.get(tool.name, 0), tool.count_wrong_files(job, spec))
            shutil.rmtree(dest)
            return sent / spec.head.total_size

        samples = interleave(options, measured)
    notes = tuple(
        f"{name} ended with {count} of {len(spec.head.files)} files wrong"
        for name, count in wrong.items()
        if count
    )
    size = spec.head.total_size // 1_000_000
    what = f"{size} MB, killed after each fifth, 40 MB/s: bytes sent / size"
    return [Finding(what, samples, unit="x", target=1.02, digits=3, notes=notes)]


def _pull_with_kills(tool: Tool, job: Job, spec: RepoSpec, hub: HubProcess, home: Path) -> int:
    share = spec.head.total_size // 5
    sent = 0
    for kills_left in range(_KILLS, -1, -1):
        hub.reset_records()
        environ = environment(job, home)
        with RunningTool(tool.command(job), environ=environ, log=home / "log") as run:
            if not kills_left:
                run.finish()
            while run.is_running():
                if hub.file_bytes_sent() >= share:
                    run.kill()
                time.sleep(_LOOK_SECONDS)
        is_done = run.process.returncode == 0
        time.sleep(_QUIET_SECONDS)  # until the Hub notices that nobody reads any more
        sent += hub.file_bytes_sent()
        if is_done:
            break
    return sent


if __name__ == "__main__":
    run_alone(measure, __doc__)
