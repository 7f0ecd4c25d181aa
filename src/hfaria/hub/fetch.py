"""Fetch bytes with our own client: in order, resumable, unverified.

Small files, for which one connection is enough, and whatever an endpoint gives only to a request
with the token, which the engine must never see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.errors import HubError
from hfaria.hub.failed_requests import RequestFailed, failure_of
from hfaria.hub.ranges import PARTIAL, unusable
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.preflight import LARGEST_WHOLE_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfaria.hub.client import HubClient
    from hfaria.rules.endpoints import Endpoint


def fetch_direct(
    client: HubClient,
    url: str,
    into: Path,
    *,
    size: int,
    endpoint: Endpoint,
    on_bytes: Callable[[int], None],
    is_cancelled: Callable[[], bool],
    silence_seconds: float | None = None,
) -> Failure | None:
    """Append what ``into`` lacks of ``size`` bytes; returns why it stopped early, if it did.

    ``silence_seconds`` limits the wait for each piece; without it the client's own limit holds.
    ``on_bytes`` gets the length of ``into`` after each piece. An `OSError` of the disk is raised.
    """
    held = into.stat().st_size if into.exists() else 0
    if held > size:
        into.unlink()
        held = 0
    if held == size:
        into.touch()  # an empty file need not be asked for
        on_bytes(held)
        return None
    needs_range = held > 0 or size > LARGEST_WHOLE_ANSWER
    headers = {"range": f"bytes={held}-"} if needs_range else {}
    answer = client.stream(url, endpoint=endpoint, headers=headers, silence_seconds=silence_seconds)
    try:
        with answer as response:
            failure = unusable(response, endpoint, wanted=(held, size), size=size)
            if failure is not None:
                return failure
            append = response.status_code == PARTIAL
            held = held if append else 0
            with into.open("ab" if append else "wb") as out:
                for piece in answer.pieces():
                    if is_cancelled():
                        return Failure(Reason.STALLED, "cancelled")
                    if held + len(piece) > size:
                        return Failure(Reason.WRONG_LENGTH, f"more than {size} bytes")
                    out.write(piece)
                    held += len(piece)
                    on_bytes(held)
    except RequestFailed as exc:
        return exc.failure
    except HubError as exc:
        return failure_of(exc)
    if held != size:
        return Failure(Reason.TRANSPORT, f"ended after {held} of {size} bytes")
    return None
