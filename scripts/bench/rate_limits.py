"""60 API and 200 resolve requests in 10 s, 429 beyond: 400 files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.running import workplace
from bench.trials import Scene, findings_of, hold_trials, times_of
from loopback_hub import Fault, HubConfig, HubProcess, RateLimit, Shape, generated_repo

if TYPE_CHECKING:
    from bench.options import Options
    from bench.results import Finding

_COUNT = 400
_FILE_SIZE = 100_000
_TARGET_SECONDS = 23.0
_FAULTS = (
    Fault(RateLimit(60, 10.0, "api"), site="origin", kind="api"),
    Fault(RateLimit(200, 10.0, "resolvers"), site="origin", kind="resolve"),
)


def measure(options: Options) -> list[Finding]:
    """Time whole pulls, and take the share of answers that are 429."""
    count = options.scaled(_COUNT)
    tell(f"rate limits: {count} files, 60 API and 200 resolve requests in 10 s")
    files = [(f"part-{n:03d}.{'bin' if n % 2 else 'txt'}", _FILE_SIZE) for n in range(count)]
    spec = generated_repo("bench/limited", files)
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.02))
        trials = hold_trials(options, Scene(hub, spec, folder, faults=_FAULTS))
    what = f"{count} files, 60 API and 200 resolve requests in 10 s"
    return [
        times_of(what, trials, target=_TARGET_SECONDS),
        findings_of(
            "the same: share of answers that are 429",
            trials,
            lambda trial: trial.limited_share,
            target=0.02,
            digits=3,
        ),
    ]


if __name__ == "__main__":
    run_alone(measure, __doc__)
