"""A daemon that the user runs already is used, left running, and named when it can't be used."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from hfaria.engine.binary import find_engine
from support.cli import refused, wait_until
from support.repos import model
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = pytest.mark.aria2

SPEC = model()
SECRET = "a-secret-of-the-user"


@pytest.fixture
def daemon(hub: LoopbackHub, user: User) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An aria2c as users start it, with a secret; its address and its process."""
    hub.put_repo(SPEC)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = user.home / "aria2.conf"
    conf.write_text(f"rpc-secret={SECRET}\n", encoding="utf-8")
    binary = find_engine(None, search_path=os.environ.get("PATH"))
    with subprocess.Popen(
        [binary.path, f"--conf-path={conf}", "--enable-rpc", f"--rpc-listen-port={port}", "-q"],
        cwd=user.home,
        stdin=subprocess.DEVNULL,
    ) as process:

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers)
        yield f"http://127.0.0.1:{port}/jsonrpc", process
        process.kill()


@pytest.mark.parametrize("by", ["variable", "file"])
def test_a_daemon_that_runs_already_moves_the_bytes(
    hub: LoopbackHub, user: User, daemon: tuple[str, subprocess.Popen[bytes]], by: str
) -> None:
    url, process = daemon
    # No engine of our own can be what brings the bytes.
    user = user.having(HFARIA_ARIA2C="/nonexistent/aria2c")
    if by == "variable":
        run = user.having(HFARIA_RPC_SECRET=SECRET).pulled("org/model", "--rpc-url", url)
    else:
        path = user.home / "secret"
        path.write_text(f"{SECRET}\n", encoding="utf-8")
        run = user.pulled("org/model", "--rpc-url", url, "--rpc-secret-file", str(path))
    assert_holds(run.path, SPEC)
    assert_clean(user.cache)
    assert SECRET not in run.stderr
    assert process.poll() is None
    assert any("aria2" in (record.user_agent or "") for record in hub.requests(site="cdn"))


@pytest.mark.parametrize("secret", ["", "another"])
def test_a_secret_that_is_wrong_is_told(
    user: User, daemon: tuple[str, subprocess.Popen[bytes]], secret: str
) -> None:
    run = user.having(HFARIA_RPC_SECRET=secret).pull("org/model", "--rpc-url", daemon[0])
    error = refused(run, 6)
    assert f"`{daemon[0]}`" in error
    assert "Unauthorized" in error
    assert "HFARIA_RPC_SECRET" in run.hint
    assert "engine died" not in run.stderr
    assert run.seconds < 5


def test_a_daemon_that_is_not_there_is_named(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(SPEC)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    run = user.pull("org/model", "--rpc-url", f"http://127.0.0.1:{port}/jsonrpc")
    assert f"127.0.0.1:{port}/jsonrpc` can't be used: nobody answers" in refused(run, 6)
    assert "--enable-rpc" in run.hint
    assert "engine died" not in run.stderr
