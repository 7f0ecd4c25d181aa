"""Which certificates are trusted."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from huggingface_hub.utils import httpx

from hfaria.errors import InvalidConfig

if TYPE_CHECKING:
    from pathlib import Path


def trust(ca_bundle: Path | None) -> ssl.SSLContext:
    """Make the TLS settings once: reading a bundle takes longer than most requests."""
    try:
        if ca_bundle is not None:
            return ssl.create_default_context(cafile=str(ca_bundle))
        return httpx.create_ssl_context()
    except OSError as exc:  # an `ssl.SSLError` is one, too
        reason = "no certificate in it" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise InvalidConfig(
            f"the CA bundle `{ca_bundle or 'SSL_CERT_FILE'}` can't be used: {reason}",
            hint="a bundle is a file of certificates in PEM form",
        ) from exc
