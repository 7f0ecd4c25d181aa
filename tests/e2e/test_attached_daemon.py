"""A daemon that the user runs already is used, left running, and named when it can't be used."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.engine.binary import find_engine
from loopback_hub import Close, Fault, Generated, Refuse, Shape, WrongBytes, repo
from support.cli import refused, wait_until
from support.repos import model
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopback_hub import LoopbackHub
    from loopback_hub.effects import Effect
    from support.cli import User

pytestmark = pytest.mark.aria2

SPEC = model()
SECRET = "a-secret-of-the-user"


@contextmanager
def started(user: User, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start an aria2c as users do, with a secret; yield its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = user.home / "aria2.conf"
    conf.write_text(f"rpc-secret={SECRET}\n", encoding="utf-8")
    binary = find_engine(None, search_path=os.environ.get("PATH"))
    with subprocess.Popen(
        [
            binary.path,
            f"--conf-path={conf}",
            "--enable-rpc",
            f"--rpc-listen-port={port}",
            "-q",
            *options,
        ],
        cwd=user.home,
        stdin=subprocess.DEVNULL,
    ) as process:

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers)
        yield f"http://127.0.0.1:{port}/jsonrpc", process
        process.kill()


@pytest.fixture
def daemon(hub: LoopbackHub, user: User) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A user's aria2c; its address and its process."""
    hub.put_repo(SPEC)
    with started(user) as running:
        yield running


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


# --- several endpoints --------------------------------------------------------------------------

MIB = 1 << 20
BIG = Generated(51, 40 * MIB)
BIG_SPEC = repo("org/big", {"model.safetensors": BIG, "config.json": b"{}"})


@pytest.fixture
def guest(user: User, daemon: tuple[str, subprocess.Popen[bytes]]) -> User:
    """Somebody whose transfers are that daemon's, and of no engine of their own."""
    return user.having(
        HFARIA_ARIA2C="/nonexistent/aria2c", HFARIA_RPC_SECRET=SECRET, HFARIA_RPC_URL=daemon[0]
    )


def named(hub: LoopbackHub) -> tuple[str, ...]:
    """Name two mirrors, each of which has all bytes itself."""
    hub.put_repo(BIG_SPEC)
    other = hub.add_mirror("other")
    return ("--endpoint", hub.url("mirror"), "--endpoint", other)


def test_two_endpoints_share_a_file_in_a_daemon_of_the_users(hub: LoopbackHub, guest: User) -> None:
    endpoints = named(hub)
    for site in ("mirror", "other"):
        hub.shape(site, Shape(rate_total=10e6))
    run = guest.pulled("org/big", *endpoints, "--json")
    assert_holds(Path(run.document["path"]), BIG_SPEC)
    sent = {site: hub.file_bytes_sent(site=site) for site in ("mirror", "other")}
    assert min(sent.values()) > 8 * MIB
    assert sum(sent.values()) <= 1.1 * BIG.size
    assert_clean(guest.cache)


@pytest.mark.parametrize("effect", [Close(after=300_000), Refuse()], ids=["cut", "refused"])
def test_another_endpoint_takes_over_in_a_daemon_of_the_users(
    hub: LoopbackHub, guest: User, effect: Effect
) -> None:
    endpoints = named(hub)
    hub.shape("mirror", Shape(rate_total=20e6))
    hub.faults.add(Fault(effect, site="mirror", kind="bytes", skip=2))
    run = guest.pulled("org/big", *endpoints, "--json")
    assert_holds(Path(run.document["path"]), BIG_SPEC)
    assert hub.file_bytes_sent(site="other") > 16 * MIB
    assert hub.file_bytes_sent() <= 1.5 * BIG.size
    assert_clean(guest.cache)


def test_who_lies_is_found_out_in_a_daemon_of_the_users(hub: LoopbackHub, guest: User) -> None:
    endpoints = named(hub)
    hub.faults.add(Fault(WrongBytes(), site="mirror", kind="bytes", path=f"*{BIG.sha256}*"))
    run = guest.pulled("org/big", *endpoints, "--json")
    assert_holds(Path(run.document["path"]), BIG_SPEC)
    assert_clean(guest.cache)


def test_a_daemon_that_lets_transfers_queue_is_waited_for(hub: LoopbackHub, user: User) -> None:
    files = {f"model-{n}.safetensors": Generated(60 + n, 6 * MIB) for n in range(4)}
    spec = repo("org/queued", files)
    hub.put_repo(spec)
    hub.shape("cdn", Shape(rate_total=3e6))
    with started(user, "--max-concurrent-downloads=1") as (url, _):
        # A queue that is as long as 20 s is told from a line that sends nothing.
        patient = user.having(HFARIA_RPC_SECRET=SECRET)
        run = patient.pulled("org/queued", "--rpc-url", url, "--patience", "6", "--json")
    assert_holds(Path(run.document["path"]), spec)
    assert run.document["retries"] == 0
