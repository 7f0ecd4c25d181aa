"""The journal of an unfinished stick, and what a crash or a stranger makes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.importer.format import JOURNAL_NAME
from hfaria.bundle.journal import HeldRange, Journal, Written

if TYPE_CHECKING:
    from pathlib import Path

ONE = Written("a", "data/a", "1" * 64, 5, (HeldRange("1" * 64, 0, 5, 0, ("1" * 64,)),))
TWO = Written("pack-1", "data/pool/packs/x.tar", "2" * 64, 9, ())


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal.begin(tmp_path, set_id="f" * 64, stick=2, stick_uuid="id")
    journal.add(ONE, TWO)
    return journal


def test_what_is_written_is_read_again(journal: Journal, tmp_path: Path) -> None:
    journal.add_checked("a")
    again = Journal.read(tmp_path)
    assert again is not None
    assert (again.set_id, again.stick, again.stick_uuid) == ("f" * 64, 2, "id")
    assert again.written == {"a": ONE, "pack-1": TWO}
    assert again.checked == {"a"}
    again.drop("a")
    last = Journal.read(tmp_path)
    assert last is not None
    assert (set(last.written), last.checked) == ({"pack-1"}, set())


@pytest.mark.parametrize("tail", [b'{"written":"b","pa', b"\0\0\0\0", b'{"checked":'])
def test_a_torn_line_is_dropped_and_the_next_one_is_whole(
    tail: bytes, journal: Journal, tmp_path: Path
) -> None:
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(tail)
    again = Journal.read(tmp_path)
    assert again is not None
    assert set(again.written) == {"a", "pack-1"}
    again.add_checked("pack-1")
    last = Journal.read(tmp_path)
    assert last is not None
    assert last.checked == {"pack-1"}


@pytest.mark.parametrize(
    "line",
    [
        {"written": "b"},
        {"written": "b", "path": "x", "sha256": "y", "size": 1, "ranges": [[1, 2]]},
        {"written": ["b"], "path": "x", "sha256": "y", "size": 1, "ranges": []},
        {"unknown": 1},
        [],
    ],
)
def test_a_line_that_means_nothing_counts_as_nothing(
    line: object, journal: Journal, tmp_path: Path
) -> None:
    with (tmp_path / JOURNAL_NAME).open("a") as file:
        file.write(json.dumps(line) + "\n")
    again = Journal.read(tmp_path)
    assert again is not None
    assert set(again.written) == {"a", "pack-1"}


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b'{"format":"hfaria-journal/2","set_id":"a","stick":1,"stick_uuid":"b"}\n',
        b'{"format":"hfaria-journal/1","set_id":"a","stick":"x","stick_uuid":"b"}\n',
        b'{"format":"hfaria-journal/1"}\n',
        b'{"format":"hfaria-journal/1","set_id":"a","stick":1,"stick_uuid":"b"}',
    ],
)
def test_a_head_that_says_nothing_makes_no_journal(head: bytes, tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(head)
    assert Journal.read(tmp_path) is None


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / JOURNAL_NAME).symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic"):
        Journal.begin(bag, set_id="f" * 64, stick=1, stick_uuid="id")
    assert not elsewhere.exists()
