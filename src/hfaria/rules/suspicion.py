"""Where to look for wrong bytes first, and when to look whether they are gone.

A source that lied once did so in what it sent first, since what is asked for later is another
answer, often another machine's. So ranges are compared with a second source in the order in which
they arrived, and the digest, which costs a reading of the whole file, ends the search early.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules.control_file import merge, subtract

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hfaria.rules.control_file import Range
    from hfaria.rules.deliveries import Run

_STEPS = 64  # with four under way, what is fetched in vain is about a sixteenth
_LEAST_STEP, _LARGEST_STEP = 1 << 18, 1 << 24
_CHECKS = 8  # at most so many readings of the file for what is compared between them


def order_of_suspicion(size: int, runs: Iterable[Run]) -> tuple[Range, ...]:
    """Return every byte once: the runs in the order of their arrival, then what no run tells of."""
    order: list[Range] = []
    for run in sorted(runs, key=lambda run: (run.first_seen, run.start)):
        order += subtract([(run.start, min(run.end, size))], order)
    order += subtract([(0, size)], order)
    return tuple(order)


def step_length(size: int) -> int:
    """Return how many bytes to compare at a time."""
    return min(max(size // _STEPS, _LEAST_STEP), _LARGEST_STEP)


@dataclass(frozen=True, slots=True)
class Step:
    """A range to compare, and which of the search's ranges it belongs to."""

    start: int
    end: int
    run: int


@dataclass(slots=True)
class Search:
    """A comparison under way: what is next, what differed, and when to check the digest.

    That is due at the first difference, and later at the end of each range that had one, or when
    an eighth of the file was compared since.
    """

    order: Sequence[Range]
    size: int
    _replaced: list[Range] = field(default_factory=list)
    _steps: deque[Step] = field(init=False)
    _left: dict[int, int] = field(init=False)
    """Bytes not yet compared of each of the ranges."""
    _differing: set[int] = field(default_factory=set)
    """Ranges with differences since the last check."""
    _compared: int = 0
    _is_first: bool = True

    def __post_init__(self) -> None:
        length = step_length(self.size)
        self._steps = deque(
            Step(at, min(at + length, end), run)
            for run, (start, end) in enumerate(self.order)
            for at in range(start, end, length)
        )
        self._left = {run: end - start for run, (start, end) in enumerate(self.order)}

    @property
    def left(self) -> tuple[Range, ...]:
        """What was not compared yet, in the same order."""
        return tuple((step.start, step.end) for step in self._steps)

    @property
    def is_over(self) -> bool:
        """Whether all is compared."""
        return not self._steps

    @property
    def has_unchecked(self) -> bool:
        """Whether something was replaced since the digest was looked at."""
        return bool(self._differing)

    @property
    def needs_check(self) -> bool:
        """Whether to stop comparing and look at the digest."""
        if not self._differing:
            return False
        return (
            self._is_first
            or self.is_over
            or self._compared >= self.size // _CHECKS
            or any(self._left[run] == 0 for run in self._differing)
        )

    def take(self) -> Step | None:
        """Return the next step, unless the digest is to be looked at before."""
        return self._steps.popleft() if self._steps and not self.needs_check else None

    def give_back(self, step: Step) -> None:
        """Put back a step that was not compared to its end."""
        self._steps.appendleft(step)

    def note_difference(self, step: Step, replaced: Range) -> None:
        """Count a difference as replaced, in the midst of a step."""
        self._replaced.append(replaced)
        self._differing.add(step.run)

    def note_compared(self, step: Step) -> None:
        """Count a step as compared."""
        self._compared += step.end - step.start
        self._left[step.run] -= step.end - step.start

    def note_checked(self) -> None:
        """Count the digest as looked at; it was wrong still."""
        self._is_first = False
        self._compared = 0
        self._differing.clear()

    def differences(self) -> tuple[Range, ...]:
        """Return what was replaced, in order of place."""
        return merge(self._replaced)


def differing_range(ours: bytes, theirs: bytes) -> Range | None:
    """Return the smallest range outside of which two texts of one length agree."""
    if ours == theirs:
        return None
    start = _common(ours, theirs)
    return start, len(ours) - _common(ours[::-1], theirs[::-1])


def _common(ours: bytes, theirs: bytes) -> int:
    """Return how many bytes two different texts of one length begin with in common."""
    low, high = 0, len(ours)
    while high - low > 1:
        middle = (low + high) // 2
        if ours[low:middle] == theirs[low:middle]:
            low = middle
        else:
            high = middle
    return low
