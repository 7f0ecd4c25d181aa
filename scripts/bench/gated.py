"""A gated repo through a mirror: count at each site who gets to see the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import Finding
from bench.rounds import interleave
from bench.running import RunningTool, ToolFailedError, workplace
from bench.tools import Job, Tool, environment
from loopback_hub import GOOD_TOKEN, Generated, HubConfig, HubProcess, repo

if TYPE_CHECKING:
    from pathlib import Path

    from bench.options import Options
    from loopback_hub import Content

_FILES: dict[str, Content | bytes | str | Path] = {
    "config.json": b'{"model_type": "llama"}',
    "model-1.safetensors": Generated(1, 20_000_000),
    "model-2.safetensors": Generated(2, 20_000_000),
}
_SITES = ("origin", "mirror", "cdn")


def measure(options: Options) -> list[Finding]:
    """Count the requests that carried the token, by site, over a whole pull."""
    tell("gated: a token, and a mirror as the endpoint")
    spec = repo("bench/gated", _FILES, gated="auto")
    seen: dict[str, dict[str, tuple[float, ...]]] = {site: {} for site in _SITES}
    notes: list[str] = []
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        home = folder / "home"

        def measured(tool: Tool, number: int) -> float:
            dest = folder / f"{tool.name}-{number}".replace(" ", "-")
            job = Job(
                spec.repo_id, hub.url("mirror"), dest, origin=hub.url("origin"), token=GOOD_TOKEN
            )
            hub.reset_records()
            environ = environment(job, home)
            with RunningTool(tool.command(job), environ=environ, log=home / "log") as run:
                try:
                    run.finish()
                except ToolFailedError:
                    notes.append(f"{tool.name} could not fetch it")
            for site in _SITES:
                count = float(len(hub.requests_with_token(site)))
                seen[site][tool.name] = (*seen[site].get(tool.name, ()), count)
            return float(tool.count_wrong_files(job, spec))

        # The script knows no token.
        tools = [name for name in options.tools if name != "aria2c script"]
        wrong = interleave(options.only(tools), measured)
    what = "gated repo through a mirror"
    return [
        Finding(f"{what}: files missing at the end", wrong, target=0, digits=0, notes=tuple(notes)),
        Finding(f"{what}: requests with the token, at the origin", seen["origin"], digits=0),
        Finding(f"{what}: at the mirror", seen["mirror"], target=0, digits=0),
        Finding(f"{what}: at the CDN", seen["cdn"], target=0, digits=0),
    ]


if __name__ == "__main__":
    run_alone(measure, __doc__)
