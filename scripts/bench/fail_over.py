"""The mirror dies for good amid a file of 500 MB: take the time until bytes come from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.results import OURS
from bench.running import workplace
from bench.trials import FAILED, Scene, Trial, findings_of, hold_trials, times_of
from loopback_hub import Fault, HubConfig, HubProcess, Refuse, Shape, generated_repo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.options import Options
    from bench.results import Finding
    from bench.trials import Trials

_SIZE = 500_000_000
_LINE = 50e6
_LIMIT_SECONDS = 60.0


def measure(options: Options) -> list[Finding]:
    """Take the seconds until the second sends, and the bytes sent in all."""
    tell("fail-over: the mirror dies at half of the file")
    size = options.scaled(_SIZE)
    spec = generated_repo("bench/dies", [("model.safetensors", size)])
    faults = (Fault(Refuse(after=size // 2), site="mirror"),)
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        hub.add_mirror("second")
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.02, rate_total=options.scaled(int(_LINE))))
        scene = Scene(
            hub,
            spec,
            folder,
            endpoints=("mirror",),
            faults=faults,
            is_watched=True,
            limit_seconds=_LIMIT_SECONDS,
        )
        to_origin = hold_trials(options, scene)
        tell("  with a second mirror named")
        # Both send from the start, so that the first is at its end later.
        dies = (Fault(Refuse(after=size // 4), site="mirror"),)
        both = ("mirror", "second")
        scene = replace(scene, endpoints=both, faults=dies)
        to_second = hold_trials(options.only([OURS]), scene)
    what = f"one file of {size // 1_000_000} MB, the mirror dies at half"
    return [
        *_findings(f"{what}, the origin stays", to_origin),
        *_findings(f"{what}, another mirror stays", to_second),
    ]


def _findings(what: str, trials: Trials) -> list[Finding]:
    return [
        times_of(what, trials),
        findings_of(
            f"{what}: seconds until bytes come from elsewhere",
            trials,
            seconds_without_bytes,
            unit="s",
            target=5.0,
        ),
        findings_of(
            f"{what}: bytes sent / size",
            trials,
            lambda trial: trial.sent_share,
            unit="x",
            target=1.02,
            digits=3,
        ),
    ]


def seconds_without_bytes(trial: Trial) -> float:
    """Return how long after the mirror's last byte the first one came from another site."""
    sightings = trial.sightings
    last = sightings[-1].sent["mirror"] if sightings else 0
    died = next((number for number, one in enumerate(sightings) if one.sent["mirror"] >= last), 0)
    at_death = sightings[died]
    others = _sent_elsewhere(at_death.sent)
    for one in sightings[died + 1 :]:
        if _sent_elsewhere(one.sent) > others:
            return one.seconds - at_death.seconds
    return FAILED


def _sent_elsewhere(sent: Mapping[str, int]) -> int:
    return sum(count for site, count in sent.items() if site != "mirror")


if __name__ == "__main__":
    run_alone(measure, __doc__)
