"""One stocked cache for all tests of bundles, however many processes run them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from support.bundles import Writer, stocked_user
from support.cli import User

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Somebody whose cache holds the repos that bundles are made of; offline since."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = shared / "stocked"
    with FileLock(str(shared / "stocked.lock")):
        if not home.exists():
            stocked_user(home)
    return User(home, "http://127.0.0.1:9", {"HF_HUB_OFFLINE": "1"})


@pytest.fixture
def maker(stocked: User, tmp_path: Path) -> User:
    """The same person, with a ledger of this test's own."""
    return stocked.having(HFARIA_STATE_DIR=str(tmp_path / "state"))


@pytest.fixture
def writer(maker: User) -> Writer:
    """This person at work, in this process."""
    return Writer(maker)
