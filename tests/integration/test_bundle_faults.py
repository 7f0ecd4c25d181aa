"""Power cuts, full disks, bad sectors and sticks that are pulled: nothing half done is seen."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.importing import IMPORTER, bring, brought, code_of, run, start
from support.sticks import (
    COMMIT,
    PIECE,
    Revision,
    Set,
    Stick,
    model_set,
    noise,
    one_stick,
    several_sticks,
)
from support.trees import assert_clean, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = "models--org--model"
LARGE = {
    **{f"model-{n}.safetensors": noise(8_000_000, n) for n in range(4)},
    **{f"part/{n}.json": noise(300, n) for n in range(200)},
}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sticks go; what is written for the way back falls beside it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hf" / "hub"


def large_set() -> Set:
    return Set({"model:org/model": (Revision(LARGE),)})


def without_locks(cache: Path) -> dict[str, tuple[str, object]]:
    return tree_of(cache, without=(".locks",))


# --- kills ---------------------------------------------------------------------------------------

# Looks without pause at what anybody else would see; prints what should never be.
READER = """
import os, sys
from pathlib import Path
from huggingface_hub import scan_cache_dir
cache, commit, count, stop = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
looks = 0
while not stop.exists():
    looks += 1
    if cache.is_dir():
        for warning in scan_cache_dir(cache).warnings:
            print("warning:", warning)
    snapshot = cache / "models--org--model" / "snapshots" / commit
    if snapshot.exists():
        seen = [path for path in snapshot.rglob("*") if not path.is_dir()]
        if len(seen) != count or not all(path.exists() for path in seen):
            print("half a revision:", len(seen))
    ref = cache / "models--org--model" / "refs" / "main"
    if ref.exists() and not (ref.read_text() == commit and snapshot.is_dir()):
        print("a ref to nothing")
