"""A Metalink of one file, which tells aria2 its size before the first request (RFC 5854).

A transfer added by its URI alone begins with one GET of the whole file, whatever is held already;
one whose size is known begins with a range for each connection. Nothing that is held is sent
again, no connection waits for the first one's answer, and no HEAD is needed, which a signed URL
may refuse.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMESPACE = "urn:ietf:params:xml:ns:metalink"


def encode_metalink(name: str, size: int, uris: Iterable[str]) -> str:
    """Return the document for `aria2.addMetalink`, in base64."""
    urls = "".join(f"<url>{escape(uri)}</url>" for uri in uris)
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<metalink xmlns="{_NAMESPACE}">'
        f'<file name="{escape(name)}"><size>{size}</size>{urls}</file>'
        "</metalink>"
    )
    return base64.b64encode(document.encode()).decode("ascii")
