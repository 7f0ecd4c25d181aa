"""What can go wrong with one transfer, and what that means for its next attempt."""

from __future__ import annotations

import enum
from dataclasses import dataclass

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE = 401, 403, 404, 410
_TIMEOUT, _RANGE, _RATE_LIMIT, _SERVER = 408, 416, 429, 500


class Reason(enum.Enum):
    """Why an attempt ended without its bytes; the value is how messages say it."""

    UNREACHABLE = "can't be reached"
    TRANSPORT = "connection lost"
    TIMEOUT = "no answer in time"
    STALLED = "no bytes for too long"
    SERVER_ERROR = "server error"
    RATE_LIMITED = "rate limit"
    EXPIRED = "signed URL refused"
    DENIED = "access denied"
    NOT_FOUND = "not found"
    REFUSED = "request refused"
    RANGE_IGNORED = "server can't continue inside the file"
    WRONG_LENGTH = "wrong length"
    WRONG_CONTENT = "not the file that was asked for"
    UNTRUSTED = "TLS certificate not trusted"
    DISK = "disk refused the bytes"
    MISMATCH = "wrong bytes"

    @property
    def is_final_here(self) -> bool:
        """Whether asking the same endpoint again can't help."""
        return self in _FINAL

    @property
    def is_of_the_line(self) -> bool:
        """Whether it says nothing of the file or its location: the way there broke."""
        return self in _OF_THE_LINE

    @property
    def is_silence(self) -> bool:
        """Whether time went by and nothing came."""
        return self in _SILENCES


_SILENCES = frozenset({Reason.TIMEOUT, Reason.STALLED})
_OF_THE_LINE = _SILENCES | {Reason.UNREACHABLE, Reason.TRANSPORT}
_FINAL = frozenset({Reason.DENIED, Reason.NOT_FOUND, Reason.REFUSED, Reason.UNTRUSTED})


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt's end. ``retry_after_seconds`` is what the server asked for, if it did."""

    reason: Reason
    detail: str = ""
    status: int | None = None
    retry_after_seconds: float | None = None

    def __str__(self) -> str:
        parts = [self.reason.value]
        if self.status is not None:
            parts.append(f"HTTP {self.status}")
        if self.detail:
            parts.append(self.detail)
        return ", ".join(parts)


def failure_from_status(
    status: int, *, at_cdn: bool, detail: str = "", retry_after_seconds: float | None = None
) -> Failure:
    """Read an HTTP status.

    ``at_cdn``: a 403 from where signed URLs lead means that the signature expired; the same
    answer from an endpoint is a refusal.
    """
    if status == _RATE_LIMIT:
        reason = Reason.RATE_LIMITED
    elif status >= _SERVER:
        reason = Reason.SERVER_ERROR
    elif status == _TIMEOUT:
        reason = Reason.TIMEOUT
    elif status == _RANGE:
        reason = Reason.RANGE_IGNORED
    elif at_cdn and status in {_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE}:
        reason = Reason.EXPIRED
    elif status in {_UNAUTHORIZED, _FORBIDDEN}:
        reason = Reason.DENIED
    elif status in {_NOT_FOUND, _GONE}:
        reason = Reason.NOT_FOUND
    else:
        reason = Reason.REFUSED
    return Failure(reason, detail, status, retry_after_seconds)
