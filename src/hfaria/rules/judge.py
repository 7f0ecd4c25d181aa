"""What a failure means: for the transfer that met it, and for the route that it came from."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.rules.choice import candidates
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.flight import Phase

if TYPE_CHECKING:
    from hfaria.rules import transfers as t
    from hfaria.rules.flight import Flight
    from hfaria.rules.retry import RetryPolicy
    from hfaria.rules.route_health import RouteBook

_MOST_REFUSED_SIGNATURES, _WORTH_A_WAIT = 4, 2
_FRESH_SECONDS = 1.0
_MOST_STALLS = 2
_MOST_REUSES = 2
_USELESS = frozenset({Reason.WRONG_CONTENT, Reason.WRONG_LENGTH, Reason.RANGE_IGNORED})
_CANT_CONTINUE = frozenset({Reason.RANGE_IGNORED, Reason.WRONG_LENGTH})
# The connections broke, not the location: it need not be asked for again.
_KEEPS_LOCATION = frozenset({Reason.TRANSPORT, Reason.TIMEOUT, Reason.STALLED})


class Verdict(enum.Enum):
    """What becomes of a transfer."""

    TRY_AGAIN = enum.auto()
    GO_ON_THERE = enum.auto()
    """Try again at the location that is known."""
    BEGIN_ANEW = enum.auto()
    """Try again, without what is staged."""
    MEND = enum.auto()
    """Compare what is staged with other bytes."""
    GIVE_UP = enum.auto()


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges failures and wrong bytes, and notes them in the flight and in the book."""

    book: RouteBook
    policy: RetryPolicy

    def of_failure(
        self, flight: Flight, failure: Failure, *, now: float, got_on_at: float
    ) -> tuple[Verdict, list[t.Command]]:
        """Judge an attempt that brought less than all; ``got_on_at``: when anybody last got on."""
        index, reason = flight.route, failure.reason
        flight.last_failures[index] = failure
        if flight.phase is not Phase.LOCATING and not flight.is_mending:
            flight.served |= {index, *flight.sources}  # it may have brought a part
        is_useless = reason in _USELESS
        flight.useless_at[index] = flight.useless_at.get(index, 0) + 1 if is_useless else 0
        # Whatever was under way when the line broke fails with it: an outage costs nobody a try.
        is_outage = reason.is_of_the_line and self.book.is_out_of_reach(index)
        # One that lay about before it was used may have grown too old; without one, the attempt
        # itself asked for it.
        age = 0.0 if flight.location is None else flight.began_at - flight.located_at
        was_fresh = age <= _FRESH_SECONDS
        refused = 0
        if reason is Reason.EXPIRED:
            refused = flight.refused_at[index] = flight.refused_at.get(index, 0) + was_fresh
        is_final = reason.is_final_here or refused >= _MOST_REFUSED_SIGNATURES
        if is_final:
            flight.excluded.add(index)
        left = candidates(flight, self.book)
        commands: list[t.Command] = []
        if reason is Reason.RATE_LIMITED:
            wait = self.policy.wait_seconds(self._count(flight, index))
            if failure.retry_after_seconds is not None:
                wait = max(failure.retry_after_seconds, self.policy.first_wait_seconds)
            # Others would meet the same limit at this endpoint.
            self.book.hold(index, now + wait, failure)
        elif is_final or (reason is Reason.EXPIRED and refused < _WORTH_A_WAIT):
            pass  # ask others, or for another signature, at once
        else:
            # A CDN that is out of reach says nothing of the endpoint that leads there.
            was_endpoint = flight.phase is Phase.LOCATING or flight.location is None
            if was_endpoint or reason is not Reason.UNREACHABLE:
                name = flight.transfer.blob_name
                commands = self.book.failed(index, name, failure, now, has_moved=flight.has_moved)
            wait = 0.0
            if not is_outage:
                flight.lone_failures += got_on_at > flight.failed_at
                wait = self._wait_seconds(flight, failure, has_others=len(left) > 1)
            flight.avoided[index] = now + wait
        flight.failed_at = now
        return self._verdict(flight, reason, left), commands

    def _verdict(self, flight: Flight, reason: Reason, left: set[int]) -> Verdict:
        if not left or flight.lone_failures > self.policy.tries * len(left):
            return Verdict.GIVE_UP
        was_moving = flight.phase is not Phase.LOCATING and not flight.is_mending
        if was_moving and reason in _CANT_CONTINUE:
            # Each route said it twice: no passing fault of a proxy.
            is_certain = all(flight.failures_at.get(at, 0) > 1 for at in left)
            return Verdict.BEGIN_ANEW if is_certain else Verdict.TRY_AGAIN
        if flight.has_moved and reason in _KEEPS_LOCATION and flight.reuses < _MOST_REUSES:
            return Verdict.GO_ON_THERE
        return Verdict.TRY_AGAIN

    def of_mismatch(
        self, flight: Flight, event: t.Mismatched, *, now: float
    ) -> tuple[Verdict, Failure]:
        """Judge bytes whose digest is wrong: whom to suspect, and whom to ask instead."""
        flight.mismatches += 1
        # After mending, all bytes are those of the last route.
        served = {flight.route} if flight.is_mending or not flight.served else flight.served
        hosts = ", ".join(self.book.host(at) for at in sorted(served))
        failure = Failure(Reason.MISMATCH, f"{event.detail}, from {hosts}")
        if len(served) == 1:
            [liar] = served
            flight.wrong_at[liar] = flight.wrong_at.get(liar, 0) + 1
        for index in served:
            flight.last_failures[index] = failure
            flight.avoided[index] = now + self.policy.wait_seconds(flight.mismatches)
        can_be_mended = flight.is_large and event.can_be_mended
        flight.is_unmixed = flight.is_unmixed or len(served) > 1
        flight.served = served if can_be_mended else set()
        # Once may have been chance, wherever it was, even if two sent the same.
        left = candidates(flight, self.book)
        if flight.mismatches > self.policy.refetches * len(left):
            flight.excluded |= flight.liars
        if left <= flight.excluded:
            return Verdict.GIVE_UP, failure
        return Verdict.MEND if can_be_mended else Verdict.BEGIN_ANEW, failure

    def _count(self, flight: Flight, index: int) -> int:
        flight.failures_at[index] = flight.failures_at.get(index, 0) + 1
        return flight.failures_at[index]

    def _wait_seconds(self, flight: Flight, failure: Failure, *, has_others: bool) -> float:
        """Return how long others are preferred; where there are none, this is the wait."""
        # One that brought bytes is asked at once for more, and no longer waited for than before.
        count = 0 if flight.has_moved else self._count(flight, flight.route)
        wait = self.policy.wait_seconds(count)
        if failure.retry_after_seconds is not None:
            wait = max(wait, failure.retry_after_seconds)
        if failure.reason.is_silence:
            stalls = flight.stalls_at[flight.route] = flight.stalls_at.get(flight.route, 0) + 1
            if stalls >= _MOST_STALLS and has_others:
                wait = self.policy.longest_wait_seconds  # though each time a few bytes came
        return wait
