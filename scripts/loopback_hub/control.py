"""The control port: what a test may ask of a hub that runs in another process, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from loopback_hub.faults import Fault
from loopback_hub.shaping import Shape

if TYPE_CHECKING:
    from loopback_hub.server import LoopbackHub


class ControlServer(ThreadingHTTPServer):
    """Answers ``POST /`` on loopback; the body names a method and its arguments."""

    daemon_threads = True

    def __init__(self, hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), _Control)
        self.hub = hub

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}/"


def call(hub: LoopbackHub, method: str, given: dict[str, Any]) -> object:
    """Do what a control request says and return what JSON can carry."""
    if method == "records":
        return [asdict(record) for record in hub.records]
    if method == "urls":
        return hub.urls
    if method == "sent_by_site":
        return hub.sent_by_site
    if method == "add_mirror":
        return hub.add_mirror(**given)
    if method == "shape":
        hub.shape(given["site"], Shape(**given["shape"]))
    elif method == "reset_records":
        hub.reset_records()
    elif method == "add_faults":
        hub.faults.add(*(Fault.from_json(fault) for fault in given["faults"]))
    elif method == "remove_fault":
        hub.faults.remove(Fault.from_json(given["fault"]))
    elif method == "clear_faults":
        hub.faults.clear()
    else:
        raise LookupError(f"no such control method: `{method}`")
    return None


class _Control(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ControlServer

    def do_POST(self) -> None:  # the name http.server calls
        """Answer one control request."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            status, value = 200, call(self.server.hub, asked["method"], asked["given"])
        except (LookupError, TypeError, ValueError, OSError) as error:
            status, value = 400, f"{type(error).__name__}: {error}"
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        """Keep quiet."""
