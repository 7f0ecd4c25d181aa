from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.cache import digest, records
from hfaria.rules import records as rules
from hfaria.rules import wishes
from hfaria.rules.layout import Workspace
from hfaria.rules.listing import git_blob_digest
from hfaria.rules.records import MARK_LENGTH, MARK_SPACING, FileState, Record
from hfaria.rules.selection import Selection
from unit.builders import COMMIT, git_file, listing

if TYPE_CHECKING:
    from pathlib import Path

NAME = "a" * 64
STATE = FileState(3 * MARK_SPACING, 5, 7)
MARKS = ("0" * MARK_LENGTH, "1" * MARK_LENGTH)


def record(place: str = f"blobs/{NAME}", *, at: float = 1.5) -> Record:
    return Record(place, NAME, STATE, at, MARKS)


texts = st.text(max_size=30)
many_records = st.lists(
    st.builds(Record, texts, st.text("0123456789abcdef", max_size=64), st.just(STATE),
              st.floats(0, 1e10).map(lambda at: round(at, 3)), st.just(MARKS))
)  # fmt: skip


@given(many_records)
def test_records_are_read_as_they_were_written(written: list[Record]) -> None:
    text = "".join(map(rules.serialize, written))
    assert rules.parse(text) == {each.place: each for each in written}


@given(many_records, st.integers(0, 400))
def test_a_torn_line_loses_nothing_but_itself(written: list[Record], cut: int) -> None:
    torn = rules.serialize(record())[:cut]
    text = "".join(map(rules.serialize, written)) + torn + "\n" + rules.serialize(record("last"))
    found = rules.parse(text)
    assert found["last"] == record("last")
    assert found.items() >= {each.place: each for each in written if each.place != "last"}.items()


@given(st.text(max_size=200))
def test_whatever_the_file_holds_is_survived(text: str) -> None:
    assert isinstance(rules.parse(text), dict)
    assert isinstance(wishes.parse(text), dict)


def test_the_newest_record_of_a_place_counts() -> None:
    text = rules.serialize(record(at=1.0)) + rules.serialize(record(at=2.0))
    assert rules.parse(text)[record().place].verified_at == 2.0


@pytest.mark.parametrize("changed", [FileState(1, 5, 7), FileState(STATE.size, 6, 7),
                                     FileState(STATE.size, 5, 8)])  # fmt: skip
def test_a_record_is_about_one_state(changed: FileState) -> None:
    assert record().is_about(NAME, STATE)
    assert not record().is_about(NAME, changed)
    assert not record().is_about("b" * 64, STATE)


def test_the_first_wrong_piece_is_told_by_the_marks() -> None:
    assert rules.first_wrong(["a", "b", "c"], ["a", "x", "y"]) == 1
    assert rules.first_wrong(["a", "b"], ["a", "b"]) == 2
    assert rules.first_wrong(["a", "b"], ["a"]) == 1


@pytest.mark.parametrize("extra", [-1, 0, 1, 70_000])
def test_marks_are_digests_of_prefixes(tmp_path: Path, extra: int) -> None:
    content = bytes(range(256)) * ((2 * MARK_SPACING + 256) // 256)
    content = content[: 2 * MARK_SPACING + extra]
    path = tmp_path / "blob"
    path.write_bytes(content)
    marks: list[str] = []
    name = hashlib.sha256(content).hexdigest()
    assert digest.file_digest(path, blob_name=name, marks=marks) == name
    expected = [
        hashlib.sha256(content[:end]).hexdigest()[:MARK_LENGTH]
        for end in (MARK_SPACING, 2 * MARK_SPACING)
        if end <= len(content)
    ]
    assert marks == expected
    assert digest.file_digest(path, blob_name=git_blob_digest(content)) == git_blob_digest(content)


def test_records_are_appended_compacted_and_never_in_the_way(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".hfaria")
    for number in range(300):
        records.append(workspace, [record(at=float(number))])
    assert records.load(workspace) == {record().place: record(at=299.0)}
    records.compact(workspace, records.load(workspace).values())
    assert workspace.records.read_text(encoding="utf-8") == rules.serialize(record(at=299.0))
    nowhere = Workspace(tmp_path / "missing" / ".hfaria")
    records.append(nowhere, [record()])
    assert records.load(nowhere) == {}


# --- which part was asked for ---------------------------------------------------------------------

PART = Selection(include=("*.json",))
OTHER = Selection(names=("b.txt",))
FILES = listing(git_file("a.json"), git_file("b.txt"), git_file("c.bin"))


def test_parts_add_up_and_everything_swallows_them() -> None:
    known = wishes.add_wish(wishes.add_wish({}, COMMIT, PART), COMMIT, OTHER)
    assert wishes.wanted_paths(known, FILES) == frozenset({"a.json", "b.txt"})
    assert wishes.add_wish(known, COMMIT, PART) == known
    assert wishes.parse(wishes.serialize(known)) == known
    assert wishes.wanted_paths(wishes.add_wish(known, COMMIT, Selection()), FILES) is None


def test_a_part_that_is_in_no_listing_counts_as_everything() -> None:
    known = wishes.add_wish({}, COMMIT, Selection(names=("gone",)))
    assert wishes.wanted_paths(known, FILES) is None
