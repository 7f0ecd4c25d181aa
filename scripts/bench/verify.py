"""Verify 20 GB: unchanged, and in full beside raw hashing on all cores."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bench.kept import make_sparse_cache, run_hfaria
from bench.options import run_alone, tell
from bench.results import OURS, Finding
from bench.running import workplace

if TYPE_CHECKING:
    from pathlib import Path

    from bench.options import Options

_SIZE = 20_000_000_000
_FILES = 10
_NOWHERE = "http://127.0.0.1:9"
_PIECE = 1 << 20


def measure(options: Options) -> list[Finding]:
    """Time both, and divide the full one by what hashing alone takes."""
    size = options.scaled(_SIZE)
    tell(f"verify: {size // 1_000_000} MB in {_FILES} files")
    # Of about the same size, as shards are; no two are equal.
    sizes = [size // _FILES + number * 4096 for number in range(_FILES)]
    full: list[float] = []
    raw: list[float] = []
    unchanged: list[float] = []
    with workplace(options) as folder:
        blobs = make_sparse_cache(folder, sizes, _sha256)
        run_hfaria(folder, _NOWHERE, "verify", "-q")
        for number in range(options.rounds):
            raw.append(_hash_all(blobs))
            full.append(run_hfaria(folder, _NOWHERE, "verify", "--full", "-q"))
            unchanged.append(run_hfaria(folder, _NOWHERE, "verify", "-q"))
            tell(f"  round {number + 1}: {raw[-1]:.2f}, {full[-1]:.2f}, {unchanged[-1]:.2f}")
    what = f"{size / 1e9:.0f} GB verified"
    shares = tuple(theirs / ours for theirs, ours in zip(full, raw, strict=True))
    return [
        Finding(f"{what}, unchanged: time", {OURS: tuple(unchanged)}, unit="s", target=1.0),
        Finding(f"{what}, --full: time", {OURS: tuple(full)}, unit="s"),
        Finding(
            "the same / hashing alone on all cores",
            {OURS: shares},
            unit="x",
            target=1 / 0.9,
            digits=3,
            notes=(f"hashing alone took {min(raw):.1f} to {max(raw):.1f} s",),
        ),
    ]


def _sha256(path: Path) -> str:
    state = hashlib.sha256()
    buffer = bytearray(_PIECE)
    window = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            state.update(window[:count])
    return state.hexdigest()


def _hash_all(paths: list[Path]) -> float:
    """Hash files on all cores with nothing else to do."""
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(_sha256, paths))
    return time.monotonic() - begun


if __name__ == "__main__":
    run_alone(measure, __doc__)
