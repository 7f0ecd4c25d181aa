"""What a benchmark found, and the table that shows it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OURS = "hfaria"
TOOL_NAMES = (OURS, "hf download", "hubdl", "aria2c script")


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured quantity; less is better. ``samples`` holds one value per round by tool.

    An infinite one is of a run that failed.
    """

    what: str
    samples: Mapping[str, tuple[float, ...]]
    unit: str = ""
    target: float | None = None
    digits: int = 2
    notes: tuple[str, ...] = field(default=())

    def median(self, tool: str) -> float | None:
        """Return a tool's median, or None if it was not measured."""
        values = self.samples.get(tool)
        return statistics.median(values) if values else None

    @property
    def is_met(self) -> bool | None:
        """Whether hfaria's median reaches the target; None without one."""
        median = self.median(OURS)
        if self.target is None or median is None:
            return None
        return median <= self.target

    def as_json(self) -> dict[str, object]:
        """Return everything, for a file."""
        return {
            "what": self.what,
            "unit": self.unit,
            "target": self.target,
            "is_met": self.is_met,
            "medians": {tool: _finite(self.median(tool)) for tool in self.samples},
            "samples": {tool: [*map(_finite, values)] for tool, values in self.samples.items()},
            "notes": list(self.notes),
        }


def ratio(
    what: str, times: Finding, *, to: str, target: float | None, tools: Iterable[str] = TOOL_NAMES
) -> Finding:
    """Divide each round's values by those of the tool ``to`` in the same round."""
    base = times.samples.get(to, ())
    samples = {
        tool: tuple(value / other for value, other in zip(times.samples[tool], base, strict=True))
        for tool in tools
        if tool in times.samples and base
    }
    return Finding(what, samples, unit="x", target=target, digits=3)


def markdown(findings: Iterable[Finding]) -> str:
    """Return the findings as one table of medians."""
    rows = [["what", "target", *TOOL_NAMES]]
    rows += [
        [
            finding.what,
            "" if finding.target is None else f"≤ {_number(finding, finding.target)}",
            *(_cell(finding, tool) for tool in TOOL_NAMES),
        ]
        for finding in findings
    ]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(finding: Finding, tool: str) -> str:
    median = finding.median(tool)
    if median is None:
        return "-"
    mark = " (unmet)" if tool == OURS and finding.is_met is False else ""
    return _number(finding, median) + mark


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def _number(finding: Finding, value: float) -> str:
    if math.isinf(value):
        return "fails"
    text = f"{value:.{finding.digits}f}"
    return f"{text} {finding.unit}".strip()
