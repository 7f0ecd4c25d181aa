"""aria2's control file as a value: which bytes of a partial are held.

Layout: aria2 manual, "Control file (*.aria2) format". aria2 is not to be handed a control file
that this module refuses: on one with an in-flight piece that lacks no block the daemon aborts.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Range: TypeAlias = tuple[int, int]
"""Bytes from the first number up to, without, the second."""

BLOCK_LENGTH = 16 * 1024
"""aria2's unit inside a piece; fixed in its source."""
DEFAULT_PIECE_LENGTH = 1024 * 1024
"""aria2's default ``piece-length``, which HTTP transfers use."""

_LARGEST_LENGTH = 2**63 - 1  # aria2 holds lengths in a signed 64-bit integer
_HEADER = "HIIIQQI"  # after the version: see `_NATIVE` and `_NETWORK`
_NETWORK = ">"
_NATIVE = "<" if sys.byteorder == "little" else ">"  # version 0 is in the host's byte order


class MalformedControlFile(ValueError):
    """A control file that aria2 would refuse, misread or die of."""


@dataclass(frozen=True, slots=True)
class InFlightPiece:
    """A piece of which some blocks, not all, are held."""

    index: int
    length: int
    bitfield: bytes


@dataclass(frozen=True, slots=True)
class ControlFile:
    """What a control file says; bit 7 of a bitfield's byte 0 is piece (or block) 0.

    `parse_control_file` and the methods here only make consistent ones.
    """

    total_length: int
    bitfield: bytes
    in_flight: tuple[InFlightPiece, ...] = ()
    piece_length: int = DEFAULT_PIECE_LENGTH
    upload_length: int = 0
    version: int = 1

    @classmethod
    def empty(cls, total_length: int, *, piece_length: int = DEFAULT_PIECE_LENGTH) -> ControlFile:
        """Make the control file of a partial of which nothing is held."""
        pieces = _ceil_divide(total_length, piece_length)
        return cls(total_length, bytes(_ceil_divide(pieces, 8)), piece_length=piece_length)

    @classmethod
    def full(cls, total_length: int, *, piece_length: int = DEFAULT_PIECE_LENGTH) -> ControlFile:
        """Make the control file of a partial of which everything is held."""
        nothing = cls.empty(total_length, piece_length=piece_length)
        return nothing.with_blocks([(0, total_length)])

    def serialize(self) -> bytes:
        """Return the file's bytes, in the byte order of its version."""
        order = _NETWORK if self.version else _NATIVE
        parts = [
            struct.pack(
                order + _HEADER,
                self.version,
                0,
                0,
                self.piece_length,
                self.total_length,
                self.upload_length,
                len(self.bitfield),
            ),
            self.bitfield,
            struct.pack(order + "I", len(self.in_flight)),
        ]
        for piece in self.in_flight:
            parts.append(struct.pack(order + "III", piece.index, piece.length, len(piece.bitfield)))
            parts.append(piece.bitfield)
        return b"".join(parts)

    def held_ranges(self) -> tuple[Range, ...]:
        """Return the bytes held, in order, touching ranges merged."""
        found = [
            (first * self.piece_length, min(end * self.piece_length, self.total_length))
            for first, end in _runs(self.bitfield)
        ]
        for piece in self.in_flight:
            start = piece.index * self.piece_length
            found.extend(
                (start + first * BLOCK_LENGTH, start + min(end * BLOCK_LENGTH, piece.length))
                for first, end in _runs(piece.bitfield)
            )
        return merge(found)

    def completed_length(self) -> int:
        """Return the number of bytes held, blocks of in-flight pieces included."""
        return covered(self.held_ranges())

    def highest_byte(self) -> int:
        """Return the end of the highest block held: the least size its partial can have."""
        return max((end for _, end in self.held_ranges()), default=0)

    def with_ranges(self, ranges: Iterable[Range]) -> ControlFile:
        """Return this with the whole blocks inside ``ranges``, which are a filesystem's extents.

        An extent's last page may be filled in part only, so the block of its last byte is given up,
        unless the extent ends where the file does.
        """
        trusted = (
            (start, end if end >= self.total_length else (end - 1) // BLOCK_LENGTH * BLOCK_LENGTH)
            for start, end in ranges
        )
        return self.with_blocks(trusted)

    def with_blocks(self, ranges: Iterable[Range]) -> ControlFile:
        """Return this with the blocks that lie wholly inside ``ranges``."""
        return self._holding(merge([*self.held_ranges(), *self._whole_blocks(ranges)]))

    def without_ranges(self, ranges: Iterable[Range]) -> ControlFile:
        """Return this without any block that ``ranges`` touch."""
        touched = [
            (start // BLOCK_LENGTH * BLOCK_LENGTH, _ceil_divide(end, BLOCK_LENGTH) * BLOCK_LENGTH)
            for start, end in ranges
            if start < end
        ]
        return self._holding(subtract(self.held_ranges(), touched))

    def _whole_blocks(self, ranges: Iterable[Range]) -> list[Range]:
        rounded = (
            (
                _ceil_divide(max(start, 0), BLOCK_LENGTH) * BLOCK_LENGTH,
                self.total_length
                if end >= self.total_length
                else end // BLOCK_LENGTH * BLOCK_LENGTH,
            )
            for start, end in merge(ranges)
        )
        return [(start, end) for start, end in rounded if start < end]

    def _holding(self, held: tuple[Range, ...]) -> ControlFile:
        """Return this with exactly ``held``, merged and on block boundaries."""
        bitfield = bytearray(len(self.bitfield))
        parts: dict[int, list[Range]] = {}
        for start, end in held:
            first = _ceil_divide(start, self.piece_length)
            last = (
                _ceil_divide(end, self.piece_length)
                if end == self.total_length
                else end // self.piece_length
            )
            _set_bits(bitfield, first, last)
            if start < first * self.piece_length:  # begins inside the piece before `first`
                stop = min(end, first * self.piece_length)
                parts.setdefault(first - 1, []).append((start, stop))
            if first <= last and last * self.piece_length < end:  # ends inside the piece `last`
                parts.setdefault(last, []).append((last * self.piece_length, end))
        in_flight = tuple(self._in_flight(index, parts[index]) for index in sorted(parts))
        return replace(self, bitfield=bytes(bitfield), in_flight=in_flight)

    def _in_flight(self, index: int, held: list[Range]) -> InFlightPiece:
        offset = index * self.piece_length
        length = min(self.piece_length, self.total_length - offset)
        bitfield = bytearray(_ceil_divide(_ceil_divide(length, BLOCK_LENGTH), 8))
        for start, end in held:
            first = (start - offset) // BLOCK_LENGTH
            _set_bits(bitfield, first, _ceil_divide(end - offset, BLOCK_LENGTH))
        return InFlightPiece(index, length, bytes(bitfield))


def parse_control_file(data: bytes) -> ControlFile:
    """Read a control file of an HTTP transfer, or raise `MalformedControlFile`."""
    reader = _Reader(data)
    version = int.from_bytes(data[:2], "big")
    if version not in {0, 1}:
        raise MalformedControlFile(f"version {version} is unknown")
    reader.order = _NETWORK if version else _NATIVE
    _, extension, info_hash, piece_length, total, uploaded, size = reader.read(_HEADER)
    if extension or info_hash:
        raise MalformedControlFile("it belongs to a torrent")
    if not piece_length or piece_length % BLOCK_LENGTH:
        raise MalformedControlFile(f"a piece of {piece_length} bytes is not made of whole blocks")
    if not 0 < total <= _LARGEST_LENGTH or uploaded > _LARGEST_LENGTH:
        raise MalformedControlFile("a length is out of range")
    pieces = _ceil_divide(total, piece_length)
    bitfield = reader.read_bitfield(size, bits=pieces)
    in_flight: dict[int, InFlightPiece] = {}
    for _ in range(reader.read("I")[0]):
        index, length, size = reader.read("III")
        if index >= pieces or index in in_flight or _is_set(bitfield, index):
            raise MalformedControlFile(f"piece {index} can't be in flight")
        if length != min(piece_length, total - index * piece_length):
            raise MalformedControlFile(f"piece {index} can't have {length} bytes")
        blocks = _ceil_divide(length, BLOCK_LENGTH)
        held = reader.read_bitfield(size, bits=blocks)
        if _runs(held) == [(0, blocks)]:
            raise MalformedControlFile(f"piece {index} is in flight, but lacks no block")
        in_flight[index] = InFlightPiece(index, length, held)
    reader.expect_end()
    return ControlFile(total, bitfield, tuple(in_flight.values()), piece_length, uploaded, version)


def added_ranges(before: ControlFile, after: ControlFile) -> tuple[Range, ...]:
    """Return the bytes that ``after`` holds and ``before`` does not."""
    return subtract(after.held_ranges(), before.held_ranges())


def merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the same bytes in order, as ranges that don't touch; empty ones vanish."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def subtract(ranges: Iterable[Range], minus: Iterable[Range]) -> tuple[Range, ...]:
    """Return the bytes of ``ranges`` that are not in ``minus``, merged."""
    cuts = merge(minus)
    rest: list[Range] = []
    at = 0
    for begin, end in merge(ranges):
        start = begin
        while at < len(cuts) and cuts[at][1] <= start:
            at += 1
        cut = at
        while cut < len(cuts) and cuts[cut][0] < end:
            if start < cuts[cut][0]:
                rest.append((start, cuts[cut][0]))
            start = max(start, cuts[cut][1])
            cut += 1
        if start < end:
            rest.append((start, end))
    return tuple(rest)


def covered(ranges: Iterable[Range]) -> int:
    """Return the number of bytes in ranges that don't overlap."""
    return sum(end - start for start, end in ranges)


@dataclass(slots=True)
class _Reader:
    """A cursor over the file's bytes that never reads past their end."""

    data: bytes
    order: str = _NETWORK
    offset: int = 0

    def read(self, layout: str) -> tuple[int, ...]:
        shape = struct.Struct(self.order + layout)
        if self.offset + shape.size > len(self.data):
            raise MalformedControlFile("it is cut short")
        values: tuple[int, ...] = shape.unpack_from(self.data, self.offset)
        self.offset += shape.size
        return values

    def read_bitfield(self, size: int, *, bits: int) -> bytes:
        if size != _ceil_divide(bits, 8):
            raise MalformedControlFile(f"a bitfield of {size} bytes is not one of {bits} bits")
        if self.offset + size > len(self.data):
            raise MalformedControlFile("it is cut short")
        bitfield = self.data[self.offset : self.offset + size]
        self.offset += size
        if bits % 8 and bitfield[-1] & (0xFF >> bits % 8):
            raise MalformedControlFile("bits are set past the end of a bitfield")
        return bitfield

    def expect_end(self) -> None:
        if self.offset != len(self.data):
            raise MalformedControlFile("bytes follow its last record")


def _ceil_divide(value: int, by: int) -> int:
    return -(-value // by)


def _is_set(bitfield: bytes, index: int) -> bool:
    return bool(bitfield[index // 8] & (0x80 >> index % 8))


def _set_bits(bitfield: bytearray, first: int, end: int) -> None:
    """Set the bits from ``first`` up to, without, ``end``."""
    while first < end and first % 8:
        bitfield[first // 8] |= 0x80 >> first % 8
        first += 1
    whole = max(end // 8, first // 8)
    bitfield[first // 8 : whole] = b"\xff" * (whole - first // 8)
    for bit in range(max(first, whole * 8), end):
        bitfield[bit // 8] |= 0x80 >> bit % 8


def _runs(bitfield: bytes) -> list[Range]:
    """Return the runs of set bits, merged."""
    runs: list[Range] = []
    for at, byte in enumerate(bitfield):
        if byte == 0:
            continue
        for start, end in _BYTE_RUNS[byte]:
            if runs and runs[-1][1] == at * 8 + start:
                runs[-1] = (runs[-1][0], at * 8 + end)
            else:
                runs.append((at * 8 + start, at * 8 + end))
    return runs


def _runs_of_byte(byte: int) -> tuple[Range, ...]:
    return merge((bit, bit + 1) for bit in range(8) if byte & (0x80 >> bit))


_BYTE_RUNS = tuple(_runs_of_byte(byte) for byte in range(256))
