"""What lies below HTTP: does the name resolve, does the port accept, is the certificate trusted."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

from hfaria.errors import EndpointUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

# X.509 verification results, as OpenSSL numbers them (x509_vfy.h).
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST = 9, 10, 62
_CLOCK_HINT = "if the clock of this machine is wrong, set it; else the server's operator must act"
_AUTHORITY_HINT = "if your network has its own CA, name its bundle with SSL_CERT_FILE"
_PORTAL_HINT = "a login page or a proxy may stand in between: open a web page in a browser"


def look_up(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of a name. How long that takes is the resolver's business."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "not a host name"
        raise EndpointUnreachable(
            f"{host} does not resolve: {reason}",
            hint="check the spelling, then the resolver of this machine or its VPN; behind a "
            "proxy, set HTTPS_PROXY",
        ) from exc
    return tuple(dict.fromkeys(str(address[4][0]) for address in found))


def connect(host: str, port: int, *, seconds: float) -> float:
    """Connect and hang up; return how long it took."""
    started = time.monotonic()
    with _connection(host, port, seconds):
        return time.monotonic() - started


def shake_hands(
    host: str, port: int, trusts: Mapping[str, ssl.SSLContext], *, seconds: float
) -> tuple[str, ...]:
    """Try TLS with each of ``trusts``; return the names of those that trust the certificate.

    Raises `EndpointUnreachable` if none does.
    """
    trusting: list[str] = []
    failure: EndpointUnreachable | None = None
    for name, context in trusts.items():
        try:
            _shake_hands(host, port, context, seconds)
        except EndpointUnreachable as exc:
            failure = exc
        else:
            trusting.append(name)
    if failure is not None and not trusting:
        raise failure
    return tuple(trusting)


def named(host: str, port: int) -> str:
    """Return host and port as URLs write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _connection(host: str, port: int, seconds: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=seconds)
    except (OSError, UnicodeError) as exc:
        text = _reason(exc, f"no answer within {seconds:.0f} s")
        raise EndpointUnreachable(
            f"{named(host, port)} does not accept connections: {text}",
            hint="a firewall may be in the way, or the server is down; behind a proxy, set "
            "HTTPS_PROXY",
        ) from exc


def _shake_hands(host: str, port: int, context: ssl.SSLContext, seconds: float) -> None:
    with _connection(host, port, seconds) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host):
                return
        except ssl.SSLCertVerificationError as exc:
            raise EndpointUnreachable(
                f"the certificate of {host} is not trusted: {exc.verify_message or 'unknown CA'}",
                hint=_hint(exc.verify_code),
            ) from exc
        except (ssl.SSLError, OSError) as exc:
            what = exc.reason if isinstance(exc, ssl.SSLError) else None
            text = what or _reason(exc, f"no answer within {seconds:.0f} s")
            raise EndpointUnreachable(
                f"{named(host, port)} does not speak TLS: {text}", hint=_PORTAL_HINT
            ) from exc


def _hint(code: int) -> str:
    if code in {_NOT_YET_VALID, _EXPIRED}:
        return _CLOCK_HINT
    return _PORTAL_HINT if code == _OTHER_HOST else _AUTHORITY_HINT


def _reason(exc: Exception, timeout: str) -> str:
    if isinstance(exc, TimeoutError):
        return timeout
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc) or type(exc).__name__
