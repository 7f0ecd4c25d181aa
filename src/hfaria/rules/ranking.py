"""In which order endpoints are best asked, and why: one phrase for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfaria.rules.standing import Age

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfaria.rules.probe import Probe

_TYPICAL_SIZE = 1e9
_TYPICAL_REQUESTS = 50
_CLEARLY = 1.25
"""Measured rates vary; below this factor the order that the user named stands."""
# What is behind lacks the files that changed; what ignores ranges begins again after a fault.
_BEHIND, _NO_RANGES = 2.0, 4.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A probe in its place, from 1; None for what can't serve the repo."""

    probe: Probe
    place: int | None
    why: str


def rank(probes: Sequence[Probe]) -> tuple[Ranked, ...]:
    """Order endpoints by how long a pull of 1 GB would take there; what can't serve comes last.

    ``probes`` come in the user's order, which stands between those that are about equal.
    """
    ordered: list[Probe] = []
    for probe in (probe for probe in probes if probe.can_serve):
        at = len(ordered)
        while at and _is_clearly_better(probe, ordered[at - 1]):
            at -= 1
        ordered.insert(at, probe)
    placed = [
        Ranked(probe, number, _why(probe, number, ordered))
        for number, probe in enumerate(ordered, start=1)
    ]
    refused = [Ranked(probe, None, probe.problem or "") for probe in probes if not probe.can_serve]
    return (*placed, *refused)


def expected_seconds(probe: Probe) -> float | None:
    """Return how long a pull of 1 GB would take, faults and missing files allowed for."""
    if probe.rate is None:
        return None
    seconds = _TYPICAL_SIZE / probe.rate + _TYPICAL_REQUESTS * (probe.latency_seconds or 0.0)
    if probe.standing.age is Age.BEHIND:
        seconds *= _BEHIND
    if probe.honours_ranges is False:
        seconds *= _NO_RANGES
    return seconds


def note_differing_bytes(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return the probes, with a problem for each whose sample is not what the best source sent.

    For each content that is the origin, or else the first that sampled it.
    """
    spoken: dict[tuple[str, int], Probe] = {}
    for probe in sorted(probes, key=lambda probe: not probe.is_origin):
        if probe.can_serve and probe.sample is not None and probe.sample.digest is not None:
            spoken.setdefault((probe.sample.blob_name, probe.sample.size), probe)
    return tuple(_compared(probe, spoken) for probe in probes)


def _compared(probe: Probe, spoken: Mapping[tuple[str, int], Probe]) -> Probe:
    sample = probe.sample
    if not probe.can_serve or sample is None or sample.digest is None:
        return probe
    first = spoken[sample.blob_name, sample.size]
    if first.sample is not None and first.sample.digest != sample.digest:
        problem = f"serves other bytes of `{sample.path}` than {first.endpoint.host}"
        return replace(probe, problem=problem)
    return probe


def _is_clearly_better(probe: Probe, other: Probe) -> bool:
    mine, its = expected_seconds(probe), expected_seconds(other)
    if mine is None or its is None:
        return mine is not None
    return mine * _CLEARLY < its


def _why(probe: Probe, place: int, ordered: Sequence[Probe]) -> str:
    if len(ordered) == 1:
        return "the only one that can serve it"
    mine, first = expected_seconds(probe), expected_seconds(ordered[0])
    if place == 1:
        others = [one for other in ordered[1:] if (one := expected_seconds(other)) is not None]
        if mine is None or any(one < mine * _CLEARLY for one in others):
            return f"as good as any, and named first{_though(probe)}"
        return f"fastest{_though(probe)}"
    if mine is None or first is None:
        return f"its rate is not known{_though(probe)}"
    if mine < first * _CLEARLY:
        return f"about as fast, and named later{_though(probe)}"
    if _though(probe):
        return _though(probe).removeprefix(", though ")
    return f"{mine / first:.1f} times slower"


def _though(probe: Probe) -> str:
    if probe.honours_ranges is False:
        return ", though it can't continue inside a file"
    if probe.standing.age is Age.BEHIND:
        return f", though {probe.standing}"
    return ""