print("looks:", looks)
"""


@contextmanager
def watched(cache: Path, files: int, stop: Path) -> Iterator[None]:
    """Let another process read the cache all the time."""
    words = [sys.executable, "-c", READER, str(cache), COMMIT, str(files), str(stop)]
    reader = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield
    finally:
        stop.touch()
        output, _ = reader.communicate(timeout=60)
    lines = output.splitlines()
    assert len(lines) == 1, output
    assert int(lines[0].removeprefix("looks: ")) > 0


@pytest.mark.timeout(180)
def test_twenty_kills_leave_a_sound_cache_and_the_same_result(tmp_path: Path, cache: Path) -> None:
    bags = several_sticks(tmp_path, large_set(), 2, part_pieces=16)
    started = time.monotonic()
    brought(*bags, cache=tmp_path / "whole")
    usual = time.monotonic() - started
    chance = random.Random(20)  # printed by its constancy
    with watched(cache, len(LARGE), tmp_path / "stop"):
        for _ in range(20):
            running = start("import", *bags, "--cache", cache, "--reserve", "0")
            time.sleep(chance.uniform(0.05, usual))
            running.kill()
        brought(*bags, cache=cache)
    assert without_locks(cache) == without_locks(tmp_path / "whole")
    assert_clean(cache)


def test_an_interrupt_keeps_what_came(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, large_set())
    running = start("import", bag, "--cache", cache, "--reserve", "0")
    while not list(cache.glob("*/.hfaria-import/*.part")) and not running.has_ended:
        time.sleep(0.001)
    running.send(15)
    ended = running.wait()
    assert ended.code in {0, 130}, ended.stderr
    assert "Traceback" not in ended.stderr
    brought(bag, cache=cache)
    assert_clean(cache)


def test_a_run_that_was_cut_off_goes_on_inside_the_file(tmp_path: Path, cache: Path) -> None:
    bags = several_sticks(tmp_path, model_set(), 2)
    assert bring(bags[0], cache=cache).code == 3
    (part,) = sorted(cache.glob("*/.hfaria-import/*.part"))[-1:]
    note = part.with_suffix(".pieces").read_bytes().partition(b"\n")[2]
    assert set(note) == set(b"01")
    # What the first stick brought is not asked for again: it may be gone for good.
    shutil.rmtree(bags[0])
    brought(bags[1], cache=cache)
    assert_clean(cache)


def test_a_note_whose_bytes_were_lost_is_found_out(tmp_path: Path, cache: Path) -> None:
    bags = several_sticks(tmp_path, model_set(), 2)
    assert bring(bags[0], cache=cache).code == 3
    for part in cache.glob("*/.hfaria-import/*.part"):
        part.write_bytes(bytes(part.stat().st_size))
    ended = bring(bags[1], cache=cache)
    assert ended.code in {3, 4}
    assert_clean(cache)
    assert list((cache / REPO / "snapshots").iterdir()) == []
    brought(*bags, cache=cache)
    assert_clean(cache)


# --- bad bytes -----------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def largest(bag: Path) -> Path:
    return max(bag.rglob("*.o*"), key=lambda path: path.stat().st_size)


def repair_stick(root: Path, contents: Set, needs: Path) -> Path:
    """Make what `hfaria bundle repair` makes: a stick of the same set with these pieces alone."""
    from hfaria.bundle.importer.needs import parse_needs  # noqa: PLC0415

    stick = Stick(9, None)
    for sha256, numbers in parse_needs(needs.read_bytes()).pieces.items():
        for number in numbers:
            content = contents.contents()[sha256]
            end = min((number + 1) * PIECE, len(content))
            stick.put_part(content, number * PIECE, end, PIECE)
    return stick.write(root, contents.document())


@pytest.mark.parametrize("sticks", [1, 2])
def test_one_flipped_byte_is_named_and_costs_one_piece(
    tmp_path: Path, cache: Path, sticks: int
) -> None:
    contents = model_set()
    bags = several_sticks(tmp_path, contents, sticks, part_pieces=1000)
    bad = max(map(largest, bags), key=lambda path: path.stat().st_size)
    flip(bad, 5 * PIECE + 17)
    ended = bring(*bags, cache=cache)
    assert (ended.code, code_of(ended)) == (4, "E-PIECE")
    first, last = 5 * PIECE, 6 * PIECE - 1
    assert f"model-00002-of-00002.safetensors, bytes {first}-{last}" in ended.error
    assert_clean(cache)
    assert list((cache / REPO / "snapshots").iterdir()) == []
    (needs,) = tmp_path.glob("needs-*.json")
    repair = repair_stick(tmp_path / "repair", contents, needs)
    carried = sum(path.stat().st_size for path in (repair / "data").rglob("*") if path.is_file())
    assert carried == PIECE
    brought(repair, cache=cache)
    assert_clean(cache)


def test_verify_names_the_same_byte(tmp_path: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    assert run("verify", bag).code == 0
    flip(largest(bag), 5 * PIECE)
    ended = run("verify", bag, "--needs", tmp_path / "needs.json")
    assert (ended.code, code_of(ended)) == (4, "E-PIECE")
    assert f"bytes {5 * PIECE}-{6 * PIECE - 1}" in ended.error
    assert (tmp_path / "needs.json").exists()
    assert run("verify", bag, "--quick").code == 0


@pytest.mark.parametrize(
    ("name", "verify", "importing"),
    [
        ("bundle.json", "E-FORMAT", "E-FORMAT"),
        ("stick.json", "E-FORMAT", "E-FORMAT"),
        ("manifest-sha256.txt", "E-PIECE", None),
        ("bagit.txt", "E-PIECE", None),
    ],
)
def test_a_flipped_byte_in_a_list_is_found(
    tmp_path: Path, cache: Path, name: str, verify: str, importing: str | None
) -> None:
    bag = one_stick(tmp_path, model_set())
    flip(bag / name, 0)
    assert code_of(run("verify", bag)) == verify
    ended = bring(bag, cache=cache)
    assert (ended.code == 0) == (importing is None)
    if importing is not None:
        assert code_of(ended) == importing


def test_a_piece_that_another_stick_has_is_taken_from_there(tmp_path: Path, cache: Path) -> None:
    bad = one_stick(tmp_path / "a", model_set())
    good = one_stick(tmp_path / "b", model_set())
    flip(largest(bad), 0)
    brought(bad, good, cache=cache)
    assert_clean(cache)


def test_a_lost_stick_can_be_asked_for(tmp_path: Path, cache: Path) -> None:
    contents = model_set()
    bags = several_sticks(tmp_path, contents, 2)
    ended = bring(bags[0], cache=cache, options=("--needs", "lost.json"))
    assert (ended.code, code_of(ended)) == (3, "E-MISSING")
    brought(repair_stick(tmp_path / "again", contents, tmp_path / "lost.json"), cache=cache)
    assert_clean(cache)


# --- full disks ----------------------------------------------------------------------------------

# A filesystem of its own, in namespaces of its own: works for root and for anybody else.
SMALL_DISK = """
disk=$1; shift
mkdir -p "$disk" && mount -t tmpfs -o size=20m none "$disk" || exit 99
"$@"; code=$?
find "$disk" -path '*--*' -name '*.safetensors' | grep -q . && exit 98
exit $code
"""
DISK_THAT_FILLS = """
disk=$1; shift
mkdir -p "$disk" && mount -t tmpfs -o size=48m none "$disk" || exit 99
( until ls "$disk"/hub/*/blobs/* >/dev/null 2>&1; do sleep 0.001; done
  head -c 40m /dev/zero > "$disk/filler" ) 2>/dev/null &
"$@" >&2; code=$?
wait
rm "$disk/filler"
echo "first run: $code" >&2
"$@"
"""


def on_a_disk(script: str, disk: Path, bag: Path) -> subprocess.CompletedProcess[str]:
    importer = [sys.executable, "-I", "-S", str(IMPORTER), "import", str(bag)]
    command = [*importer, "--cache", str(disk / "hub"), "--reserve", "0"]
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", str(disk), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(tmp_path: Path) -> None:
    ended = on_a_disk(SMALL_DISK, tmp_path / "disk", one_stick(tmp_path, large_set()))
    assert ended.returncode == 7, ended.stderr
    assert "E-SPACE" in ended.stderr
    assert "nothing was copied" in ended.stderr


def test_a_disk_that_fills_up_meanwhile_ends_in_order_and_goes_on(tmp_path: Path) -> None:
    ended = on_a_disk(DISK_THAT_FILLS, tmp_path / "disk", one_stick(tmp_path, large_set()))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    if "first run: 0" not in ended.stderr:  # the filler came too late to matter
        assert "first run: 7" in ended.stderr
        assert "No space left" in ended.stderr


def test_little_more_disk_is_taken_than_what_stays(tmp_path: Path) -> None:
    bags = several_sticks(tmp_path, large_set(), 2, part_pieces=16)
    size = sum(map(len, LARGE.values())) + (4 << 20)
    script = f"""
    mkdir -p "$1" && mount -t tmpfs -o size={size} none "$1" || exit 99
    shift; exec "$@"
    """
    importer = [sys.executable, "-I", "-S", str(IMPORTER), "import", *map(str, bags)]
    words = [*importer, "--cache", str(tmp_path / "disk" / "hub"), "--reserve", "0"]
    ended = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", str(tmp_path / "disk"), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


COUNTED = """
import importlib.util, sys
def count():
    return int(open("/proc/self/io").read().split()[1])
spec = importlib.util.spec_from_file_location("importer", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["importer"] = module
spec.loader.exec_module(module)
before = count()
code = module.main(sys.argv[2:], {})
print("read", count() - before)
sys.exit(code)
"""


def bytes_read(bag: Path, cache: Path) -> int:
    """Import a stick and return how much was read in all."""
    ended = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c", COUNTED, str(IMPORTER)),
            *("import", str(bag), "--cache", str(cache), "--reserve", "0"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.splitlines()[-1].removeprefix("read "))


def payload_of(bag: Path) -> int:
    return sum(path.stat().st_size for path in (bag / "data").rglob("*") if path.is_file())


def lists_of(bag: Path) -> int:
    return sum(path.stat().st_size for path in bag.glob("*.json"))


def test_a_stick_is_read_once(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, large_set())
    payload = payload_of(bag)
    assert payload < bytes_read(bag, cache) <= 1.01 * payload + lists_of(bag)


def test_what_is_there_already_is_not_even_read_ahead(tmp_path: Path, cache: Path) -> None:
    bags = several_sticks(tmp_path, large_set(), 2, part_pieces=24)  # more than a buffer each
    assert bring(bags[0], cache=cache).code == 3
    whole = one_stick(tmp_path / "whole", large_set())
    missing = payload_of(whole) - payload_of(bags[0])
    # What came in two parts is read back once, from this machine's disk.
    read_back = sum(map(len, LARGE.values()))
    count = bytes_read(whole, cache)
    assert missing < count <= 1.01 * (missing + read_back) + 2 * lists_of(whole)


# --- media ---------------------------------------------------------------------------------------


def command(*words: str) -> str:
    ended = subprocess.run(
        words, check=True, capture_output=True, text=True, env={**os.environ, "PATH": _PATH}
    )
    return ended.stdout.strip()


@contextmanager
def medium(
    tmp_path: Path, fill: Path, *, kind: str, writable: bool = False
) -> Iterator[tuple[Path, Path] | None]:
    """Yield a mounted filesystem with a copy of ``fill``, and its image; None if there is none."""
    programs = {"exfat": ("mkfs.exfat", "mount.exfat-fuse"), "ext4": ("mkfs.ext4", "mount")}[kind]
    image, place = tmp_path / "stick.img", tmp_path / "media"
    if os.geteuid() != 0 or not all(shutil.which(name, path=_PATH) for name in programs):
        yield None
        return
    with image.open("wb") as file:
        file.truncate(80 << 20)
    make = ["mkfs.exfat"] if kind == "exfat" else ["mkfs.ext4", "-q", "-F", "-O", "^has_journal"]
    command(*make, str(image))
    device = ""
    place.mkdir()
    try:
        device = command("losetup", "-f", "--show", str(image))
        mount = ["mount.exfat-fuse"] if kind == "exfat" else ["mount", "-t", "ext4"]
        command(*mount, device, str(place))
        shutil.copytree(fill, place / fill.name)
        command("umount", str(place))
        command(*mount, "-o", "rw" if writable else "ro", device, str(place))
    except subprocess.CalledProcessError:  # a container without the right to
        if device:
            command("losetup", "-d", device)
        yield None
        return
    try:
        yield place, image
    finally:
        with suppress(subprocess.CalledProcessError):
            command("umount", "-l", str(place))
        command("losetup", "-d", device)


def test_a_write_protected_stick_is_imported_and_read_once(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, large_set())
    with medium(tmp_path, bag, kind="exfat") as found:
        place = bag if found is None else found[0]
        for path in [bag, *bag.rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o222)
        brought(place, cache=cache)
        for path in [bag, *bag.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
    assert_clean(cache)


def test_a_cache_on_exfat_holds_files_and_refuses_names_that_it_can_t_hold(
    tmp_path: Path, cache: Path
) -> None:
    odd = {
        "good": {"config.json": b"{}"},
        "device": {"config.json": b"{}", "aux.json": b"1"},
        "case": {"Config.json": b"{}", "config.json": b"1"},
        "colon": {"ab:c": b"1"},
    }
    revisions = tuple(
        Revision(files, commit=f"{number:040x}", refs=(name,))
        for number, (name, files) in enumerate(odd.items(), 1)
    )
    bag = one_stick(tmp_path, Set({"model:org/model": revisions}))
    with medium(tmp_path, bag, kind="exfat", writable=True) as found:
        if found is None:  # what is left to show is that files take the place of links
            ended = bring(bag, cache=cache, symlinks=False)
            assert ended.code == 0, ended.stderr
            return
        cache = found[0] / "hub"
        ended = bring(bag, cache=cache)
        assert (ended.code, code_of(ended)) == (7, "E-NAME"), ended.stderr
        assert all(name in ended.error for name in ("aux.json", "Config.json", "ab:c"))
        snapshots = cache / REPO / "snapshots"
        assert [path.name for path in snapshots.iterdir()] == [f"{1:040x}"]
        assert [path.name for path in (cache / REPO / "refs").iterdir()] == ["good"]
        assert (snapshots / f"{1:040x}" / "config.json").read_bytes() == b"{}"
        assert_clean(cache)


def daemon_of(device: Path) -> int:
    """Return the process that serves a filesystem."""
    name = command("losetup", "-j", str(device)).partition(":")[0]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if name.encode() in process.read_bytes().split(b"\0"):
                return int(process.parent.name)
    raise AssertionError(f"nobody serves {name}")


def test_a_stick_that_is_pulled_ends_in_order_and_goes_on(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, large_set())
    with medium(tmp_path, bag, kind="exfat") as found:
        if found is None:
            # The nearest thing to it: the folder vanishes.
            place = tmp_path / "media"
            shutil.copytree(bag, place / bag.name)
        else:
            place = found[0]
        running = start("import", place, "--cache", cache, "--reserve", "0")
        while not list(cache.glob("*/.hfaria-import/*.part")) and not running.has_ended:
            time.sleep(0.001)
        if found is None:
            (place / bag.name).rename(tmp_path / "pocket")
        else:
            os.kill(daemon_of(found[1]), 9)
        ended = running.wait()
        assert (ended.code, code_of(ended)) == (3, "E-GONE"), ended.stderr
        assert "nothing in the cache is damaged" in ended.error
        assert_clean(cache)
    brought(bag, cache=cache)
    assert_clean(cache)


def test_bad_sectors_cost_their_pieces_and_no_more(tmp_path: Path, cache: Path) -> None:
    weights = noise(20 * PIECE)
    contents = Set({"model:org/model": (Revision({"model.safetensors": weights}),)})
    bag = one_stick(tmp_path, contents)
    with medium(tmp_path, bag, kind="ext4") as found:
        if found is None:
            # The nearest thing to it: the file ends early.
            os.truncate(largest(bag), 18 * PIECE + 5)
            ended = bring(bag, cache=cache)
        else:
            place, image = found
            text = image.read_bytes()
            end = text.find(weights[-PIECE:])
            assert all(text.find(path.read_bytes()) < end for path in bag.glob("*.json"))
            # A loop device answers EIO for what its file no longer has.
            os.truncate(image, end - PIECE)
            Path("/proc/sys/vm/drop_caches").write_text("3\n")
            ended = bring(place, cache=cache)
    assert (ended.code, code_of(ended)) == (4, "E-PIECE"), ended.stderr
    assert f"2 bad pieces: model.safetensors, bytes {18 * PIECE}-{20 * PIECE - 1}" in ended.error
    assert_clean(cache)
    brought(
        repair_stick(tmp_path / "repair", contents, next(tmp_path.glob("needs-*"))), cache=cache
    )
    assert_clean(cache)


def test_a_medium_that_answers_nothing_more_is_gone_not_bad(tmp_path: Path, cache: Path) -> None:
    bag = one_stick(tmp_path, large_set())
    with medium(tmp_path, bag, kind="ext4") as found:
        if found is None:
            # The nearest thing to it: a folder without contents, where each piece is bad.
            shutil.rmtree(bag / "data")
            assert bring(bag, cache=cache).code == 4
            return
        place, image = found
        start_at = image.read_bytes().find(noise(8_000_000, 1)[:PIECE])
        os.truncate(image, start_at + PIECE)
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        ended = bring(place, cache=cache)
    assert (ended.code, code_of(ended)) == (3, "E-GONE"), ended.stderr
    assert list(tmp_path.glob("needs-*")) == []
    assert_clean(cache)
