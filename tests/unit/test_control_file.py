from __future__ import annotations

import contextlib
import struct
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hfaria.rules.control_file import (
    BLOCK_LENGTH,
    DEFAULT_PIECE_LENGTH,
    ControlFile,
    InFlightPiece,
    MalformedControlFile,
    Range,
    added_ranges,
    covered,
    merge,
    parse_control_file,
    subtract,
)

# 8 MiB + 5001 bytes in four connections, killed half way; the first with -9, the second with INT.
# aria2 1.36 and 1.37 wrote the same bytes for the first.
KILLED = bytes.fromhex(
    "00010000000000000000001000000000000000801389000000000000000000000002000000000004"
    "000000000010000000000008fffffffffffffff8000000030010000000000008fffffffffffffffc"
    "000000050010000000000008fffffffffffffff8000000070010000000000008fffffffffffffff8"
)
INTERRUPTED = bytes.fromhex(
    "00010000000000000000001000000000000000801389000000000000000000000002958000000004"
    "000000010010000000000008ffe0000000000000000000020010000000000008ffe0000000000000"
    "000000040010000000000008fff0000000000000000000060010000000000008fff0000000000000"
)
TOTAL = 8 * 1024 * 1024 + 5001


def ranges_in(limit: int) -> st.SearchStrategy[list[Range]]:
    number = st.integers(0, limit) | st.integers(0, limit // BLOCK_LENGTH + 1).map(
        lambda block: min(block * BLOCK_LENGTH, limit)
    )
    return st.lists(st.tuples(number, number), max_size=8)


@st.composite
def control_files(draw: st.DrawFn) -> ControlFile:
    piece_length = draw(st.sampled_from([BLOCK_LENGTH, 4 * BLOCK_LENGTH, DEFAULT_PIECE_LENGTH]))
    total = draw(st.integers(1, 40 * piece_length))
    control = ControlFile.empty(total, piece_length=piece_length)
    control = control.with_blocks(draw(ranges_in(total)))
    return replace(
        control, version=draw(st.sampled_from([0, 1])), upload_length=draw(st.integers(0, 2**40))
    )


def bytes_of(ranges: tuple[Range, ...] | list[Range], total: int) -> bytearray:
    mask = bytearray(total)
    for start, end in ranges:
        mask[start:end] = b"\1" * max(0, min(end, total) - start)
    return mask


@pytest.mark.parametrize("data", [KILLED, INTERRUPTED])
def test_control_files_that_aria2_wrote_are_read_and_written_back(data: bytes) -> None:
    assert parse_control_file(data).serialize() == data


def test_facts_of_a_control_file_that_aria2_wrote() -> None:
    control = parse_control_file(INTERRUPTED)
    assert control.total_length == TOTAL
    assert control.highest_byte() == TOTAL
    assert control.held_ranges()[0] == (0, DEFAULT_PIECE_LENGTH + 11 * BLOCK_LENGTH)
    assert control.completed_length() == 4952969


@given(control_files())
def test_what_is_written_is_read_back_the_same(control: ControlFile) -> None:
    assert parse_control_file(control.serialize()) == control


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: KILLED[:36] + tail))
@example(b"")
@example(KILLED[:-6] + b"\xff" * 6)
def test_garbage_is_malformed_or_read_but_never_a_crash(data: bytes) -> None:
    with contextlib.suppress(MalformedControlFile):
        assert parse_control_file(data).serialize() == data


