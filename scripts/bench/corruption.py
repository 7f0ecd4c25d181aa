"""Answers that are wrong: count the files with wrong content that a reader gets to see."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import Finding
from bench.rounds import interleave
from bench.running import RunningTool, ToolFailedError, workplace
from bench.tools import Job, Tool, environment
from loopback_hub import Fault, HubConfig, HubProcess, Portal, WrongBytes, sharded_model

if TYPE_CHECKING:
    from bench.options import Options

_SIZE = 60_000_000
_SHARDS = 4
_CASES = (
    ("one byte wrong, once a file", Fault(WrongBytes(500_000), kind="bytes", per="blob", first=1)),
    ("one byte wrong, always", Fault(WrongBytes(500_000), kind="bytes")),
    ("HTML in place of a file, once", Fault(Portal(), kind="bytes", per="blob", first=1)),
)


def measure(options: Options) -> list[Finding]:
    """Count wrong files in the destination when the tool has ended, however it ended."""
    tell("corruption: wrong answers")
    spec = sharded_model("bench/corrupt", _SIZE, _SHARDS)
    findings = []
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        home = folder / "home"
        for name, fault in _CASES:
            ends: dict[str, str] = {}

            def measured(
                tool: Tool, number: int, fault: Fault = fault, ends: dict[str, str] = ends
            ) -> float:
                dest = folder / f"{tool.name}-{number}".replace(" ", "-")
                job = Job(spec.repo_id, hub.url(), dest)
                hub.faults.clear()
                hub.faults.add(fault)
                environ = environment(job, home)
                with RunningTool(tool.command(job), environ=environ, log=home / "log") as run:
                    try:
                        run.finish()
                    except ToolFailedError:
                        ends[tool.name] = f"{tool.name} ended with {run.process.returncode}"
                    else:
                        ends[tool.name] = f"{tool.name} said that it is done"
                wrong = tool.count_wrong_files(job, spec, only_present=True)
                shutil.rmtree(dest, ignore_errors=True)
                return float(wrong)

            samples = interleave(options, measured)
            notes = (", ".join(ends.values()),)
            what = f"{name}: files with wrong content"
            findings.append(Finding(what, samples, target=0, digits=0, notes=notes))
    return findings


if __name__ == "__main__":
    run_alone(measure, __doc__)
