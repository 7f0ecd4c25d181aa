"""What an answer's headers say about asking again: how soon, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many more requests an endpoint takes, by the headers of an answer, until it counts anew.

    ``resource`` is what it counts, such as ``api`` or ``resolve``.
    """

    resource: str
    remaining: int
    reset_seconds: float


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """Return how long the server asks to wait: ``Retry-After`` (RFC 9110), else ``RateLimit``.

    ``RateLimit: "api";r=0;t=55`` as in the IETF draft that the Hub follows.
    """
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    for part in headers.get("ratelimit", "").split(";"):
        name, _, number = part.strip().partition("=")
        if name == "t" and number.isdigit():
            return float(number)
    return None


def read_allowance(headers: httpx.Headers) -> Allowance | None:
    """Read ``RateLimit: "resolve";r=12;t=55``: the IETF draft's form, which the Hub sends."""
    name, _, rest = headers.get("ratelimit", "").partition(";")
    numbers = dict(part.strip().split("=", 1) for part in rest.split(";") if "=" in part)
    remaining, reset = numbers.get("r", ""), numbers.get("t", "")
    if not (remaining.isdigit() and reset.isdigit()):
        return None
    return Allowance(name.strip().strip('"'), int(remaining), float(reset))
