"""Transfers that nobody has begun, and how many of them may begin now."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules.flight import Flight, Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hfaria.rules.plan import Transfer
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.window import Window


@dataclass(slots=True)
class Pending:
    """Two queues, of large and of small transfers, each in its order."""

    window: Window
    policy: RetryPolicy
    _queues: dict[bool, deque[Transfer]] = field(init=False)

    def __post_init__(self) -> None:
        self._queues = {True: deque(), False: deque()}

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, transfers: Iterable[Transfer]) -> None:
        """Put transfers at the end of their queues."""
        for transfer in transfers:
            self._queues[self.window.is_large(transfer)].append(transfer)

    def take_all(self) -> list[Transfer]:
        """Empty both queues."""
        taken = [*self._queues[True], *self._queues[False]]
        for each in self._queues.values():
            each.clear()
        return taken

    def take(self, flights: Collection[Flight], now: float) -> list[Flight]:
        """Return flights for those that may begin, beside the ones that are under way.

        As many again as can move are located in advance, so that no slot waits for an answer; a
        heap of unverified ones means that the disk is the bottleneck. Those that wait for their
        next attempt leave room for others, which may be luckier, as long as they are few.
        """
        moving = count(flights, Phase.MOVING, Phase.CANCELLING)
        ahead = count(flights, Phase.LOCATING, Phase.LOCATED)
        waiting = count(flights, Phase.WAITING)
        unverified = count(flights, Phase.CHECKING)
        begun: list[Flight] = []
        for is_large, jobs in ((True, self.window.jobs), (False, self.window.small_queue)):
            room = 2 * jobs - moving[is_large] - ahead[is_large]
            room = min(room, 4 * jobs - unverified[is_large], 4 * jobs - waiting[is_large])
            queue = self._queues[is_large]
            while queue and room > 0:
                begun.append(self._flight(queue.popleft(), is_large=is_large, now=now))
                room -= 1
        return begun

    def _flight(self, transfer: Transfer, *, is_large: bool, now: float) -> Flight:
        return Flight(
            transfer,
            is_large,
            ready_at=now,
            stall_seconds=self.policy.quick_stall_seconds,
            failed_at=now,
            moved_at=now,
        )


def count_places(flights: Collection[Flight]) -> Counter[bool]:
    """Count the places in the window that are taken, by large and by small flights.

    One that is located anew at once keeps its place: its location may not last. One that lacks
    only its last bytes gives it up, since those don't fill a line, nor do the first bytes of the
    next one; but a single one at a time, so that never more than one is under way in excess.
    """
    taken = count(flights, Phase.MOVING, Phase.CANCELLING)
    taken += Counter(flight.is_large for flight in flights if flight.keeps_place)
    is_one_ending = any(each.phase is Phase.MOVING and each.lacks_little for each in flights)
    taken[True] -= is_one_ending
    return taken


def count(flights: Iterable[Flight], *phases: Phase) -> Counter[bool]:
    """Count the flights in these phases, the large and the small ones."""
    return Counter(flight.is_large for flight in flights if flight.phase in phases)