@given(st.sampled_from([KILLED, INTERRUPTED]), st.data())
def test_a_changed_byte_is_malformed_or_read_but_never_a_crash(
    whole: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    with contextlib.suppress(MalformedControlFile):
        parse_control_file(changed).held_ranges()


@given(st.integers(0, len(KILLED) - 1))
def test_a_control_file_cut_short_is_malformed(length: int) -> None:
    with pytest.raises(MalformedControlFile):
        parse_control_file(KILLED[:length])


def changed(offset: int, layout: str, *values: int) -> bytes:
    data = bytearray(KILLED)
    struct.pack_into(layout, data, offset, *values)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (changed(0, ">H", 2), "version"),
        (changed(2, ">I", 1), "torrent"),
        (changed(6, ">I", 20), "torrent"),
        (changed(10, ">I", 0), "whole blocks"),
        (changed(10, ">I", DEFAULT_PIECE_LENGTH + 1), "whole blocks"),
        (changed(14, ">Q", 0), "out of range"),
        (changed(14, ">Q", 2**63), "out of range"),
        (changed(22, ">Q", 2**64 - 1), "out of range"),
        (changed(30, ">I", 3), "bitfield"),
        (changed(34, ">H", 0x0001), "past the end"),
        (changed(34, ">H", 0x8000), "can't be in flight"),
        (changed(40, ">I", 9), "can't be in flight"),
        (changed(40, ">I", 3), "can't be in flight"),
        (changed(44, ">I", DEFAULT_PIECE_LENGTH - 1), "can't have"),
        (changed(48, ">I", 7), "bitfield"),
        (changed(52, ">Q", 2**64 - 1), "lacks no block"),
        (changed(36, ">I", 5), "cut short"),
        (changed(36, ">I", 3), "follow"),
    ],
)
def test_what_aria2_would_choke_on_is_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedControlFile, match=reason):
        parse_control_file(data)


def test_stray_block_bits_of_a_short_last_piece_are_malformed() -> None:
    last = InFlightPiece(1, BLOCK_LENGTH + 1, b"\x80")
    control = ControlFile(DEFAULT_PIECE_LENGTH + BLOCK_LENGTH + 1, b"\x80", (last,))
    assert parse_control_file(control.serialize()) == control
    stray = replace(control, in_flight=(replace(last, bitfield=b"\xa0"),))
    with pytest.raises(MalformedControlFile, match="past the end"):
        parse_control_file(stray.serialize())


@given(control_files(), st.data())
def test_extents_never_claim_a_block_that_is_not_fully_inside(
    control: ControlFile, data: st.DataObject
) -> None:
    extents = merge(data.draw(ranges_in(control.total_length)))
    after = control.with_ranges(extents)
    for start, end in added_ranges(control, after):
        # Strictly inside: the block of an extent's last byte may be filled in part only.
        assert any(
            first <= start and (end < last or end == last == control.total_length)
            for first, last in extents
        )
    parse_control_file(after.serialize())


@given(control_files(), st.data())
def test_adding_and_taking_away_are_exact_on_whole_blocks(
    control: ControlFile, data: st.DataObject
) -> None:
    ranges = data.draw(ranges_in(control.total_length))
    rest = control.without_ranges(ranges)
    assert not covered(merge(ranges)) or not any(
        max(a, c) < min(b, d) for a, b in rest.held_ranges() for c, d in merge(ranges)
    )
    assert subtract(rest.held_ranges(), control.held_ranges()) == ()
    lost = added_ranges(rest, control)
    assert rest.with_blocks(lost).held_ranges() == control.held_ranges()
    assert parse_control_file(rest.serialize()) == rest


@given(st.integers(1, 2**40))
def test_full_and_empty_hold_all_and_nothing(total: int) -> None:
    # The piece grows with the file to keep the bitfield small.
    piece_length = max(DEFAULT_PIECE_LENGTH, -(-total // 4096 // BLOCK_LENGTH) * BLOCK_LENGTH)
    full = ControlFile.full(total, piece_length=piece_length)
    assert full.held_ranges() == ((0, total),)
    assert full.in_flight == ()
    assert parse_control_file(full.serialize()) == full
    assert ControlFile.empty(total, piece_length=piece_length).held_ranges() == ()


@given(ranges_in(300), ranges_in(300))
def test_subtracting_ranges_is_subtracting_their_bytes(
    left: list[Range], right: list[Range]
) -> None:
    rest = subtract(left, right)
    expected = bytearray(
        a & ~b & 1 for a, b in zip(bytes_of(left, 300), bytes_of(right, 300), strict=True)
    )
    assert bytes_of(rest, 300) == expected
    assert rest == merge(rest)
