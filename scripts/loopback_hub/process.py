"""The hub in a process of its own, with the same surface as `LoopbackHub`."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loopback_hub.records import Record, RecordQueries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from loopback_hub.config import HubConfig, Role
    from loopback_hub.faults import Fault
    from loopback_hub.repos import RepoSpec
    from loopback_hub.shaping import Shape

_STOP_SECONDS = 10.0


class RemoteFaults:
    """The fault list of a hub in another process."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub

    def add(self, *faults: Fault) -> None:
        """Put faults in force, after those that are."""
        self._hub.call("add_faults", faults=[fault.to_json() for fault in faults])

    def remove(self, fault: Fault) -> None:
        """Lift a fault, and all that are equal to it."""
        self._hub.call("remove_fault", fault=fault.to_json())

    def clear(self) -> None:
        """Lift all faults; counts are forgotten with them."""
        self._hub.call("clear_faults")


class HubProcess(RecordQueries):
    """A hub started from a config or from command-line arguments.

    The process ends with this context, and on its own when the parent dies.
    """

    def __init__(self, config: HubConfig | None = None, *, arguments: Sequence[str] = ()) -> None:
        self.faults = RemoteFaults(self)
        self.urls: dict[str, str] = {}
        self.ca_bundle: str | None = None
        self._config = config
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._control = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until its sites answer."""
        command = [sys.executable, "-m", "loopback_hub", "--piped", *self._arguments]
        scripts = str(Path(__file__).resolve().parent.parent)
        paths = [scripts, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # a Ctrl-C is for the parent, whose end also ends the hub
        )
        try:
            self._send(self._config)
            ready = self._receive()
        except BaseException:
            self.stop()
            raise
        self.urls = ready["urls"]
        self.ca_bundle = ready["ca_bundle"]
        self._control = ready["control"]

    def stop(self) -> None:
        """End the process."""
        process = self._process
        if process is None:
            return
        self._process = None
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._running().pid

    def url(self, site: str = "origin") -> str:
        """Return a site's base URL, which is what `HF_ENDPOINT` wants."""
        return self.urls[site]

    @property
    def records(self) -> tuple[Record, ...]:
        """All records since the start or the last reset, in order of arrival."""
        listed = self.call("records")
        tuples = ("faults", "strays")
        return tuple(Record(**{**one, **{n: tuple(one[n]) for n in tuples}}) for one in listed)

    @property
    def sent_by_site(self) -> dict[str, int]:
        """Bytes of files that each site has sent since the start; cheap to ask often."""
        return dict(self.call("sent_by_site"))

    def reset_records(self) -> None:
        """Forget all records."""
        self.call("reset_records")

    def shape(self, site: str, shape: Shape) -> None:
        """Change how a site's link behaves, for open connections too."""
        self.call("shape", site=site, shape=asdict(shape))

    def add_mirror(
        self,
        name: str,
        *,
        prefix: str = "",
        host: str = "",
        role: Role = "mirror",
        **options: str,
    ) -> str:
        """Start another mirror, or a ModelScope by its role, and return its base URL."""
        given = {"name": name, "prefix": prefix, "host": host, "role": role, **options}
        url = str(self.call("add_mirror", **given))
        self.urls = {**self.urls, name: url}
        return url

    def put_repo(self, spec: RepoSpec) -> None:
        """Add a repo, or replace the one of the same type and id, as a push does."""
        self._send(spec)
        self._receive()

    def call(self, method: str, **given: object) -> Any:  # noqa: ANN401  # whatever JSON came back
        """Ask the control port."""
        connection = http.client.HTTPConnection(urlsplit(self._control).netloc, timeout=30)
        try:
            connection.request("POST", "/", json.dumps({"method": method, "given": given}))
            response = connection.getresponse()
            value = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"the hub refused `{method}`: {value}")
        return value

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the hub isn't running")
        return self._process

    # Values travel through the pipe only: nobody but the parent can send a pickle.
    def _send(self, value: object) -> None:
        pipe = self._running().stdin
        if pipe is not None:
            pipe.write(base64.b64encode(pickle.dumps(value)) + b"\n")
            pipe.flush()

    def _receive(self) -> dict[str, Any]:
        pipe = self._running().stdout
        line = b"" if pipe is None else pipe.readline()
        if not line:
            raise RuntimeError("the hub's process ended early; see its stderr")
        return dict(json.loads(line))
