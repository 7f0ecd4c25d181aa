"""Rerun of a complete pull: count requests, and take the time until the prompt is back."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import Finding
from bench.rounds import Samples, interleave
from bench.running import RunningTool, workplace
from bench.tools import Job, Tool, environment
from loopback_hub import HubConfig, HubProcess, sharded_model

if TYPE_CHECKING:
    from bench.options import Options

_RERUNS = 10
_SIZE = 60_000_000
_SHARDS = 23


def measure(options: Options) -> list[Finding]:
    """Count requests and time the program, by branch and by commit."""
    tell(f"rerun: of a complete pull, median of {_RERUNS}")
    spec = sharded_model("bench/complete", _SIZE, _SHARDS)
    findings: list[Finding] = []
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        home = folder / "home"
        for name, revision, most in (("branch", "main", 1.0), ("commit", spec.commit_id, 0.0)):
            requests: Samples = {}

            def measured(
                tool: Tool, number: int, revision: str = revision, requests: Samples = requests
            ) -> float:
                dest = folder / tool.name.replace(" ", "-")
                job = Job(spec.repo_id, hub.url(), dest, revision=revision)
                environ = environment(job, home)
                if number == 0:
                    with RunningTool(tool.command(job), environ=environ, log=home / "log") as run:
                        run.finish()
                times = []
                for _ in range(_RERUNS):
                    hub.reset_records()
                    with RunningTool(tool.command(job), environ=environ, log=home / "log") as run:
                        times.append(run.finish())
                    count = float(len(hub.records))
                    requests[tool.name] = (*requests.get(tool.name, ()), count)
                return statistics.median(times)

            times = interleave(options, measured)
            findings += [
                Finding(f"rerun by {name}: requests", requests, target=most, digits=0),
                Finding(f"rerun by {name}: time", times, unit="s", target=0.4, digits=3),
            ]
    return findings


if __name__ == "__main__":
    run_alone(measure, __doc__)
