"""The signals that ask for an end, at the moments at which Python is not ready for them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.single_file import importer_text
from loopback_hub import Shape
from support.cli import user_of, wait_until
from support.repos import one_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopback_hub import LoopbackHub

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PREAMBLE = """
import sys, threading, time
from hfaria.cli.signals import catch_signals

def wait_here(name):
    print(name, flush=True)
    for _ in range(40):
        time.sleep(0.01)

catch_signals()
"""
_IMPORTING = """
threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
try:
    import slow_to_import
    time.sleep(20)
except KeyboardInterrupt:
    print("interrupted", "slow_to_import" in sys.modules, flush=True)
"""
_IMPORTING_ALONE = """
try:
    import slow_to_import
except KeyboardInterrupt:
    print("interrupted", "slow_to_import" in sys.modules, flush=True)
"""
_SLOW = """
import __main__
__main__.wait_here("ready")
"""
_LOCKING = """
import threading
import library
lock = library.Lock()
try:
    with lock:
        time.sleep(20)
except KeyboardInterrupt:
    print("interrupted", lock.lock.locked(), flush=True)
"""
_BLOCKING = """
import library
try:
    library.wait_for_the_network()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
_LIBRARY = """
import threading, time

class Lock:
    def __init__(self):
        self.lock = threading.Lock()

    def __enter__(self):
        self.lock.acquire()
        print("ready", flush=True)
        for _ in range(30):
            time.sleep(0.01)

    def __exit__(self, *_):
        self.lock.release()

def wait_for_the_network():
    print("ready", flush=True)
    time.sleep(20)
"""
_FINALIZING = """
class Finalized:
    def __del__(self):
        wait_here("ready")
try:
    Finalized()
    time.sleep(20)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
_WAITING = """
wait_here("ready")
print("went on", flush=True)
"""


@contextmanager
def running(folder: Path, script: str, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script that catches signals; what it imports slowly says ``ready`` in the midst."""
    (folder / "slow_to_import.py").write_text(_SLOW, encoding="utf-8")
    (folder / "library.py").write_text(_LIBRARY, encoding="utf-8")
    with subprocess.Popen(
        [*before, sys.executable, "-c", _PREAMBLE + script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize("number", _ENDS)
def test_a_signal_waits_until_what_other_threads_may_need_is_imported(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path, _IMPORTING) as process:
        process.send_signal(number)
        assert process.communicate(timeout=15) == ("interrupted True\n", "")


def test_a_signal_ends_an_import_at_once_as_long_as_there_is_no_other_thread(
    tmp_path: Path,
) -> None:
    with running(tmp_path, _IMPORTING_ALONE) as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=15) == ("interrupted False\n", "")


def test_a_signal_leaves_no_lock_of_a_library_held(tmp_path: Path) -> None:
    with running(tmp_path, _LOCKING) as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=15) == ("interrupted False\n", "")


def test_a_signal_ends_what_a_library_waits_for(tmp_path: Path) -> None:
    with running(tmp_path, _BLOCKING) as process:
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=15) == ("interrupted\n", "")


@pytest.mark.parametrize("number", _ENDS)
def test_a_signal_is_not_lost_in_a_finalizer(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, _FINALIZING) as process:
        process.send_signal(number)
        assert process.communicate(timeout=15) == ("interrupted\n", "")


def test_what_is_started_by_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    with running(tmp_path, _WAITING, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=15)[0] == "went on\n"


def test_the_importer_on_a_stick_leaves_ignored_signals_ignored(tmp_path: Path) -> None:
    path = tmp_path / "import_bundle.py"
    path.write_bytes(importer_text())
    script = (
        "import atexit, runpy, signal, sys\n"
        "ends = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)\n"
        "for number in ends[:2]:\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "atexit.register(lambda: print([signal.getsignal(n) is signal.SIG_IGN for n in ends]))\n"
        "sys.argv = ['import_bundle.py', '--selftest']\n"
        f"runpy.run_path({str(path)!r}, run_name='__main__')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, check=True, text=True
    )
    assert ended.stdout.splitlines()[-1] == "[True, True, False]"


@pytest.mark.aria2
@pytest.mark.parametrize("seed", range(12))
def test_a_pull_ends_by_a_signal_at_any_moment_of_its_start(
    hub: LoopbackHub, tmp_path: Path, seed: int
) -> None:
    hub.put_repo(one_file(size=20_000_000))
    hub.shape("cdn", Shape(rate_total=1e6))
    chance = random.Random(seed)
    home = tmp_path / "home"
    run = user_of(hub, home).start("pull", "org/one")
    wait_until(lambda: hub.records != ())  # its signals are caught, and all its threads begin
    time.sleep(chance.uniform(0.0, 0.3))
    run.send(chance.choice(_ENDS))
    ended = run.wait()
    assert ended.code == 130
    assert ended.stderr.endswith("\ninterrupted; rerun the same command to resume\n")
    assert "Exception ignored" not in ended.stderr
    assert ended.seconds < 18  # all of it would take 20
