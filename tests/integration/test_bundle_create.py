"""Writing bundles: what is on the sticks, resumed or not, and what is refused."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import scan_cache_dir

from hfaria.bundle.importer.canonical import set_id_of
from hfaria.bundle.importer.format import PIECE_SIZE, receipt_code
from hfaria.cli.bundle_render import draft_lines
from hfaria.errors import (
    CorruptCache,
    EndpointUnreachable,
    PreflightFailed,
    StickChanged,
    StickRefused,
    UnknownBase,
    UnsafeCache,
)
from hfaria.rules.bundle_plan import LEAST_RESERVE, InPlace, Stick
from support.bundles import (
    MANY,
    MIB,
    ODD,
    OLD,
    SHARDS,
    TWO,
    Writer,
    assert_valid,
    assert_whole,
    documents,
    payload,
    sized,
    stick_folders,
)
from support.cli import refused

if TYPE_CHECKING:
    from support.cli import User

ROOM = LEAST_RESERVE + 28 * MIB
"""A stick that takes one shard."""


def test_one_command_makes_a_stick_that_standard_tools_can_check(
    maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    run = maker.run("bundle", "create", SHARDS, f"{TWO}@{OLD}", MANY, "--to", str(place))
    assert run.code == 0, run.stderr
    (line,) = run.stdout.splitlines()
    bag = Path(line)
    bundle, stick = documents(bag)
    assert bag.name == f"hfb-{bundle.set_id[:8]}-s01"
    assert_valid(bag)
    assert_whole([bag])
    assert (stick.number, stick.of) == (1, 1)
    assert f"set {bundle.set_id[:16]}: 3 repos, 3 revisions" in run.stderr
    two = next(repo for repo in bundle.repos if repo.repo_id == TWO)
    assert list(two.refs) == [OLD]
    shards = next(repo for repo in bundle.repos if repo.repo_id == SHARDS)
    assert (shards.license, shards.is_gated) == ("apache-2.0", False)
    info = (bag / "bag-info.txt").read_text()
    assert f"Bag-Group-Identifier: hfaria:{bundle.set_id}\n" in info
    assert "Bag-Count: 1 of 1\n" in info


def test_the_set_id_depends_on_content_alone(writer: Writer, tmp_path: Path) -> None:
    one, two = stick_folders(tmp_path, 2)
    first = writer.create([TWO, ODD], [one])
    (tmp_path / "state").rename(tmp_path / "state-of-another-machine")
    second = writer.create([ODD, TWO], [two], in_place=InPlace.NONE)
    assert first.set_id == second.set_id
    document = json.loads((first.bags[0] / "bundle.json").read_bytes())
    assert set_id_of(document) == first.set_id


def test_no_tag_file_tells_where_or_by_whom_it_was_made(maker: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    key = "hf_" + "A1b2" * 8
    secretive = maker.having(HF_TOKEN=key, USER="somebody-known", LOGNAME="somebody-known")
    run = secretive.run("bundle", "create", ODD, SHARDS, "--to", str(place), "-q")
    assert run.code == 0, run.stderr
    words = [key, str(tmp_path), str(maker.home), "somebody-known"]
    for name, content in payload(place).items():
        if "/data/" in name:
            continue
        assert re.search(rb"\bhf_[A-Za-z0-9]{8,}", content) is None, name
        assert [word for word in words if word.encode() in content] == [], name


def test_every_file_lies_on_one_of_three_sticks_each_a_bag(writer: Writer, tmp_path: Path) -> None:
    places = stick_folders(tmp_path, 3)
    probe = sized("exfat", dict.fromkeys(places, ROOM))
    created = writer.create([SHARDS], places, probe=probe)
    assert (created.sticks, created.missing) == (3, ())
    assert_whole(created.bags)
    texts = {(bag / "bundle.json").read_bytes() for bag in created.bags}
    assert len(texts) == 1
    for number, bag in enumerate(created.bags, 1):
        assert_valid(bag)
        _, stick = documents(bag)
        assert (stick.number, stick.of, stick.filesystem) == (number, 3, "exFAT")
        # Whole files are kept whole: a lost stick loses whole files, not all.
        assert all(held.offset == 0 for held in stick.ranges)


def test_a_revision_in_place_is_loaded_from_the_stick_itself(maker: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    run = maker.run("bundle", "create", TWO, f"{TWO}@{OLD}", SHARDS, "--to", str(place), "-q")
    hub = Path(run.stdout.strip()) / "data" / "hub"
    assert [str(warning) for warning in scan_cache_dir(hub).warnings] == []
    program = (
        "import huggingface_hub as h, pathlib\n"
        f"for name, rev in (({TWO!r}, 'main'), ({TWO!r}, {OLD!r}), ({SHARDS!r}, None)):\n"
        "    folder = pathlib.Path(h.snapshot_download(name, revision=rev))\n"
        "    print(len([p for p in folder.rglob('*') if p.is_file()]))\n"
        f"print(pathlib.Path(h.hf_hub_download({TWO!r}, 'x/y/z.bin')).stat().st_size)\n"
    )
    assert maker.python(program, HF_HUB_CACHE=str(hub)).split() == ["3", "3", "6", "9"]
    checked = maker.run("bundle", "verify", str(place))
    assert checked.code == 0, checked.stderr
    # The weights that both revisions share are one file where the stick has hard links.
    first, second = hub.glob("models--org--two/snapshots/*/model.safetensors")
    assert first.samefile(second)


def test_names_that_windows_cannot_open_go_to_the_pool(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    created = writer.create([ODD], [place])
    (bag,) = created.bags
    assert_valid(bag)
    assert_whole([bag])
    assert not (bag / "data" / "hub").exists()


def test_a_filtered_bundle_has_no_listing_and_loads_what_it_has(
    maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    run = maker.run("bundle", "create", SHARDS, "--include", "*.json", "--to", str(place), "-q")
    bag = Path(run.stdout.strip())
    assert_valid(bag)
    bundle, _ = documents(bag)
    (revision,) = bundle.repos[0].revisions.values()
    assert (revision.is_complete, revision.patterns) == (
        False,
        {"include": ["*.json"], "exclude": []},
    )
    assert list(bag.rglob("trees")) == []
    program = f"import huggingface_hub as h; print(h.snapshot_download({SHARDS!r}))"
    snapshot = Path(maker.python(program, HF_HUB_CACHE=str(bag / "data" / "hub")))
    assert [path.name for path in snapshot.iterdir()] == ["config.json"]


def test_a_complete_revision_has_its_listing_and_a_ref_without_newline(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([SHARDS], [place]).bags
    folder = bag / "data" / "hub" / "models--org--shards"
    commit = (folder / "refs" / "main").read_bytes()
    assert re.fullmatch(rb"[0-9a-f]{40}", commit)
    listing = json.loads((folder / "trees" / f"{commit.decode()}.json").read_bytes())
    assert len(listing["files"]) == 6


def test_large_files_are_cut_where_the_filesystem_or_the_user_says(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([SHARDS], [place], part_size=PIECE_SIZE, in_place=InPlace.NONE).bags
    assert_valid(bag)
    assert_whole([bag])
    _, stick = documents(bag)
    assert sorted({held.offset for held in stick.ranges}) == [0, PIECE_SIZE]
    readme = (bag / "README.txt").read_text()
    line = next(line for line in readme.splitlines() if "model-1-of-3" in line and "cat" in line)
    command = line.partition("Linux:")[2].replace("> ", f"> {tmp_path}/").split(";")[0]
    subprocess.run(command, shell=True, check=True, cwd=bag)
    joined = subprocess.run(
        ["sha256sum", str(tmp_path / "model-1-of-3.safetensors")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert joined.stdout.split()[0] in readme


def test_a_file_larger_than_every_stick_is_cut_over_sticks(writer: Writer, tmp_path: Path) -> None:
    places = stick_folders(tmp_path, 4)
    probe = sized("exfat", dict.fromkeys(places, LEAST_RESERVE + 18 * MIB))
    created = writer.create([f"{SHARDS}"], places, probe=probe)
    assert created.sticks == 4
    assert_whole(created.bags)
    for bag in created.bags:
        assert_valid(bag)


def test_many_small_files_share_packs(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([MANY], [place], in_place=InPlace.NONE).bags
    assert_valid(bag)
    assert_whole([bag])
    names = [path.name for path in (bag / "data" / "pool").rglob("*") if path.is_file()]
    assert len(names) == 1
    listed = subprocess.run(
        ["tar", "-tf", str(bag / "data/pool/packs" / names[0])],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert len(listed.stdout.split()) == 600


def test_the_same_command_twice_changes_nothing(maker: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    command = ["bundle", "create", SHARDS, "--to", str(place), "-q"]
    assert maker.run(*command).code == 0
    before = payload(place)
    again = maker.run(*command)
    assert again.code == 0, again.stderr
    assert payload(place) == before


def test_a_stick_that_is_full_of_this_very_set_is_done_not_refused(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    first = writer.create([SHARDS], [place], probe=sized("exfat", {place: 1 << 30}))
    again = writer.create([SHARDS], [place], probe=sized("exfat", {place: 1 << 20}))
    assert again == first


def test_another_copy_goes_to_another_stick(writer: Writer, tmp_path: Path) -> None:
    one, two = stick_folders(tmp_path, 2)
    first = writer.create([TWO], [one])
    second = writer.create([TWO], [two])
    assert second.set_id == first.set_id
    assert payload(two).keys() == payload(one).keys()
    assert_valid(second.bags[0])


def test_sticks_that_are_not_at_hand_are_written_by_the_same_command_later(
    maker: User, tmp_path: Path
) -> None:
    one, two = stick_folders(tmp_path, 2)
    writer = Writer(maker)
    probe = sized("exfat", {one: LEAST_RESERVE + 50 * MIB, two: LEAST_RESERVE + 50 * MIB})
    options = {"stick_sizes": (LEAST_RESERVE + 50 * MIB,), "probe": probe}
    first = writer.create([SHARDS], [one], **options)
    assert first.missing == (2,)
    assert_valid(first.bags[0])
    _, stick = documents(first.bags[0])
    assert stick.of == 2
    second = writer.create([SHARDS], [two], **options)
    assert (second.missing, second.set_id) == ((), first.set_id)
    assert_whole([*first.bags, *second.bags])
    assert_valid(second.bags[0])


def test_a_stick_that_is_too_small_for_what_was_planned_is_refused(
    writer: Writer, tmp_path: Path
) -> None:
    one, two = stick_folders(tmp_path, 2)
    probe = sized("exfat", {one: LEAST_RESERVE + 50 * MIB, two: LEAST_RESERVE + 5 * MIB})
    options = {"stick_sizes": (LEAST_RESERVE + 50 * MIB,), "probe": probe}
    writer.create([SHARDS], [one], **options)
    with pytest.raises(PreflightFailed, match=r"not enough space at .*stick2"):
        writer.create([SHARDS], [two], **options)
    assert list(two.iterdir()) == []


def test_it_is_said_before_the_first_byte_that_it_does_not_fit(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    with pytest.raises(PreflightFailed, match=r"it does not fit: .* more room is needed"):
        writer.create([SHARDS], [place], probe=sized("exfat", {place: ROOM}))
    assert list(place.iterdir()) == []


def test_places_on_one_filesystem_do_not_count_its_room_twice(
    writer: Writer, tmp_path: Path
) -> None:
    places = stick_folders(tmp_path, 3)
    found = sized("exfat", dict.fromkeys(places, ROOM))

    def probe(place: Path) -> Stick:
        return replace(found(place), device=1)

    draft = writer.draft([SHARDS], places, probe=probe)
    assert any("share one filesystem" in problem for problem in draft.problems)


def test_a_plan_alone_writes_nothing_and_tells_all(maker: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    run = maker.run("bundle", "create", SHARDS, ODD, "--to", str(place), "--plan-only")
    assert run.code == 0, run.stderr
    assert list(place.iterdir()) == []
    assert f"usable on stick 1 itself: {SHARDS} at" in run.stdout
    assert f"to be imported: {ODD} at" in run.stdout
    assert "'100%.txt': BagIt and sha256sum disagree about % in names" in run.stdout
    document = maker.run(
        "bundle", "create", SHARDS, "--stick", "90MB", "--stick", "1GB", "--plan-only", "--json"
    ).document
    assert [stick["stick"] for stick in document["sticks"]] == [1]
    assert document["bytes_missing"] == 0


def test_a_plan_for_fat_says_what_is_cut_and_what_would_be_better(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)

    def narrow(at: Path) -> Stick:
        # As FAT32, but with a limit that files of this size meet.
        return replace(sized("fat32", {at: 1 << 30})(at), largest_file=17 * MIB)

    draft = writer.draft([SHARDS], [place], probe=narrow)
    lines = draft_lines(draft)
    assert [line for line in lines if line.startswith("E-FAT4G")] == [
        f"E-FAT4G {place} is FAT32: model-{n}-of-3.safetensors (21.0 MB) is stored in 2 parts and "
        "cannot be loaded from the stick itself. Import it, or reformat the stick as exFAT (this "
        "erases it)."
        for n in (3, 1, 2)
    ]
    assert any("is larger than a file can be on FAT32" in line for line in lines)
    (bag,) = writer.create([SHARDS], [place], probe=narrow).bags
    assert_valid(bag)
    assert_whole([bag])
    assert max(path.stat().st_size for path in bag.rglob("*") if path.is_file()) <= 17 * MIB


def test_a_corrupt_cache_stops_the_run_and_the_stick_keeps_no_bad_byte(
    maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    spoilt = _copy_of(maker, tmp_path)
    blob = next(path for path in (spoilt / "models--org--two/blobs").iterdir() if _is_large(path))
    _flip(blob, 1_000_000)
    writer = Writer(maker.having(HF_HUB_CACHE=str(spoilt)))
    with pytest.raises(CorruptCache, match=r"`model.safetensors` of models--org--two has other"):
        writer.create([TWO], [place])
    assert list(place.rglob("*.safetensors*")) == []
    # The other way to be wrong: a small file, whose name is git's.
    small = next(path for path in (spoilt / "models--org--odd/blobs").iterdir())
    _flip(small, 0)
    with pytest.raises(CorruptCache):
        writer.create([ODD], [place])


def _copy_of(maker: User, folder: Path) -> Path:
    spoilt = folder / "spoilt-cache"
    subprocess.run(["cp", "-a", str(maker.cache), str(spoilt)], check=True)
    return spoilt


def _is_large(path: Path) -> bool:
    return path.stat().st_size > MIB


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("kind", ["outside", "fifo", "loop", "gone"])
def test_a_cache_cannot_make_it_read_what_is_not_in_the_cache(
    kind: str, maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    hostile = _copy_of(maker, tmp_path)
    blob = next(path for path in (hostile / "models--org--two/blobs").iterdir() if _is_large(path))
    content = blob.read_bytes()
    blob.unlink()
    if kind == "outside":
        (tmp_path / "secret").write_bytes(content)
        blob.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(blob)
    elif kind == "loop":
        blob.symlink_to(blob)
    writer = Writer(maker.having(HF_HUB_CACHE=str(hostile)))
    # What is no file counts as not cached: a pull with the network at hand would replace it.
    with pytest.raises(UnsafeCache if kind == "outside" else EndpointUnreachable):
        writer.create([TWO], [place])
    assert not list(place.rglob("*.safetensors*"))


def test_links_into_the_shared_store_are_followed_and_bytes_copied(
    maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    shared = _copy_of(maker, tmp_path)
    blob = next(path for path in (shared / "models--org--two/blobs").iterdir() if _is_large(path))
    store = shared / "blobs" / "ab" / ("ab" * 32)
    store.parent.mkdir(parents=True)
    (shared / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
    blob.rename(store)
    blob.symlink_to(Path("../../blobs/ab") / store.name)
    (bag,) = Writer(maker.having(HF_HUB_CACHE=str(shared))).create([TWO], [place]).bags
    assert_valid(bag)
    assert [path for path in bag.rglob("*") if path.is_symlink()] == []


def test_a_cache_without_symlinks_is_read_as_well(maker: User, tmp_path: Path) -> None:
    (place, other) = stick_folders(tmp_path, 2)
    (bag,) = Writer(maker).create([TWO], [place]).bags
    flat = maker.having(HF_HUB_CACHE=str(bag / "data" / "hub"), HF_HUB_DISABLE_SYMLINKS="1")
    (copy,) = Writer(flat).create([TWO], [other]).bags
    assert (copy / "bundle.json").read_bytes() == (bag / "bundle.json").read_bytes()


def test_what_the_set_did_not_write_is_never_touched(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (place / "holiday.jpg").write_bytes(b"jpg")
    (bag,) = writer.create([TWO], [place]).bags
    assert (place / "holiday.jpg").read_bytes() == b"jpg"
    stranger = bag / "data" / "mine.txt"
    stranger.write_bytes(b"mine")
    (bag / "stick.json").unlink()
    before = payload(place)
    with pytest.raises(StickRefused, match="of another set or plan, or damaged"):
        writer.create([TWO], [place])
    assert payload(place) == before


def test_a_folder_with_files_of_another_set_is_refused(writer: Writer, tmp_path: Path) -> None:
    one, two = stick_folders(tmp_path, 2)
    first = writer.create([TWO], [one])
    other = two / first.bags[0].name
    other.mkdir()
    (other / "bagit.txt").write_text("BagIt-Version: 1.0\n")
    with pytest.raises(StickRefused):
        writer.create([TWO], [two])
    assert payload(two) == {f"{other.name}/bagit.txt": b"BagIt-Version: 1.0\n"}


@pytest.mark.parametrize("at", ["", "data", "data/hub", "stick.json.tmp", "bundle.json.tmp"])
def test_a_link_on_a_stick_is_never_written_through(
    at: str, writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([TWO], [place]).bags
    _reopen(bag, writer)
    outside = tmp_path / "outside"
    outside.mkdir()
    path = bag / at
    if path.exists():
        moved = path.rename(outside / "moved")
        path.symlink_to(moved)
    else:
        path.symlink_to(outside / "new")
    before = payload(outside)
    with pytest.raises(StickRefused):
        writer.create([f"{TWO}"], [place])
    assert payload(outside) == before


def test_a_link_in_place_of_a_small_file_is_replaced(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([TWO], [place]).bags
    _reopen(bag, writer)
    outside = tmp_path / "mine.txt"
    outside.write_text("mine")
    for path in (bag / "bagit.txt", next(bag.rglob("model.safetensors"))):
        path.unlink()
        path.symlink_to(outside)
    writer.create([TWO], [place])
    assert outside.read_text() == "mine"
    assert [path for path in bag.rglob("*") if path.is_symlink()] == []
    assert_valid(bag)


def test_what_a_killed_probe_left_goes_with_the_next_one(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".hfaria-{ended.pid}-0123abcd", f".hfaria-{ended.pid}-0123abcd.2"):
        (place / name).touch()
    kept = {f".hfaria-{os.getpid()}-0123abcd": b"", f".hfaria-{ended.pid}-89abcdef": b"mine"}
    for name, content in kept.items():
        (place / name).write_bytes(content)
    writer.draft([ODD], [place])
    assert payload(place) == kept


def test_a_folder_that_another_run_began_is_left_alone(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([TWO], [place]).bags
    _reopen(bag, writer)
    subprocess.run(["rm", "-r", str(tmp_path / "state")], check=True)
    before = payload(place)
    with pytest.raises(StickRefused, match="begun in another run"):
        writer.create([TWO], [place])
    assert payload(place) == before


def test_what_the_stick_gives_back_is_compared(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)

    # Between writing and reading back, as a broken stick would: a stale journal makes the second
    # run trust what the first one wrote, and reading back finds out.
    created = writer.create([SHARDS], [place])
    (bag,) = created.bags
    assert_valid(bag)
    _reopen(bag, writer)
    victim = next(bag.rglob("model-2-of-3.safetensors"))
    _flip(victim, 17 * MIB)
    with pytest.raises(StickChanged, match=r"model-2-of-3\.safetensors"):
        writer.create([SHARDS], [place])
    assert not victim.exists()
    writer.create([SHARDS], [place])
    assert_valid(bag)


def test_recheck_finds_what_went_wrong_since(writer: Writer, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([SHARDS], [place]).bags
    _reopen(bag, writer)
    _flip(next(bag.rglob("model-2-of-3.safetensors")), 5)
    writer.create([SHARDS], [place], recheck=True)
    assert_valid(bag)


def _reopen(bag: Path, writer: Writer) -> None:
    """Turn a finished stick into one that was interrupted just before it was finished."""
    _, stick = documents(bag)
    head = {
        "format": "hfaria-journal/1",
        "set_id": stick.set_id,
        "stick": stick.number,
        "stick_uuid": stick.uuid,
    }
    lines = [head]
    for held in stick.ranges:
        path = bag / held.path
        row = [held.sha256, held.offset, held.length, held.start, list(held.pieces)]
        digest = subprocess.run(
            ["sha256sum", str(path)], check=True, capture_output=True, text=True
        ).stdout.split()[0]
        lines.append(
            {
                "written": held.path,
                "path": held.path,
                "sha256": digest.removeprefix("\\"),
                "size": path.stat().st_size,
                "ranges": [row],
            }
        )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (bag / ".hfaria-journal.jsonl").write_text(text)
    plan = Path(writer.user.settings["HFARIA_STATE_DIR"]) / "bundles" / stick.set_id / "plan.json"
    document = json.loads(plan.read_text())
    plan.write_text(json.dumps({**document, "finished": []}))


def test_a_second_months_bundle_carries_only_what_is_new(writer: Writer, tmp_path: Path) -> None:
    one, two = stick_folders(tmp_path, 2)
    first = writer.create([f"{TWO}@{OLD}"], [one])
    ledger = Path(writer.user.settings["HFARIA_STATE_DIR"]) / "bundles"
    with pytest.raises(UnknownBase, match="nobody confirmed"):
        writer.create([TWO], [two], base=f"set:{first.set_id[:8]}")
    run = writer.user.run("bundle", "ack", receipt_code(first.set_id).lower())
    assert run.code == 0, run.stderr
    assert (ledger / first.set_id / "acknowledged").exists()
    second = writer.create([TWO], [two], base=f"set:{first.set_id[:8]}")
    bundle, _ = documents(second.bags[0])
    assert sorted(item.size for item in bundle.objects.values()) == [9, 10]
    assert [item.size for item in bundle.requires.values()] == [3 * MIB]
    assert (bundle.base_kind, bundle.base_id) == ("set", first.set_id)
    assert_valid(second.bags[0])
    assert_whole(second.bags)
    review = (second.bags[0] / "REVIEW.txt").read_text()
    assert "needs       1 file that the target has already" in review


@pytest.mark.parametrize("code", ["HFR1-00000000-AAAAAA", "x", ""])
def test_a_receipt_of_no_set_is_refused(code: str, maker: User) -> None:
    assert "is not the receipt of a set" in refused(maker.run("bundle", "ack", code), 2)


def test_giving_up_removes_what_the_set_wrote_and_nothing_else(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (place / "holiday.jpg").write_bytes(b"jpg")
    created = writer.create([SHARDS], [place])
    (bag,) = created.bags
    finished = writer.user.run("bundle", "abort", created.set_id[:8], "--to", str(place))
    assert "kept" in finished.stderr
    assert_valid(bag)
    writer.create([SHARDS], [place])
    _reopen(bag, writer)
    (bag / "data" / "mine.txt").write_bytes(b"mine")
    writer.user.run("bundle", "abort", created.set_id[:8], "--to", str(place))
    names = set(payload(place))
    assert names == {
        "holiday.jpg", f"{bag.name}/data/mine.txt", f"{bag.name}/.hfaria-journal.jsonl"
    }  # fmt: skip
    (bag / "data" / "mine.txt").unlink()
    gone = writer.user.run("bundle", "abort", created.set_id[:8], "--to", str(place))
    assert gone.code == 0, gone.stderr
    assert set(payload(place)) == {"holiday.jpg"}
    assert not bag.exists()


def test_a_stick_of_an_earlier_plan_is_not_taken_for_one_of_the_new(
    writer: Writer, tmp_path: Path
) -> None:
    one, two = stick_folders(tmp_path, 2)
    small = sized("exfat", {one: LEAST_RESERVE + 50 * MIB, two: LEAST_RESERVE + 50 * MIB})
    options = {"stick_sizes": (LEAST_RESERVE + 50 * MIB,), "probe": small}
    first = writer.create([SHARDS], [one], **options)
    assert first.missing == (2,)
    assert writer.user.run("bundle", "abort", first.set_id[:8]).code == 0
    # One large stick now, and the old stick 1 is in: it holds a part of what stick 1 has to hold.
    with pytest.raises(StickRefused, match="of another set or plan"):
        writer.create([SHARDS], [one], probe=sized("exfat", {one: 1 << 30}))
    whole = writer.create([SHARDS], [two], probe=sized("exfat", {two: 1 << 30}))
    assert_whole(whole.bags)


def test_two_writers_of_one_set_do_not_meet(maker: User, tmp_path: Path) -> None:
    one, two = stick_folders(tmp_path, 2)
    running = [
        maker.start("bundle", "create", SHARDS, "--to", str(place), "-q") for place in (one, two)
    ]
    runs = [process.wait() for process in running]
    assert sorted({run.code for run in runs}) in ([0], [0, 7]), runs
    for run in runs:
        if run.code:
            assert "another process is writing sticks of set" in run.error
    finished = [place for place in (one, two) if list(place.glob("hfb-*/stick.json"))]
    assert finished
    for place in finished:
        assert_valid(next(place.glob("hfb-*")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "{place}"], "no repo is named"),
        ([TWO], "no place to write to is named"),
        ([TWO, "--to", "{place}/absent"], "is not a folder"),
        ([TWO, "--to", "{place}", "--to", "{place}/"], "named twice"),
        ([TWO, "--to", "{place}", "--part-size", "1MB"], "less than a piece"),
        ([TWO, "--to", "{place}", "--base", "absent.json"], "can't be read"),
        ([TWO, "--to", "{place}", "--base", "set:12345678"], "was made on this machine"),
        ([TWO, "--to", "{place}", "--include", "nothing*"], "no file of"),
        (["org/name@", "--to", "{place}"], "names no revision"),
        ([TWO, "--to", "{place}", "--sign-ssh", "{place}/absent"], "the key"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], words: str, maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    run = maker.run("bundle", "create", *(word.format(place=place) for word in arguments))
    assert run.code in {2, 7, 8}, run.stderr
    assert words in run.error
    assert "Traceback" not in run.stderr
    assert list(place.rglob("*.safetensors")) == []


def test_a_list_of_repos_is_read_with_its_comments(maker: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    listed = tmp_path / "list.txt"
    listed.write_text(f"# the models\n{TWO}@{OLD}\n\nhf://{MANY}  # and a dataset\n")
    run = maker.run("bundle", "create", "--from-file", str(listed), "--to", str(place), "-q")
    assert run.code == 0, run.stderr
    bundle, _ = documents(Path(run.stdout.strip()))
    assert [(repo.repo_type, repo.repo_id) for repo in bundle.repos] == [
        ("dataset", "org/many"),
        ("model", TWO),
    ]


def test_kills_at_any_moment_leave_a_stick_that_the_next_run_finishes(
    maker: User, tmp_path: Path
) -> None:
    (reference, place) = stick_folders(tmp_path, 2)
    patterns = ["--include", "*1-of-3*", "--include", "*.txt", "--in-place", "none"]
    command = ["bundle", "create", SHARDS, MANY, *patterns, "-q", "--to"]
    alone = maker.having(HFARIA_STATE_DIR=str(tmp_path / "other-state"))
    whole = alone.run(*command, str(reference))
    assert whole.code == 0, whole.stderr
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    moments = random.Random(seed)
    kills = 0
    while kills < 20:
        running = maker.start(*command, str(place))
        deadline = moments.uniform(0.5, 0.75) * whole.seconds + moments.uniform(0, 0.3)
        ended = _kill_after(running, deadline)
        kills += 1
        for bag in place.glob("hfb-*"):
            if not (bag / ".hfaria-journal.jsonl").exists() and any(bag.iterdir()):
                assert_valid(bag)
        if ended:
            (bag,) = place.glob("hfb-*")
            before = payload(bag)
            subprocess.run(["rm", "-r", str(bag)], check=True)
            subprocess.run(["rm", "-r", str(tmp_path / "state")], check=True)
            assert before
    last = maker.run(*command, str(place))
    assert last.code == 0, last.stderr
    ours, theirs = payload(place), payload(reference)
    varying = ("stick.json", "bundle.json", "tagmanifest-sha256.txt", "REVIEW.txt")
    assert {k: v for k, v in ours.items() if not k.endswith(varying)} == {
        k: v for k, v in theirs.items() if not k.endswith(varying)
    }
    assert_valid(next(place.glob("hfb-*")))


# Python tells its audit hooks what it is about to do with a file: a kill at that very moment.
_KILLED_AT = """
import itertools, os, signal, sys
steps = itertools.count(1)
def on(event, arguments):
    if event in {"open", "os.mkdir", "os.rename"}:
        path = str(arguments[0])
        is_ours = "/hfb-" in path or path.endswith("plan.json.tmp")
        if is_ours and (event != "open" or "r" not in str(arguments[1])):
            if next(steps) == int(os.environ["STEP"]):
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(on)
"""


def test_a_kill_at_each_of_the_first_steps_of_a_stick_leaves_no_dead_end(
    maker: User, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_KILLED_AT, encoding="utf-8")
    for step in range(1, 9):
        home = tmp_path / f"step{step}"
        (place,) = stick_folders(home, 1)
        command = ["bundle", "create", MANY, "-q", "--to", str(place)]
        somebody = maker.having(HFARIA_STATE_DIR=str(home / "state"))
        killed = somebody.having(PYTHONPATH=str(tmp_path), STEP=str(step)).run(*command)
        assert killed.code == -9, f"step {step}: {killed.stderr}"
        again = somebody.run(*command)
        assert again.code == 0, f"step {step}: {again.stderr}"
        assert_valid(next(place.glob("hfb-*")))


def _kill_after(running: object, seconds: float) -> bool:
    """Kill a run at a moment; tell whether it was over before."""
    import time  # noqa: PLC0415

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if running.has_ended:  # type: ignore[attr-defined]
            assert running.wait().code == 0  # type: ignore[attr-defined]
            return True
        time.sleep(0.005)
    running.kill()  # type: ignore[attr-defined]
    return False
