"""aria2p's client over one connection of ours. Import this late: aria2p takes a quarter second."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import requests
from aria2p import Client, ClientException

from hfaria.errors import EngineLost

if TYPE_CHECKING:
    from hfaria.redact import Secret

__all__ = ["ClientException", "SessionClient"]

_CONNECT_SECONDS = 3.0


class SessionClient(Client):
    """A client that keeps its connection, and never lets a proxy see the secret.

    aria2p's own transport obeys ``http_proxy``, which would send the secret away.
    """

    def __init__(self, host: str, port: int, *, secret: Secret, timeout_seconds: float) -> None:
        super().__init__(host, port, secret.reveal(), timeout=timeout_seconds)
        self._session = requests.Session()
        self._session.trust_env = False
        self._lock = threading.Lock()

    def post(self, payload: str) -> dict[str, Any]:
        """Send ``payload``; raise `EngineLost` unless an answer in JSON comes back in time."""
        try:
            with self._lock:
                response = self._session.post(
                    self.server,
                    data=payload,
                    timeout=(_CONNECT_SECONDS, self.timeout),
                    allow_redirects=False,
                )
            answer = response.json()
        except requests.JSONDecodeError as exc:
            raise EngineLost(f"`{self.server}` does not speak aria2's RPC") from exc
        except requests.Timeout as exc:
            raise EngineLost(f"the engine did not answer within {self.timeout:g} s") from exc
        except requests.ConnectionError as exc:
            raise EngineLost("nobody answers there") from exc
        except requests.RequestException as exc:
            raise EngineLost("the engine can't be reached") from exc
        if not isinstance(answer, dict):
            raise EngineLost(f"`{self.server}` does not speak aria2's RPC")
        return answer

    def close(self) -> None:
        """Drop the connection."""
        self._session.close()
