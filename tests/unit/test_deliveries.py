from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hfaria.rules.deliveries import BEFORE, Deliveries, Run

PIECE = 100


def deliveries(pieces: int, *, less: int = 0) -> Deliveries:
    return Deliveries(pieces * PIECE - less, PIECE)


def test_runs_grow_from_where_each_connection_began() -> None:
    seen = deliveries(16)
    seen.note_bitfield("8000", 1.0)
    seen.note_bitfield("c080", 2.0)
    seen.note_bitfield("e0c0", 3.0)
    assert seen.runs() == (Run(0, 300, 1.0), Run(800, 1000, 2.0))


def test_a_run_that_reaches_another_leaves_it_as_it_is() -> None:
    seen = deliveries(8)
    seen.note_bitfield("88", 1.0)
    seen.note_bitfield("fc", 2.0)
    seen.note_bitfield("ff", 3.0)
    assert seen.runs() == (Run(0, 400, 1.0), Run(400, 800, 1.0))


def test_what_came_first_is_first_wherever_it_is() -> None:
    seen = deliveries(8)
    seen.note_bitfield("08", 1.0)
    seen.note_bitfield("88", 2.0)
    assert [run.start for run in seen.runs()] == [400, 0]


def test_what_an_earlier_run_of_the_program_brought_is_the_oldest() -> None:
    seen = deliveries(8)
    seen.note_held([(250, 330)])  # parts of two pieces
    seen.note_bitfield("b8", 5.0)
    assert seen.runs() == (Run(200, 500, BEFORE), Run(0, 100, 5.0))


def test_the_end_brings_the_rest_and_ends_where_the_blob_does() -> None:
    seen = deliveries(3, less=1)
    seen.note_bitfield("40", 1.0)
    seen.note_end(2.0)
    assert seen.runs() == (Run(100, 299, 1.0), Run(0, 100, 2.0))
    seen.note_end(3.0)
    assert seen.runs()[-1] == Run(0, 100, 2.0)


def test_pieces_that_vanish_and_come_again_are_no_new_delivery() -> None:
    seen = deliveries(8)
    seen.note_bitfield("f0", 1.0)
    seen.note_bitfield("00", 2.0)
    seen.note_bitfield("f0", 3.0)
    assert seen.runs() == (Run(0, 400, 1.0),)


def test_a_blob_in_thousands_of_parts_takes_bounded_memory() -> None:
    seen = deliveries(20_000)
    seen.note_bitfield("aa" * 2500, 1.0)
    assert len(seen.runs()) == 4096


@given(
    st.lists(st.sets(st.integers(0, 63)), max_size=12),
    st.sets(st.integers(0, 63)),
)
def test_every_piece_belongs_to_one_run(looks: list[set[int]], before: set[int]) -> None:
    seen = deliveries(64)
    seen.note_held([(piece * PIECE, (piece + 1) * PIECE) for piece in before])
    arrived = set(before)
    for now, look in enumerate(looks, 1):
        arrived |= look
        field = sum(1 << (63 - piece) for piece in arrived)
        seen.note_bitfield(f"{field:016x}", float(now))
    covered = [piece for run in seen.runs() for piece in range(run.start // 100, run.end // 100)]
    assert sorted(covered) == sorted(arrived)
    times = [run.first_seen for run in seen.runs()]
    assert times == sorted(times)
