"""A private certificate authority for loopback sites that speak HTTPS."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterable


class Authority:
    """A CA of this run, whose certificate clients are told to trust."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self._folder = tempfile.TemporaryDirectory(prefix="loopback-hub-")
        self.bundle = Path(self._folder.name) / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.bundle))

    def server_context(self, hosts: Iterable[str]) -> ssl.SSLContext:
        """Return a context with a certificate valid for all ``hosts``, names or addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._ca.issue_cert(*hosts).configure_cert(context)
        return context

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()
