"""In which order the ranges of a blob arrived: what a source that lied must have sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfaria.rules.control_file import Range

BEFORE = 0.0
"""When bytes arrived that an earlier run brought."""
_MOST_RUNS = 4096


@dataclass(frozen=True, slots=True)
class Run:
    """A range that grew from where a connection began, and when its first bytes were seen."""

    start: int
    end: int
    first_seen: float


@dataclass(slots=True)
class _Growing:
    """A run in pieces."""

    first: int
    end: int
    first_seen: float


@dataclass(slots=True)
class Deliveries:
    """The runs of one blob, fed with the engine's bitfields.

    The unit is the engine's piece: what of one arrived in between isn't told. A run that grows up
    to where another began leaves that one as it is.
    """

    size: int
    piece_length: int
    _seen: int = 0
    """The pieces that have arrived, piece 0 in the lowest bit."""
    _runs: list[_Growing] = field(default_factory=list)
    _by_end: dict[int, int] = field(default_factory=dict)
    """Which of the runs ends before a piece."""

    def note_held(self, ranges: Iterable[Range]) -> None:
        """Count what an earlier run brought; a piece of which it brought a part, too."""
        length = self.piece_length
        for start, end in ranges:
            first, last = start // length, -(-end // length)
            self._add(_ones(first, last) & ~self._seen, BEFORE)

    def note_bitfield(self, bitfield: str, now: float) -> None:
        """Compare the engine's bitfield, in hex, with what was there before."""
        # The engine's bit 7 of byte 0 is piece 0.
        turned = bytes.fromhex(bitfield).translate(_TURNED)
        self._add(int.from_bytes(turned, "little") & ~self._seen, now)

    def note_end(self, now: float) -> None:
        """Count all that is left: the transfer is complete."""
        self._add(_ones(0, -(-self.size // self.piece_length)) & ~self._seen, now)

    def runs(self) -> tuple[Run, ...]:
        """Return the runs in the order in which they began to arrive."""
        length = self.piece_length
        runs = [
            Run(run.first * length, min(run.end * length, self.size), run.first_seen)
            for run in self._runs
        ]
        # Of those seen at once, the one at the front began first: the others wait for its headers.
        return tuple(sorted(runs, key=lambda run: (run.first_seen, run.start)))

    def _add(self, new: int, now: float) -> None:
        self._seen |= new
        at = 0
        while new:
            zeros = (new & -new).bit_length() - 1
            new >>= zeros
            ones = (~new & (new + 1)).bit_length() - 1
            new >>= ones
            self._grow(at + zeros, at + zeros + ones, now)
            at += zeros + ones

    def _grow(self, first: int, end: int, now: float) -> None:
        run = self._by_end.pop(first, None)
        if run is not None:
            self._runs[run].end = end
        elif len(self._runs) < _MOST_RUNS:  # a blob in more pieces is torn beyond telling
            run = len(self._runs)
            self._runs.append(_Growing(first, end, now))
        if run is not None:
            self._by_end[end] = run


def _ones(first: int, end: int) -> int:
    return (1 << max(end, first)) - (1 << first)


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
