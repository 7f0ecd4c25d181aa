"""One byte flipped in a blob of 2 GB: bytes fetched to put it right, with two sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.kept import run_hfaria
from bench.options import run_alone, tell
from bench.results import OURS, Finding
from bench.running import workplace
from loopback_hub import Generated, HubConfig, HubProcess, repo

if TYPE_CHECKING:
    from pathlib import Path

    from bench.options import Options

_SIZE = 2_000_000_000
_MOST = 64.0


def measure(options: Options) -> list[Finding]:
    """Flip a byte with marks, and without; count what the Hub sends."""
    size = options.scaled(_SIZE)
    tell(f"repair: one byte of {size // 1_000_000} MB")
    spec = repo("bench/kept", {"model.safetensors": Generated(3, size)})
    sent: dict[str, list[float]] = {"with marks": [], "without": []}
    times: list[float] = []
    with HubProcess(HubConfig(repos=(spec,))) as hub, workplace(options) as folder:
        endpoints = ("--endpoint", hub.url("mirror"), "--endpoint", hub.url())
        run_hfaria(folder, hub.url(), "pull", "bench/kept", "-q")
        blob = next(folder.glob("cache/models--*/blobs/*"))
        for _ in range(options.rounds):
            for how, values in sent.items():
                _flip(blob, at=size * 2 // 3)
                if how == "without":
                    for records in folder.glob("cache/*/.hfaria/verified.jsonl"):
                        records.unlink()
                hub.reset_records()
                seconds = run_hfaria(folder, hub.url(), "repair", *endpoints, "-q")
                values.append(hub.file_bytes_sent() / 1e6)
                if how == "with marks":
                    times.append(seconds)
                tell(f"  {how}: {values[-1]:.1f} MB, {seconds:.1f} s")
    what = f"one byte flipped in {size / 1e9:.1f} GB, two sources"
    return [
        Finding(
            f"{what}: fetched", {OURS: tuple(sent["with marks"])}, "MB", target=_MOST, digits=1
        ),
        Finding(f"{what}: time", {OURS: tuple(times)}, "s", digits=1),
        Finding(
            "the same where nobody verified it before: fetched",
            {OURS: tuple(sent["without"])},
            "MB",
            digits=0,
        ),
    ]


def _flip(blob: Path, *, at: int) -> None:
    with blob.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


if __name__ == "__main__":
    run_alone(measure, __doc__)
