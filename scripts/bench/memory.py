"""The memory of the tool, its engine left out, on a listing of 100,000 files."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import Finding
from bench.rounds import interleave
from bench.running import PeakMemory, RunningTool, workplace
from bench.tools import Job, Tool, environment
from loopback_hub import HubConfig, HubProcess, many_small_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.options import Options

_COUNT = 100_000
_TARGET = 150.0
_ONE_FILE = "part-0000/file-000000.txt"


def measure(options: Options) -> list[Finding]:
    """Take the peak resident size of a dry run, and of a pull of one file."""
    count = options.scaled(_COUNT)
    tell(f"memory: a listing of {count} files")
    spec = many_small_files("bench/listing", count, 100)
    # Where a tool has no such case, it would fetch: `hf download --dry-run` asks for each file.
    one_file = ("--include", _ONE_FILE)
    cases: tuple[tuple[str, Mapping[str, tuple[str, ...]]], ...] = (
        ("dry run as JSON", {"hfaria": ("--dry-run", "--json")}),
        ("dry run", {"hfaria": ("--dry-run",)}),
        ("pull of one file by pattern", {"hfaria": one_file, "hf download": one_file}),
    )
    findings = []
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for name, arguments in cases:

            def measured(
                tool: Tool, number: int, arguments: Mapping[str, tuple[str, ...]] = arguments
            ) -> float:
                dest = folder / f"{tool.name}-{number}".replace(" ", "-")
                job = Job(spec.repo_id, hub.url(), dest)
                command = [*tool.command(job), *arguments[tool.name]]
                peak = _peak_of(command, environment(job, folder / "home"), folder / "log")
                shutil.rmtree(dest, ignore_errors=True)
                return peak / 1e6

            chosen = [tool for tool in options.tools if tool in arguments]
            samples = interleave(options.only(chosen), measured)
            what = f"{count} files listed, {name}: peak memory"
            findings.append(Finding(what, samples, unit="MB", target=_TARGET, digits=0))
    return findings


def _peak_of(command: list[str], environ: dict[str, str], log: Path) -> int:
    with RunningTool(command, environ=environ, log=log) as run:
        peak = PeakMemory(run.process.pid)
        run.finish()
    return peak.join()


if __name__ == "__main__":
    run_alone(measure, __doc__)
