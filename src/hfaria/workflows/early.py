"""Import what moves bytes while the first answers are on their way."""

from __future__ import annotations

import sys
from importlib import import_module
from threading import Thread

_MODULES = (
    "hfaria.engine.transport",
    "hfaria.workflows.engine_holder",
    "hfaria.workflows.transfer",
)
_SWITCH_SECONDS = 0.0005
"""An import lets nobody else run for ten times as long, by Python's default, whenever asked to."""


def import_early() -> None:
    """Import in a thread: it takes about as long as asking for a listing."""
    Thread(target=_import, daemon=True, name="hfaria-import").start()


def _import() -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        for name in _MODULES:
            import_module(name)
    finally:
        sys.setswitchinterval(usual)
