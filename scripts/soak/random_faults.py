"""Pull through many random histories of faults, each in one run, and see what breaks.

A history is a repo, one to three sources, and faults that befall them over time: outages, stalls,
resets, lies, limits, and attacks on the engine. Whatever happens, nothing corrupt may be visible,
no token leak, nothing hang beyond the patience; and the pull must be done where one honest source
stays in reach.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from soak.histories import make_history
from soak.one_history import Promise, Verdict, live_through

_MOST_AT_ONCE = 8


def live(seed: int, folder: Path) -> Verdict:
    """Live through the history of a seed; its folder is kept if a promise was broken."""
    place = folder / f"history-{seed}"
    place.mkdir()
    verdict = live_through(make_history(seed), place)
    if not verdict.broken:
        shutil.rmtree(place)
    return verdict


def main() -> int:
    """Run the histories and return 1 if any promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="histories [default: 100]")
    parser.add_argument("--seed", type=int, help="of the first [default: another one each time]")
    parser.add_argument("--folder", type=Path, help="where to work; kept where a promise is broken")
    parser.add_argument(
        "--at-once", type=int, default=min(_MOST_AT_ONCE, 2 * (os.cpu_count() or 1)), metavar="N"
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 30) if options.seed is None else options.seed
    _tell(f"seeds {seed} to {seed + options.runs - 1}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="hfaria-soak-", dir=options.folder))
    verdicts: list[Verdict] = []
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")  # the loopback Hub has threads
    with ProcessPoolExecutor(options.at_once, mp_context=context) as pool:
        futures = [pool.submit(live, seed + number, folder) for number in range(options.runs)]
        for future in as_completed(futures):
            verdict = future.result()
            verdicts.append(verdict)
            _tell(
                f"{len(verdicts)}/{options.runs}: seed {verdict.history.seed}, "
                f"{verdict.history.fate}: exit {verdict.code}, {verdict.seconds:.1f} s, "
                f"{'; '.join(map(str, verdict.broken)) or 'ok'}"
            )
    broken = [verdict for verdict in verdicts if verdict.broken]
    for verdict in broken:
        print("\n".join(["", *verdict.lines()]))
    print("\n".join(_summary(verdicts, time.monotonic() - started)))
    if broken:
        print(f"to see one again: --runs 1 --seed SEED; the caches are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _summary(verdicts: list[Verdict], seconds: float) -> list[str]:
    done = [verdict.sent_share for verdict in verdicts if verdict.code == 0]
    quiet = max((verdict.quiet_seconds for verdict in verdicts), default=0.0)
    return [
        f"{len(verdicts)} histories in {seconds:.0f} s",
        *_table(verdicts),
        f"bytes sent / size, mean of those that are done: {sum(done) / max(1, len(done)):.3f}",
        f"longest time without a byte: {quiet:.1f} s",
        f"histories that broke a promise: {sum(bool(verdict.broken) for verdict in verdicts)}",
    ]


def _table(verdicts: list[Verdict]) -> list[str]:
    """Return a row for each fate: how its histories ended, and which promises were not kept."""
    columns = ["fate", "exit 0", "3", "4", "5", "other", *(each.value for each in Promise)]
    rows = [columns]
    for fate in sorted({verdict.history.fate for verdict in verdicts}):
        lived = [verdict for verdict in verdicts if verdict.history.fate == fate]
        ends = Counter(str(verdict.code) for verdict in lived)
        ended = [ends.pop(code, 0) for code in "0345"]
        broken = [
            sum(any(each.promise is promise for each in verdict.broken) for verdict in lived)
            for promise in Promise
        ]
        rows.append([fate, *map(str, [*ended, ends.total(), *broken])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in rows]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
