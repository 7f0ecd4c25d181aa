"""Whether an answer carries the bytes that were asked for: the same for every fetch of ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfaria.hub.limits import retry_after_seconds
from hfaria.rules.endpoints import same_host
from hfaria.rules.failures import Failure, Reason, failure_from_status

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx

    from hfaria.rules.control_file import Range
    from hfaria.rules.endpoints import Endpoint

OK, PARTIAL = 200, 206
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def unusable(
    response: httpx.Response, endpoint: Endpoint, *, wanted: Range, size: int
) -> Failure | None:
    """Say why an answer is not ``wanted`` of a file of ``size`` bytes, nor, with 200, all of it."""
    if response.status_code not in {OK, PARTIAL}:
        return failure_from_status(
            response.status_code,
            at_cdn=not same_host(str(response.url), endpoint.url),
            detail=response.headers.get("x-error-message", ""),
            retry_after_seconds=retry_after_seconds(response.headers),
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        return Failure(Reason.WRONG_CONTENT, "compressed although not asked for")
    start, end = (0, size) if response.status_code == OK else wanted
    length = response.headers.get("content-length")
    if length is not None and length.isdigit() and int(length) != end - start:
        if "html" in response.headers.get("content-type", ""):
            return Failure(Reason.WRONG_CONTENT, "a web page")
        return Failure(Reason.WRONG_LENGTH, f"{length} bytes instead of {end - start}")
    if response.status_code == PARTIAL:
        return _wrong_range(response.headers.get("content-range", ""), wanted, size)
    return None


def _wrong_range(told: str, wanted: Range, size: int) -> Failure | None:
    found = _CONTENT_RANGE.fullmatch(told.strip())
    if found is None:
        return Failure(Reason.RANGE_IGNORED, "the answer does not tell its range")
    start, end, total = found.groups()
    if total not in {"*", str(size)}:
        return Failure(Reason.WRONG_LENGTH, f"{total} bytes instead of {size}")
    if (int(start), int(end) + 1) != wanted:
        return Failure(Reason.RANGE_IGNORED, f"bytes {start}-{end} instead of those asked for")
    return None
