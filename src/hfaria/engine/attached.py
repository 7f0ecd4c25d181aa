"""A daemon of the user's, reached by its RPC address: used as a guest, never stopped."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hfaria.engine.add_request import AddRequest, gid_for
from hfaria.engine.binary import check_version
from hfaria.engine.rpc import Engine, RpcAddress, RpcRefused
from hfaria.engine.tunables import SAFE_TRANSFER
from hfaria.errors import EngineError, EngineLost, InvalidConfig

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from hfaria.redact import Secret

_DEFAULT_PORT = 6800
_PROBE_SECONDS = 5.0
_TICK_SECONDS = 0.01
# A guest can't rely on the host's options; the user's daemon may have been told anything.
_GUEST_OPTIONS = {**SAFE_TRANSFER, "max-tries": "5", "retry-wait": "1", "lowest-speed-limit": "0"}


class AttachedDaemon:
    """The daemon behind ``url``, with ``secret``."""

    def __init__(self, url: str, secret: Secret) -> None:
        self.engine = Engine(
            _read_address(url, secret), common_options=_GUEST_OPTIONS, keeps_gids=True
        )

    def __enter__(self) -> Self:
        self.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_attached(self) -> bool:
        """Whether it is somebody else's."""
        return True

    def check(self) -> None:
        """Raise unless the daemon answers and nothing in its options would spoil a transfer."""
        try:
            version, options = self.engine.version(), self.engine.global_options()
        except EngineLost as exc:
            # Not ours to start again: what it says now is final.
            raise EngineError(
                f"the daemon at `{self.engine.address}` can't be used: {exc.message}",
                hint="it needs `--enable-rpc`; its secret goes into HFARIA_RPC_SECRET or "
                "`--rpc-secret-file`",
            ) from exc
        check_version(version, f"the engine at `{self.engine.address}`")
        if options.get("auto-save-interval", "60") == "0":
            raise EngineError("the attached engine never saves its progress: auto-save-interval=0")
        for name in ("header", "http-user"):
            if options.get(name):
                raise EngineError(f"the attached engine would send its `{name}` to every host")

    def check_shares(self, folder: Path) -> None:
        """Raise unless what the daemon writes to ``folder`` appears in our ``folder``.

        It fetches a few bytes from a server of ours on loopback that answers only to that.
        """
        name = f"probe-{secrets.token_hex(8)}"
        content = secrets.token_bytes(32)
        path = folder / name
        gid = gid_for(name)
        try:
            with _OneAnswer(name, content) as url:
                options = (("no-proxy", "127.0.0.1"), ("max-tries", "1"))
                probe = AddRequest(gid, (url,), folder.absolute(), name, 1, 1, options=options)
                added = self.engine.add_many([probe])[0]
                if isinstance(added, RpcRefused):
                    raise EngineError(f"the attached engine refuses transfers: {added.message}")
                deadline = time.monotonic() + _PROBE_SECONDS
                while time.monotonic() < deadline:
                    status = self.engine.poll().by_gid.get(gid)
                    if status is None or status.is_ended:
                        break
                    time.sleep(_TICK_SECONDS)
            if not path.is_file() or path.read_bytes() != content:
                raise EngineError(
                    f"the attached engine does not write to our `{folder}`",
                    hint="it must run on this machine and see the same files",
                )
        finally:
            self.engine.remove([gid])
            for leftover in (path, path.with_name(name + ".aria2")):
                leftover.unlink(missing_ok=True)

    def is_alive(self) -> bool:
        """Tell whether the daemon answers."""
        try:
            self.engine.version()
        except EngineLost:
            return False
        return True

    def last_words(self) -> str:
        """Return nothing: its log is the user's."""
        return ""

    def close(self) -> None:
        """Take our transfers back, and leave all others alone."""
        with contextlib.suppress(EngineLost):
            self.engine.remove(self.engine.own_gids)
        self.engine.close()


class _OneAnswer:
    """A loopback server for one secret path, as long as the ``with`` lasts."""

    def __init__(self, name: str, content: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_asked = self.path == f"/{name}"
                self.send_response(200 if is_asked else 404)
                self.send_header("Content-Length", str(len(content) if is_asked else 0))
                self.end_headers()
                if is_asked:
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._url = f"http://127.0.0.1:{self._server.server_port}/{name}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> str:
        self._thread.start()
        return self._url

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _read_address(url: str, secret: Secret) -> RpcAddress:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORT
    except ValueError as exc:
        raise InvalidConfig("the RPC URL is not a URL") from exc
    if (
        parts.scheme != "http"
        or not parts.hostname
        or parts.path not in {"", "/", "/jsonrpc"}
        or parts.username
        or parts.query
    ):
        raise InvalidConfig(
            "the RPC URL is not of the form `http://host:port/jsonrpc`",
            hint="the secret is given on its own",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return RpcAddress(host, port, secret)
