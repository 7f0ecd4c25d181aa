"""A hub and a user for every test that wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopback_hub import LoopbackHub
from support.cli import user_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cli import User


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """A hub without repos; tests put theirs in."""
    with LoopbackHub() as started:
        yield started


@pytest.fixture
def user(hub: LoopbackHub, tmp_path: Path) -> User:
    """Somebody whose origin is the hub's."""
    return user_of(hub, tmp_path / "home")
