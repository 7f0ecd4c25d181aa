"""Rounds: every tool pulls the same repo afresh, one after the other, several times over."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench.options import tell
from bench.running import RunningTool, ToolFailedError
from bench.tools import Job, Tool, environment, select

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.options import Options
    from loopback_hub import HubProcess, RepoSpec

Samples = dict[str, tuple[float, ...]]


def interleave(options: Options, measure: Callable[[Tool, int], float]) -> Samples:
    """Call ``measure`` for A B A B …, so that a busy machine is busy for all tools."""
    samples: Samples = {}
    tools = select(options.tools)
    for number in range(options.rounds):
        for tool in tools:
            value = measure(tool, number)
            samples[tool.name] = (*samples.get(tool.name, ()), value)
            tell(f"  round {number + 1}: {tool.name}: {value:.3f}")
    return samples


def time_pulls(
    options: Options, hub: HubProcess, spec: RepoSpec, folder: Path, *, connections: int, jobs: int
) -> Samples:
    """Return the seconds of whole pulls, from the start of the program to its end."""

    def measure(tool: Tool, number: int) -> float:
        dest = folder / f"{tool.name}-{number}".replace(" ", "-")
        job = Job(spec.repo_id, hub.url(), dest, connections=connections, jobs=jobs)
        hub.reset_records()
        home = folder / "home"
        environ = environment(job, home)
        with RunningTool(tool.command(job), environ=environ, log=home / "log") as run:
            seconds = run.finish()
        wrong = tool.count_wrong_files(job, spec)
        if wrong:
            raise ToolFailedError(f"{tool.name} said that it is done, but {wrong} files are wrong")
        shutil.rmtree(dest)
        return seconds

    return interleave(options, measure)
