"""Five repos on a flaky line, and the same lock on a second machine after they moved on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import run_alone, tell
from bench.preload_set import Machine, bytes_of, five_repos
from bench.results import OURS, Finding
from bench.running import ToolFailedError, workplace
from loopback_hub import Close, Fault, HubConfig, HubProcess, Reset, Shape, Status

if TYPE_CHECKING:
    from bench.options import Options

_LINE = 40e6
_FAULTS = (
    Fault(Reset(per_megabyte=0.01), kind="bytes"),
    Fault(Close(after=3_000_000), kind="bytes", skip=5, every=10),
    Fault(Status(503), kind="resolve", skip=7, every=40),
    Fault(Status(502), kind="api", skip=1, every=5),
)


def measure(options: Options) -> list[Finding]:
    """Count bytes, and compare the digests of two machines."""
    tell("preload: five repos, 3,500 files, two share a content, on a flaky line")
    specs, shared = five_repos(options)
    ratios: list[float] = []
    shared_ratios: list[float] = []
    seconds: list[float] = []
    differ: list[float] = []
    with HubProcess(HubConfig(repos=specs)) as hub, workplace(options) as folder:
        for site in hub.urls:
            hub.shape(site, Shape(latency_seconds=0.02, rate_total=_LINE))
        for number in range(options.rounds):
            hub.faults.clear()
            hub.faults.add(*_FAULTS)
            hub.reset_records()
            here = Machine(folder / f"here-{number}", hub)
            here.write_manifest(specs)
            seconds.append(here.run("preload", "--json"))
            document = here.document()
            if not document["is_complete"]:
                raise ToolFailedError("not complete")
            ratios.append(hub.file_bytes_sent() / bytes_of(specs))
            sent = sum(r.bytes_sent for r in hub.records if r.blob == shared.sha256)
            shared_ratios.append(sent / shared.size)
            there = Machine(folder / f"there-{number}", hub)
            there.write_manifest(specs)
            (there.folder / "hfaria.lock").write_bytes((here.folder / "hfaria.lock").read_bytes())
            there.run("preload", "--locked", "--json")
            differ.append(float(there.document()["digest"] != document["digest"]))
            tell(f"  round {number + 1}: {seconds[-1]:.1f} s, {ratios[-1]:.3f} x the bytes")
    return [
        Finding("preload, flaky line: time", {OURS: tuple(seconds)}, unit="s"),
        Finding(
            "preload, flaky line: bytes sent / needed", {OURS: tuple(ratios)}, unit="x", digits=3
        ),
        Finding(
            "preload: shared content, times sent",
            {OURS: tuple(shared_ratios)},
            unit="x",
            target=1.05,
            digits=3,
        ),
        Finding(
            "preload on a second machine: digests that differ",
            {OURS: tuple(differ)},
            target=0.0,
            digits=0,
        ),
    ]


if __name__ == "__main__":
    run_alone(measure, __doc__)
