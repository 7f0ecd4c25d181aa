"""The lock that keeps two pulls from sharing partials. Import this late: a reader needs no lock."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from hfaria.cache.files import store_errors
from hfaria.errors import AlreadyRunning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfaria.cache.store import Store


@contextmanager
def hold_pull_lock(store: Store) -> Iterator[None]:
    """Keep other pulls away from this destination's partials; raises `AlreadyRunning`."""
    path = store.pull_lock()
    with store_errors("making the lock file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(path), mode=0o664)
        try:
            lock.acquire(timeout=0)
        except Timeout as exc:
            raise AlreadyRunning(f"another pull into `{store.root}` is fetching this repo") from exc
    try:
        yield
    finally:
        lock.release()
