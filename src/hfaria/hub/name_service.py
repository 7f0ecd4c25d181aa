"""Tell a name that does not exist from a network that is down."""

from __future__ import annotations

import socket

_NO_SUCH_NAME = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)
)


def says_no_such_host(error: BaseException) -> bool:
    """Tell whether the name service answered that there is no such host.

    Without a network it answers `EAI_AGAIN`, that it can't say now. What the HTTP client raises
    has the system's own error among its causes.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.errno in _NO_SUCH_NAME
        cause = cause.__cause__ or cause.__context__
    return False
