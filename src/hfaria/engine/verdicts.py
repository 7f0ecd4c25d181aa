"""Read aria2's error codes as the scheduler's failures (aria2 manual, "Exit status")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfaria.rules.failures import Failure, Reason, failure_from_status

if TYPE_CHECKING:
    from hfaria.engine.rpc import TransferStatus

_STATUS = re.compile(r"status=(\d{3})")
_NO_CONNECTION = re.compile(r"Failed to establish connection, cause: (.+?)\.?$")
_OTHER_RANGE = re.compile(r"Request: \d+-\d+/(\d+), Response: \d+-\d+/(\d+)")
_REASONS = {
    2: Reason.TIMEOUT,
    5: Reason.STALLED,
    6: Reason.TRANSPORT,
    8: Reason.RANGE_IGNORED,
    9: Reason.DISK,
    15: Reason.DISK,
    16: Reason.DISK,
    17: Reason.DISK,
    18: Reason.DISK,
    19: Reason.TRANSPORT,
    20: Reason.TRANSPORT,
    21: Reason.TRANSPORT,
    23: Reason.REFUSED,
    29: Reason.SERVER_ERROR,
}
# Of a failure that used up the last URI only the code is kept for the connection that reports.
_NOTHING_LEFT = "No URI available."
_NOT_FOUND, _BAD_ANSWER, _UNAUTHORIZED = 3, 22, 24


def failure_of_status(status: TransferStatus) -> Failure:
    """Say what an ``error`` of the engine means.

    A refusal counts as an expired URL at first: only asking the endpoint anew tells, and that is
    what an expired URL leads to.
    """
    message = status.error_message
    if message == _NOTHING_LEFT:
        message = ""
    found = _STATUS.search(message)
    code = status.error_code
    if found is not None:
        return failure_from_status(int(found[1]), at_cdn=True)
    if code == _NOT_FOUND:
        return failure_from_status(404, at_cdn=True)
    if code == _UNAUTHORIZED:
        return failure_from_status(401, at_cdn=True)
    if code == _BAD_ANSWER:
        return Failure(Reason.EXPIRED, message)
    refused = _NO_CONNECTION.search(message)
    if refused is not None:
        return Failure(Reason.UNREACHABLE, refused[1])
    other = _OTHER_RANGE.search(message)
    if other is not None and other[1] != other[2]:
        return Failure(Reason.WRONG_LENGTH, f"{other[2]} bytes instead of {other[1]}")
    if code in _REASONS:
        return Failure(_REASONS[code], message)
    lowered = message.lower()
    if "certificate" in lowered or "ssl/tls" in lowered:
        return Failure(Reason.UNTRUSTED, message)
    if "length" in lowered or "size mismatch" in lowered:
        return Failure(Reason.WRONG_LENGTH, message)
    return Failure(Reason.TRANSPORT, message or f"engine error {code}")
