"""Kill the making and the import of bundles at random moments, and see whether anything breaks.

    sudo PYTHONPATH=scripts .venv-test/bin/python -m soak.bundle_kills [--rounds N] [--seed N]

On a real exFAT stick: a run is killed, or the stick is pulled (its FUSE daemon dies), until a run
comes to its end. After each the stick is either unfinished or a valid bag, and the cache that it is
brought into is never seen half. Needs root and what `scripts/filesystems` names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import bagit
from huggingface_hub import scan_cache_dir

from bench.bundle_sticks import make_repo, run, stick

if TYPE_CHECKING:
    from collections.abc import Sequence

_JOURNAL = ".hfaria-journal.jsonl"
_MOST_RUNS = 12
_DONE = "ended with 0"
_LATEST_KILL_SECONDS = {"create": 4.0, "import": 0.5}  # most of them before it is over


def main() -> None:
    """Go through the rounds, and end with 1 at the first thing that is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="sticks to make [default: 10]")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parsed = parser.parse_args()
    print(f"seed {parsed.seed}")
    chance = random.Random(parsed.seed)
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="hfaria-soak-") as name:
        folder = Path(name)
        make_repo(folder / "cache", "models--soak--model", [70_000_000, 40_000_000, 0, 999])
        for number in range(parsed.rounds):
            one_round(folder, number, chance, ends)
            print(f"round {number + 1}: {dict(ends)}", flush=True)


def one_round(folder: Path, number: int, chance: random.Random, ends: Counter[str]) -> None:
    """Make one stick and bring it into one cache, by runs that are cut short."""
    here = folder / f"round{number}"
    here.mkdir()
    target = here / "target"
    environ = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder / "cache"),
        "HFARIA_STATE_DIR": str(here / "state"),
    }
    with stick(here, 400 * 2**20) as (device, place):
        create = ["-m", "hfaria", "bundle", "create", "soak/model", "--to", str(place), "-q"]
        for _ in range(_MOST_RUNS):
            ends[f"create {cut_short('create', create, environ, chance, (device, place))}"] += 1
            for bag in place.glob("hfb-*"):
                if not (bag / _JOURNAL).exists() and any(bag.iterdir()):
                    bagit.Bag(str(bag)).validate()
        run(sys.executable, *create, environ=environ)
        (bag,) = place.glob("hfb-*")
        bagit.Bag(str(bag)).validate()
        # A copy of our own: the one on the stick is gone with the stick.
        script = here / "import_bundle.py"
        script.write_bytes((bag / "import_bundle.py").read_bytes())
        bring = ["-I", "-S", str(script), "import", str(bag), "--cache", str(target)]
        bring += ["--reserve", "0"]
        for _ in range(_MOST_RUNS):
            end = cut_short("import", bring, environ, chance, (device, place))
            ends[f"import {end}"] += 1
            if target.is_dir():
                found = [str(warning) for warning in scan_cache_dir(target).warnings]
                if found:
                    raise SystemExit(f"the cache is not in order: {found}")
            if end == _DONE:
                compare(folder, target)
                shutil.rmtree(target)  # else the next ones would have nothing to do
        run(sys.executable, *bring, environ=environ)
    compare(folder, target)


def compare(folder: Path, target: Path) -> None:
    """Compare what was brought with what it was made of."""
    (ours,) = (folder / "cache").glob("*/snapshots/*")
    (theirs,) = target.glob("*/snapshots/*")
    run("diff", "-r", str(ours), str(theirs))


def cut_short(
    verb: str,
    words: Sequence[str],
    environ: dict[str, str],
    chance: random.Random,
    medium: tuple[str, Path],
) -> str:
    """Start a run, end it somehow, and say how; the stick is in again afterwards."""
    process = subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(chance.uniform(0.1, _LATEST_KILL_SECONDS[verb]))
    if process.poll() is not None:
        return f"ended with {process.returncode}"
    if chance.random() < 0.5:
        process.kill()
        process.wait()
        return "killed"
    device, place = medium
    os.kill(daemon_of(device), 9)
    code = process.wait()
    if code not in (0, 3):
        raise SystemExit(f"a pulled stick ended it with {code}: {process.communicate()[1]}")
    run("umount", "-l", str(place))
    time.sleep(0.1)
    run("mount.exfat-fuse", device, str(place))
    return f"pulled, {code}"


def daemon_of(device: str) -> int:
    """Return the process that serves a device."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if device.encode() in words and b"mount.exfat" in words[0]:
                return int(path.parent.name)
    raise SystemExit(f"no daemon serves {device}")


if __name__ == "__main__":
    main()
