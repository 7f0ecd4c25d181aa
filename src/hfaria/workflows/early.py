"""Import what moves bytes while the first answers are on their way."""

from __future__ import annotations

from importlib import import_module
from threading import Thread

_MODULES = (
    "hfaria.cache.pull_lock",
    "hfaria.workflows.engine_holder",
    "hfaria.workflows.transfer",
)
_SLOWEST = "hfaria.engine.transport"


def import_early() -> None:
    """Import in the order of need; what is slowest, and needed last, goes on in a thread."""
    for name in _MODULES:
        import_module(name)
    Thread(target=import_module, args=(_SLOWEST,), name="hfaria-import").start()
