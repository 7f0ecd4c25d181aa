"""Bundles on real filesystems: exFAT and NTFS through FUSE, FAT32 through mtools, a full ext4.

Where the machine can't mount, a folder stands in and the rules are injected.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.probe import probe
from hfaria.errors import PreflightFailed, StickGone, StickRefused, StoreError
from hfaria.report.reporter import SilentReporter
from hfaria.rules.bundle_plan import LEAST_RESERVE, InPlace
from hfaria.settings import Overrides, load_settings
from hfaria.workflows import bundle_create
from support.bundles import (
    MANY,
    MIB,
    ODD,
    OLD,
    SHARDS,
    TWO,
    assert_valid,
    assert_whole,
    documents,
    request_of,
    sized,
    stick_folders,
)
from support.filesystems import stick_of
from support.trees import assert_clean

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.rules.bundle_plan import Stick
    from hfaria.workflows.bundle_request import StickWanted
    from support.bundles import Writer
    from support.cli import User

NAMES = (SHARDS, TWO, f"{TWO}@{OLD}", ODD)


@pytest.mark.parametrize("kind", ["exfat", "ntfs"])
def test_a_stick_is_loaded_from_while_it_is_write_protected(
    kind: str, writer: Writer, maker: User, tmp_path: Path
) -> None:
    with stick_of(kind, tmp_path) as stick:
        (bag,) = writer.create(NAMES, [stick.place], probe=stick.probe).bags
        stick.unmount()
        stick.mount(read_only=True)
        assert_valid(bag)
        assert_whole([bag])
        _, document = documents(bag)
        assert document.filesystem == {"exfat": "exFAT", "ntfs": "NTFS"}[kind]
        hub = bag / "data" / "hub"
        if stick.is_real:
            with pytest.raises(OSError, match="Read-only"):
                (hub / "trial").touch()
        assert_clean(hub)
        # Two revisions share the weights: only where there are hard links are both in place.
        assert len(list(hub.glob("models--org--two/snapshots/*"))) == (2 if kind == "ntfs" else 1)
        program = (
            "import huggingface_hub as h, pathlib\n"
            f"folder = pathlib.Path(h.snapshot_download({SHARDS!r}))\n"
            "print(sum(p.stat().st_size for p in folder.iterdir()))\n"
            f"print(pathlib.Path(h.hf_hub_download({TWO!r}, 'x/y/z.bin')).read_bytes())\n"
        )
        sizes, body = maker.python(program, HF_HUB_CACHE=str(hub)).splitlines()
        assert int(sizes) > 60 * MIB
        assert body == str(b"\0" * 9)
        cache = tmp_path / "cache"
        ended = subprocess.run(
            [sys.executable, "-I", "-S", str(bag / "import_bundle.py"), "import",
             "--cache", str(cache), "--reserve", "0"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert_clean(cache)
        assert len(list(cache.glob("models--org--two/snapshots/*"))) == 2


def test_many_small_files_take_one_pack_on_exfat(writer: Writer, tmp_path: Path) -> None:
    with stick_of("exfat", tmp_path) as stick:
        options = {"in_place": InPlace.NONE, "probe": stick.probe}
        (bag,) = writer.create([MANY, TWO], [stick.place], **options).bags
        assert_valid(bag)
        assert len(list((bag / "data/pool/packs").iterdir())) == 1


def test_a_finished_stick_that_is_pulled_out_after_the_first_look_is_gone(
    writer: Writer, tmp_path: Path
) -> None:
    with stick_of("exfat", tmp_path) as stick:
        (bag,) = writer.create([SHARDS], [stick.place], probe=stick.probe).bags

        def probe_and_pull(place: Path) -> Stick:
            found = stick.probe(place)
            stick.pull_out()
            return found

        if stick.is_real:
            with pytest.raises(StickGone):
                writer.create([SHARDS], [stick.place], probe=probe_and_pull)
            stick.mount()
        assert_valid(bag)


def test_a_stick_that_is_pulled_out_is_finished_when_it_is_back(
    maker: User, writer: Writer, tmp_path: Path
) -> None:
    with stick_of("exfat", tmp_path) as stick:
        place = stick.place if stick.is_real else stick.place / "mounted"
        place.mkdir(exist_ok=True)
        gone = threading.Event()

        def pull_out() -> None:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                if list(place.glob("hfb-*/data/**/*.tmp")):
                    break
                time.sleep(0.002)
            if stick.is_real:
                stick.pull_out()
            else:
                place.rename(place.with_name("away"))
            gone.set()

        puller = threading.Thread(target=pull_out)
        puller.start()
        with pytest.raises(StickGone, match=r"E-GONE the stick at .* stopped answering") as caught:
            writer.create([SHARDS], [place], probe=stick.probe)
        puller.join()
        assert gone.is_set()
        assert int(caught.value.exit_code) == 3
        with pytest.raises((StickGone, StickRefused), match=r"E-GONE|is not a folder"):
            writer.create([SHARDS], [place], probe=stick.probe if stick.is_real else probe)
        if stick.is_real:
            stick.mount()
        else:
            place.with_name("away").rename(place)
        (bag,) = writer.create([SHARDS], [place], probe=stick.probe).bags
        assert_valid(bag)
        assert_whole([bag])
        assert_clean(maker.cache)


def test_a_stick_that_gets_full_meanwhile_is_finished_when_there_is_room(
    maker: User, writer: Writer, tmp_path: Path
) -> None:
    with stick_of("ext4", tmp_path, size=160 * MIB) as stick:
        if not stick.is_real:
            # Nothing here can be filled up: what is left to see is that no byte is risked.
            narrow = sized("ntfs", {stick.place: LEAST_RESERVE + 40 * MIB})
            with pytest.raises(PreflightFailed, match="E-SPACE"):
                writer.create([SHARDS], [stick.place], probe=narrow)
            return
        filler = stick.place / "filler"

        def fill(_draft: object) -> None:
            free = shutil.disk_usage(stick.place).free
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, free - 30 * MIB)

        with pytest.raises(StoreError, match="is full after"):
            bundle_create.create(
                request_of([SHARDS], [stick.place]),
                settings=load_settings(Overrides(), maker.environ),
                reporter=SilentReporter(),
                on_plan=fill,
            )
        filler.unlink()
        (bag,) = writer.create([SHARDS], [stick.place]).bags
        assert_valid(bag)
        assert_whole([bag])


def test_everything_on_a_stick_fits_into_fat32_by_name_and_comes_back(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    options = {
        "probe": sized("fat32", {place: 1 << 30}),
        "part_size": 16 * MIB,
        "in_place": InPlace.NONE,
    }
    (bag,) = writer.create([SHARDS, MANY, ODD], [place], **options).bags
    back = tmp_path / "back"
    back.mkdir()
    if shutil.which("mcopy") and shutil.which("mkfs.vfat", path="/usr/sbin:/sbin"):
        image = tmp_path / "fat.img"
        with image.open("wb") as file:
            file.truncate(256 * MIB)
        tool = shutil.which("mkfs.vfat", path="/usr/sbin:/sbin") or ""
        subprocess.run([tool, "-F", "32", str(image)], check=True, capture_output=True)
        environ = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
        into = ["mcopy", "-s", "-i", str(image), str(bag), "::"]
        subprocess.run(into, check=True, env=environ, capture_output=True)
        out = ["mcopy", "-s", "-n", "-i", str(image), f"::/{bag.name}", str(back)]
        subprocess.run(out, check=True, env=environ, capture_output=True)
    else:
        names = [path.relative_to(bag) for path in bag.rglob("*")]
        assert len({str(name).lower() for name in names}) == len(names)
        assert all(len(name.parts) <= 4 and len(str(name)) <= 110 for name in names)
        shutil.copytree(bag, back / bag.name)
    assert_valid(back / bag.name)
    assert_whole([back / bag.name])


def test_one_port_takes_one_stick_after_the_other(writer: Writer, tmp_path: Path) -> None:
    small = LEAST_RESERVE + 50 * MIB
    with (
        stick_of("exfat", tmp_path / "1", size=small) as first,
        stick_of("exfat", tmp_path / "2", size=small) as second,
    ):
        place, troubles = first.place, []

        def swap(wanted: StickWanted) -> Path:
            troubles.append(wanted.trouble)
            if first.is_real and len(troubles) == 1:
                first.unmount()  # and nothing comes in its place
                return place
            if first.is_real:
                second.unmount()
                replace(second, place=place).mount()
            else:
                place.rename(tmp_path / "drawer")
                place.mkdir()
            return place

        created = bundle_create.create(
            request_of(NAMES[:1], [place], stick_sizes=(small,), probe=first.probe),
            settings=load_settings(Overrides(), writer.user.environ),
            reporter=SilentReporter(),
            on_plan=lambda _draft: None,
            next_stick=swap,
        )
        assert created.missing == ()
        assert troubles == ([None, f"nothing is mounted at `{place}`"] if first.is_real else [None])
        if first.is_real:  # look at both at once
            replace(first, place=second.place).mount()
        drawer = second.place if first.is_real else tmp_path / "drawer"
        bags = [drawer / created.bags[0].name, created.bags[1]]
        for bag in bags:
            assert_valid(bag)
        assert_whole(bags)
