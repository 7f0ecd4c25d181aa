"""Reading ahead changes when a stick is read, never what comes of it."""

from __future__ import annotations

import errno
import io
import threading
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.importer.format import IO_SIZE
from hfaria.bundle.importer.reading import BUFFERS_AHEAD, ReadAhead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Buffer

PIECE = 3 * IO_SIZE + 4096
CONTENT = b"".join(number.to_bytes(4, "big") for number in range((3 * PIECE + 99) // 4 + 1))


class Medium(io.FileIO):
    """A file on a stick with a bad sector; it counts what is read."""

    bad_from: int | None = None
    count = 0

    def readinto(self, buffer: Buffer, /) -> int:
        if self.bad_from is not None and self.tell() >= self.bad_from:
            raise OSError(errno.EIO, "bad sector")
        count = super().readinto(buffer) or 0
        self.count += count
        return count


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[Medium]:
    (tmp_path / "file").write_bytes(CONTENT)
    with Medium(tmp_path / "file") as file:
        yield file


@pytest.mark.parametrize("piece_size", [4096, IO_SIZE, PIECE, 2 * PIECE])
@pytest.mark.parametrize("start", [0, 12345])
def test_the_bytes_come_in_order_piece_by_piece(
    medium: Medium, piece_size: int, start: int
) -> None:
    end = start + 2 * PIECE + 77
    ahead = ReadAhead(medium, start, end, piece_size)
    seen, position = bytearray(), start
    while position < end:
        assert ahead.is_at(position)
        length = min(piece_size, end - position)
        views = [bytes(view) for view in ahead.read(length)]
        assert sum(map(len, views)) == length
        seen += b"".join(views)
        position += length
    assert not ahead.is_at(end)
    assert seen == CONTENT[start:end]
    assert medium.count == end - start
    ahead.close()


def test_no_more_is_read_than_there_are_buffers(medium: Medium) -> None:
    before = threading.active_count()
    ahead = ReadAhead(medium, 0, len(CONTENT), PIECE)
    views = ahead.read(PIECE)
    next(views)
    ahead.close()
    assert threading.active_count() == before
    assert IO_SIZE <= medium.count <= BUFFERS_AHEAD * IO_SIZE


def test_an_error_waits_for_its_turn(medium: Medium) -> None:
    medium.bad_from = PIECE + IO_SIZE
    before = threading.active_count()
    ahead = ReadAhead(medium, 0, len(CONTENT), PIECE)
    assert b"".join(map(bytes, ahead.read(PIECE))) == CONTENT[:PIECE]
    views = ahead.read(PIECE)
    assert bytes(next(views)) == CONTENT[PIECE : PIECE + IO_SIZE]
    with pytest.raises(OSError, match="bad sector"):
        next(views)
    ahead.close()
    assert threading.active_count() == before


def test_a_file_that_ends_early_gives_an_empty_view(medium: Medium) -> None:
    start = len(CONTENT) - 10
    ahead = ReadAhead(medium, start, start + PIECE, PIECE)
    views = ahead.read(PIECE)
    assert (bytes(next(views)), bytes(next(views))) == (CONTENT[-10:], b"")
    ahead.close()


def test_views_that_were_let_go_are_filled_again(medium: Medium) -> None:
    ahead = ReadAhead(medium, 0, len(CONTENT), IO_SIZE)
    for position in range(0, (BUFFERS_AHEAD + 2) * IO_SIZE, IO_SIZE):
        views = ahead.read(IO_SIZE)  # never exhausted, as when the disk is full
        assert bytes(next(views)) == CONTENT[position : position + IO_SIZE]
        del views
    ahead.close()
