"""Where contents go: placement, spanning, cutting, and what is said about it."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.bundle.document import FORMAT
from hfaria.bundle.importer.format import FAT32_LARGEST_FILE, PIECE_SIZE
from hfaria.rules.bundle_placement import (
    FREELY_COPIED,
    LARGEST_PACK,
    MANY,
    make_bundle_plan,
    make_repair_plan,
)
from hfaria.rules.bundle_plan import BundlePlan, Entry, InPlace, Revision, Stick
from hfaria.rules.bundle_plan_file import RecordedPlan, from_document, to_document

GB = 10**9
PART_SIZE = 255 * PIECE_SIZE  # the most whole pieces that fit a file on FAT32
FOLDER = "models--org--name"
MAIN, OLD = "a" * 40, "b" * 40


def content(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def entry(path: str, size: int, same_as: str | None = None) -> Entry:
    return Entry(path, content(same_as or path), size)


def revision(
    *entries: Entry, commit: str = MAIN, folder: str = FOLDER, **facts: object
) -> Revision:
    return Revision(folder, commit, f"{folder} at {commit[:4]}", entries, **facts)  # type: ignore[arg-type]


def exfat(size: int, label: str = "E") -> Stick:
    return Stick(label, size, None, kind="exFAT")


def ntfs(size: int) -> Stick:
    return Stick("N", size, None, cluster=4096, kind="NTFS", has_hard_links=True)


def fat(size: int, label: str = "F") -> Stick:
    return Stick(label, size, FAT32_LARGEST_FILE, kind="FAT32")


def plan_of(revisions: list[Revision], sticks: list[Stick], **options: object) -> BundlePlan:
    return make_bundle_plan(revisions, sticks, FORMAT, **options)  # type: ignore[arg-type]


def test_a_model_that_fits_lies_in_place_and_nowhere_else() -> None:
    model = revision(entry("config.json", 500), entry("model.safetensors", 5 * GB))
    plan = plan_of([model], [exfat(16 * GB)])
    (stick,) = plan.sticks
    assert [file.path for file in stick.files] == [
        f"data/hub/{FOLDER}/snapshots/{MAIN}/config.json",
        f"data/hub/{FOLDER}/snapshots/{MAIN}/model.safetensors",
    ]
    assert stick.in_place == (model.key,)
    assert (plan.reasons, plan.cuts, plan.missing) == ({}, {}, 0)


def test_without_links_the_second_revision_that_shares_a_large_file_is_not_in_place() -> None:
    weights = entry("model.safetensors", 5 * GB)
    main = revision(entry("config.json", 500), weights)
    old = revision(entry("config.json", 400, "old"), weights, commit=OLD, is_default=False)
    plan = plan_of([old, main], [exfat(32 * GB)])
    (stick,) = plan.sticks
    assert stick.in_place == (main.key,)
    assert "stored twice" in plan.reasons[old.key]
    assert sum(file.length for file in stick.files if file.content == weights.content) == 5 * GB


def test_with_hard_links_both_revisions_are_in_place_and_stored_once() -> None:
    weights = entry("model.safetensors", 5 * GB)
    main = revision(weights)
    old = revision(entry("other.json", 400), weights, commit=OLD, is_default=False)
    (stick,) = plan_of([main, old], [ntfs(32 * GB)]).sticks
    assert stick.in_place == (main.key, old.key)
    assert stick.payload == 5 * GB + 400
    assert [file.same_as for file in stick.files if file.same_as] == [
        f"data/hub/{FOLDER}/snapshots/{MAIN}/model.safetensors"
    ]


def test_small_files_are_stored_as_often_as_that_makes_a_revision_usable() -> None:
    shared = entry("tokenizer.json", FREELY_COPIED - 1)
    main = revision(shared, entry("model.safetensors", GB))
    old = revision(shared, entry("model.safetensors", GB, "old"), commit=OLD, is_default=False)
    (stick,) = plan_of([main, old], [exfat(32 * GB)]).sticks
    assert set(stick.in_place) == {main.key, old.key}
    assert [f.length for f in stick.files if f.content == shared.content] == [shared.size] * 2


def test_all_pays_for_duplicates_and_none_puts_everything_into_the_pool() -> None:
    weights = entry("model.safetensors", 5 * GB)
    both = [revision(weights), revision(weights, commit=OLD, is_default=False)]
    paid = plan_of(both, [exfat(32 * GB)], in_place=InPlace.ALL)
    assert paid.sticks[0].payload == 10 * GB
    pooled = plan_of(both, [exfat(32 * GB)], in_place=InPlace.NONE)
    assert [f.path for f in pooled.sticks[0].files] == [FORMAT.pool_path(weights.content, 0)]


def test_a_file_that_fat_cannot_hold_is_cut_on_pieces_and_the_plan_says_why() -> None:
    model = revision(entry("config.json", 500), entry("model.gguf", 20 * GB))
    plan = plan_of([model], [fat(64 * GB)])
    (stick,) = plan.sticks
    parts = [file for file in stick.files if file.length > 500]
    assert [part.offset for part in parts] == [n * PART_SIZE for n in range(5)]
    assert max(part.length for part in parts) == PART_SIZE <= FAT32_LARGEST_FILE
    assert sum(part.length for part in parts) == 20 * GB
    assert plan.reasons[model.key] == ("model.gguf (20.0 GB) is larger than a file can be on FAT32")
    assert plan.cuts == {content("model.gguf"): 5}


def test_files_are_kept_whole_as_long_as_a_stick_has_room() -> None:
    shards = [entry(f"model-{n}.safetensors", 5 * GB) for n in range(6)]
    plan = plan_of([revision(*shards)], [exfat(16 * GB, "A"), exfat(16 * GB, "B")])
    assert [len(stick.files) for stick in plan.sticks] == [3, 3]
    assert plan.cuts == {}
    assert plan.reasons == {f"{FOLDER}/{MAIN}": "it does not fit on one stick"}


def test_a_file_that_no_stick_can_hold_is_cut_over_sticks_on_pieces() -> None:
    plan = plan_of([revision(entry("big", 20 * GB))], [exfat(16 * GB, "A"), exfat(8 * GB, "B")])
    files = [file for stick in plan.sticks for file in stick.files]
    assert len(files) == 2
    assert all(file.offset % PIECE_SIZE == 0 for file in files)
    assert sum(file.length for file in files) == 20 * GB
    assert plan.cuts == {content("big"): 2}


def test_what_fits_nowhere_is_counted() -> None:
    plan = plan_of([revision(entry("big", 20 * GB))], [exfat(16 * GB)])
    assert 4 * GB < plan.missing < 5 * GB
    assert plan_of([revision(entry("a", 5))], []).missing == 5


def test_many_small_contents_share_packs_and_few_do_not() -> None:
    few = revision(*(entry(f"f{n}", 1000) for n in range(MANY)))
    many = revision(*(entry(f"f{n}", 200_000) for n in range(MANY + 1)))
    assert plan_of([few], [exfat(GB)], in_place=InPlace.NONE).sticks[0].packs == ()
    (stick,) = plan_of([many], [exfat(GB)], in_place=InPlace.NONE).sticks
    assert stick.files == ()
    assert len(stick.packs) == 2
    assert all(pack.size <= LARGEST_PACK + 1024 for pack in stick.packs)
    held = [name for pack in stick.packs for name, _ in pack.members]
    assert sorted(held) == sorted(e.content for e in many.entries)


def test_what_the_target_has_is_not_carried_and_keeps_its_revision_out_of_place() -> None:
    model = revision(entry("config.json", 500), entry("model.safetensors", 5 * GB))
    plan = plan_of([model], [exfat(GB)], absent=frozenset({content("model.safetensors")}))
    assert [file.length for file in plan.sticks[0].files] == [500]
    assert plan.reasons[model.key] == "1 file of it stay at the target already"


def test_names_alone_are_worth_a_stick() -> None:
    model = revision(entry("config.json", 500))
    everything = frozenset({content("config.json")})
    (stick,) = plan_of([model], [exfat(GB)], absent=everything).sticks
    assert (stick.count, stick.payload) == (0, 0)
    assert plan_of([model], [exfat(GB // 100)], absent=everything).missing == 1


def test_a_stick_that_is_not_needed_is_left_out_and_numbers_follow_the_used_ones() -> None:
    plan = plan_of([revision(entry("big", 20 * GB))], [exfat(GB // 10, "A"), exfat(32 * GB, "B")])
    assert [(stick.number, stick.label) for stick in plan.sticks] == [(1, "B")]


def test_clusters_are_counted() -> None:
    tiny = revision(*(entry(f"f{n}", 1) for n in range(400)))
    (stick,) = plan_of([tiny], [exfat(GB)]).sticks
    assert stick.needed > 400 * 32 * 1024
    assert stick.payload == 400


def test_what_does_not_fit_in_place_for_its_many_small_files_goes_into_packs() -> None:
    many = revision(*(entry(f"f{n}", 10) for n in range(2 * MANY)), folder="datasets--org--many")
    model = revision(entry("aux", 30 * 2**20), obstacle="a device name")
    plan = plan_of([many, model], [exfat(64 * 2**20 + 50 * 2**20)])
    (stick,) = plan.sticks
    assert (stick.in_place, len(stick.packs), plan.missing) == ((), 1, 0)
    assert plan.reasons[many.key] == "there is too little room for that"
    alone = plan_of([many], [exfat(64 * 2**20 + 50 * 2**20)])
    assert alone.sticks[0].in_place == (many.key,)


def test_a_part_size_cuts_although_the_stick_would_take_it_whole() -> None:
    model = revision(entry("big", 40 * 2**20))
    plan = plan_of([model], [exfat(GB)], part_size=PIECE_SIZE)
    assert [f.length for f in plan.sticks[0].files] == [PIECE_SIZE, PIECE_SIZE, 8 * 2**20]
    assert plan.reasons == {model.key: "big (41.9 MB) is larger than --part-size"}


def test_an_obstacle_keeps_a_revision_out_of_place() -> None:
    model = revision(entry("aux.json", 5), obstacle="'aux.json' is a Windows device name")
    plan = plan_of([model], [exfat(GB)])
    assert plan.reasons == {model.key: "'aux.json' is a Windows device name"}
    assert plan.sticks[0].files[0].path.startswith("data/pool/")


def test_a_repair_holds_runs_of_pieces_and_nothing_else() -> None:
    big = content("big")
    size = 10 * PIECE_SIZE + 5
    plan = make_repair_plan(
        {big: (10, 2, 3)}, {big: size}, exfat(GB), FORMAT, number=4, overhead=10
    )
    (stick,) = plan.sticks
    assert [(f.offset, f.length) for f in stick.files] == [
        (2 * PIECE_SIZE, 2 * PIECE_SIZE),
        (10 * PIECE_SIZE, 5),
    ]
    assert (stick.number, plan.missing) == (4, 0)
    full = make_repair_plan({big: range(11)}, {big: size}, exfat(GB // 20), FORMAT, number=1)
    assert full.missing > 0


def test_a_recorded_plan_is_the_same_after_a_round_trip() -> None:
    many = revision(*(entry(f"f{n}", 1000) for n in range(MANY + 1)), entry("big", GB))
    plan = plan_of([many], [ntfs(8 * GB), exfat(GB)], in_place=InPlace.NONE)
    recorded = RecordedPlan("f" * 64, "request", plan.sticks).with_begun(1, "id").with_finished(1)
    again = from_document(to_document(recorded))
    assert again is not None
    assert again.is_finished
    assert again.uuid_of(1) == "id"
    assert [stick.files for stick in again.sticks] == [stick.files for stick in plan.sticks]
    assert [stick.packs for stick in again.sticks] == [stick.packs for stick in plan.sticks]
    # Folders of this machine stay on this machine.
    assert "label" not in str(to_document(recorded))


@pytest.mark.parametrize("document", [None, {}, {"format": "hfaria-plan/1"}, {"format": "x"}, []])
def test_a_plan_that_cannot_be_read_is_none(document: object) -> None:
    assert from_document(document) is None


sizes = st.one_of(st.integers(0, 2000), st.integers(0, 3 * 2**20), st.integers(0, 12 * GB))
sticks = st.builds(
    Stick,
    st.just("x"),
    st.integers(0, 20 * GB),
    st.sampled_from([None, FAT32_LARGEST_FILE]),
    cluster=st.sampled_from([512, 4096, 32768]),
    kind=st.just("any"),
    has_hard_links=st.booleans(),
)
trees = st.lists(st.tuples(st.integers(0, 12), sizes), min_size=1, max_size=12)


@given(
    st.lists(trees, min_size=1, max_size=4),
    st.lists(sticks, max_size=4),
    st.sampled_from(list(InPlace)),
    st.sampled_from([None, PIECE_SIZE, 10 * PIECE_SIZE]),
)
def test_every_byte_is_placed_once_and_no_stick_is_overfilled(
    listed: list[list[tuple[int, int]]], used: list[Stick], mode: InPlace, part_size: int | None
) -> None:
    known: dict[int, int] = {}
    revisions = []
    for number, tree in enumerate(listed):
        entries = tuple(
            Entry(f"file-{n}", content(name), known.setdefault(name, size))
            for n, (name, size) in enumerate(tree)
        )
        revisions.append(revision(*entries, commit=f"{number:040x}", is_default=number == 0))
    plan = plan_of(revisions, used, in_place=mode, part_size=part_size)
    placed: dict[str, set[tuple[int, int]]] = {}
    for stick in plan.sticks:
        assert stick.needed <= max(s.free_bytes - s.reserve for s in used)
        paths = [file.path for file in stick.files]
        assert len(set(paths)) == len(paths)
        for file in stick.files:
            assert file.offset % PIECE_SIZE == 0
            if file.same_as is not None:
                assert file.same_as in paths
            if "/pool/" in file.path and part_size:
                assert file.length <= part_size
            placed.setdefault(file.content, set()).add((file.offset, file.offset + file.length))
        for pack in stick.packs:
            for name, size in pack.members:
                placed.setdefault(name, set()).add((0, size))
    wanted = {content(name): size for name, size in known.items()}
    gaps = 0
    for name, size in wanted.items():
        held = sorted(placed.get(name, set()))
        end = 0
        for start, stop in held:
            assert start == end
            end = stop
        gaps += size - end
    assert gaps <= plan.missing <= gaps + len(wanted)
    for stick in plan.sticks:
        for key in stick.in_place:
            wholes = {f.path: f for f in stick.files}
            one = next(r for r in revisions if r.key == key)
            for item in one.entries:
                file = wholes[FORMAT.in_place_path(FOLDER, one.commit, item.path)]
                assert (file.content, file.offset, file.length) == (item.content, 0, item.size)
    if plan.missing == 0:
        assert placed.keys() == wanted.keys()
        assert all(a <= b for a, b in pairwise([s.number for s in plan.sticks]))
