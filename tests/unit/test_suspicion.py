from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.rules.control_file import Range, merge
from hfaria.rules.deliveries import Run
from hfaria.rules.suspicion import (
    Search,
    differing_range,
    order_of_suspicion,
    step_length,
)

KIB = 1 << 10
STEP = 256 * KIB
SIZE = 4096 * KIB


def compared(search: Search, wrong: set[int]) -> list[Range]:
    """Take part alone until a check is due; ``wrong`` are offsets of wrong bytes."""
    steps: list[Range] = []
    while (step := search.take()) is not None:
        steps.append((step.start, step.end))
        for at in wrong:
            if step.start <= at < step.end:
                search.note_difference(step, (at, at + 1))
        search.note_compared(step)
    return steps


def test_what_arrived_first_is_suspected_first_and_each_byte_once() -> None:
    runs = [Run(500, 700, 2.0), Run(0, 100, 1.0), Run(50, 200, 3.0)]
    assert order_of_suspicion(800, runs) == (
        *((0, 100), (500, 700), (100, 200)),
        *((200, 500), (700, 800)),
    )


@given(
    st.integers(1, 400),
    st.lists(st.builds(Run, st.integers(0, 300), st.integers(0, 500), st.floats(0, 9))),
)
def test_the_order_covers_the_file_exactly(size: int, runs: list[Run]) -> None:
    order = order_of_suspicion(size, runs)
    assert sum(end - start for start, end in order) == size
    assert merge(order) == ((0, size),)


def test_steps_grow_with_the_file_and_have_bounds() -> None:
    assert step_length(1000) == 256 * KIB
    assert step_length(64 << 20) == 1 << 20
    assert step_length(1 << 40) == 16 << 20


def test_the_digest_is_looked_at_upon_the_first_difference() -> None:
    search = Search([(0, SIZE)], SIZE)
    assert compared(search, {300 * KIB}) == [(0, STEP), (STEP, 2 * STEP)]
    assert search.needs_check
    assert search.differences() == ((300 * KIB, 300 * KIB + 1),)
    assert search.left[0] == (2 * STEP, 3 * STEP)


def test_later_the_digest_is_looked_at_where_a_run_ends_or_after_an_eighth() -> None:
    order = [(0, STEP), (STEP, 3 * STEP), (3 * STEP, SIZE)]
    search = Search(order, SIZE)
    wrong = {1, STEP + 1, 3 * STEP + 1}
    assert compared(search, wrong) == [(0, STEP)]
    search.note_checked()
    assert compared(search, wrong) == [(STEP, 2 * STEP), (2 * STEP, 3 * STEP)]
    search.note_checked()
    assert compared(search, wrong) == [(3 * STEP, 4 * STEP), (4 * STEP, 5 * STEP)]
    search.note_checked()
    assert compared(search, wrong)[-1] == (SIZE - STEP, SIZE)
    assert search.is_over
    assert not search.needs_check


def test_without_differences_all_is_compared_and_nothing_checked() -> None:
    search = Search([(0, SIZE)], SIZE)
    assert len(compared(search, set())) == 16
    assert search.is_over
    assert not search.has_unchecked
    assert search.left == ()


def test_a_step_that_broke_off_is_left_and_what_it_replaced_is_checked() -> None:
    search = Search([(0, 2 * STEP)], SIZE)
    step = search.take()
    assert step is not None
    search.note_difference(step, (5, 6))
    search.give_back(step)
    assert search.has_unchecked
    assert search.left == ((0, STEP), (STEP, 2 * STEP))
    assert search.differences() == ((5, 6),)


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (b"abcdef", None),
        (b"Xbcdef", (0, 1)),
        (b"abcdeX", (5, 6)),
        (b"aXcXef", (1, 4)),
        (b"XXXXXX", (0, 6)),
    ],
)
def test_differences_are_told_to_the_byte(theirs: bytes, expected: Range | None) -> None:
    assert differing_range(b"abcdef", theirs) == expected


@given(st.binary(min_size=1, max_size=40), st.data())
def test_outside_the_difference_the_texts_agree(ours: bytes, data: st.DataObject) -> None:
    theirs = data.draw(st.binary(min_size=len(ours), max_size=len(ours)))
    found = differing_range(ours, theirs)
    if found is None:
        assert ours == theirs
    else:
        start, end = found
        assert ours[:start] + theirs[start:end] + ours[end:] == theirs
        assert ours[start] != theirs[start]
        assert ours[end - 1] != theirs[end - 1]
