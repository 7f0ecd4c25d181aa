"""Keep secrets out of everything that is printed, logged or written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK = "****"

# Signed locations of S3 and CloudFront carry the right to read in their query.
_SECRET_PARAMETERS = re.compile(
    r"(?i)^(token|access_token|signature|policy|key-pair-id|expires|x-amz-.*|x-goog-.*|sig|se|sv)$"
)
_URL = re.compile(r"(?i:https?|ftp|socks[0-9a-z]*)://[^\s\"'<>`]+")
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}\b|(?i:bearer) +[A-Za-z0-9._~+/=-]+")


class Secret:
    """A string that prints as ``****``; the value leaves only through `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; call this only where it is sent."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def redact_url(url: str) -> str:
    """Return ``url`` without userinfo and with the values of signing parameters masked."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        query = [
            (name, MASK if _SECRET_PARAMETERS.match(name) else value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
    except ValueError:  # not a URL that the standard library can split
        return "<unreadable URL>"
    return urlunsplit(parts._replace(netloc=host, query=urlencode(query, safe="*")))


def redact(text: str) -> str:
    """Return ``text`` with every URL redacted and everything that looks like a token masked."""
    text = _URL.sub(lambda match: redact_url(match.group()), text)
    return _TOKEN.sub(MASK, text)


def without_secrets(
    environment: Mapping[str, str], *, names: Iterable[str], secrets: frozenset[str]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the variables that may be written down, and the names of those that may not.

    ``secrets`` are names; an address with a user's name in it has a password beside that, mostly.
    """
    kept, withheld = [], []
    for name in names:
        value = environment.get(name)
        if value is None:
            continue
        is_address = "://" in value or name.upper().endswith("_PROXY")
        if name in secrets or (is_address and "@" in value):
            withheld.append(name)
        else:
            kept.append((name, value))
    return tuple(kept), tuple(withheld)
