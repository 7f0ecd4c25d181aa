"""A hub and a user for every test that wants them, and no home for those that forget theirs."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopback_hub import LoopbackHub
from support.cli import user_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cli import User

_HOMELY = ("HF_", "HUGGINGFACE_", "XDG_", "HFARIA_")
_NOBODY = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Take this process away from the home, the caches and the settings of whoever runs it.

    Before any test module is imported: huggingface_hub reads its environment when it is.
    """
    home = Path(tempfile.mkdtemp(prefix="hfaria-nobody-"))
    config.stash[_NOBODY] = home
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in [name for name in os.environ if name.startswith(_HOMELY)]:
        del os.environ[name]
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(home)
    _heed_signals()


def _heed_signals() -> None:
    """Let our children see signals as at a terminal, also if we ourselves run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _nothing_outside(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail a test that writes to a home instead of its own folder."""
    home = pytestconfig.stash[_NOBODY]
    yield
    found = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    if found:
        shutil.rmtree(home)
        home.mkdir()
    assert found == [], "written to the home of whoever runs the tests"


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """A hub without repos; tests put theirs in."""
    with LoopbackHub() as started:
        yield started


@pytest.fixture
def user(hub: LoopbackHub, tmp_path: Path) -> User:
    """Somebody whose origin is the hub's."""
    return user_of(hub, tmp_path / "home")
