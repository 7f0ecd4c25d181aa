"""Signed, expiring URLs, as the Hub hands them out for its CDN."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping


class Signer:
    """Signs paths with a key of its own and judges them later."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def sign(self, path: str, *, file_name: str, expires: int) -> str:
        """Return ``path`` with a query that opens it until ``expires``."""
        disposition = f"inline; filename*=UTF-8''{quote(file_name)}; filename=\"file\";"
        policy = base64.urlsafe_b64encode(
            json.dumps({"Resource": path, "DateLessThan": expires}).encode()
        ).decode()
        unsigned = {
            "response-content-disposition": disposition,
            "Expires": str(expires),
            "Policy": policy,
        }
        signature = self._signature(path, unsigned)
        query = {**unsigned, "Signature": signature, "Key-Pair-Id": "KLOOPBACK01"}
        return f"{path}?{urlencode(query)}"

    def is_valid(self, path: str, query: str, *, now: float) -> bool:
        """Tell whether the query is one of ours, unaltered and not expired."""
        given = dict(parse_qsl(query, keep_blank_values=True))
        signature = given.pop("Signature", "")
        given.pop("Key-Pair-Id", None)
        if not hmac.compare_digest(signature.encode(), self._signature(path, given).encode()):
            return False
        return now < int(given["Expires"])

    def _signature(self, path: str, fields: Mapping[str, str]) -> str:
        signed = f"{path}?{urlencode(sorted(fields.items()))}"
        digest = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
