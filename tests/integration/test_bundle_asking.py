"""A stick that is not at hand is asked for, by whoever sits at the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfaria.errors import ExitCode
from hfaria.rules.bundle_plan import LEAST_RESERVE
from support.bundles import (
    MIB,
    SHARDS,
    Writer,
    assert_valid,
    assert_whole,
    sized,
    stick_folders,
)
from support.terminal import Conversation

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import User

ROOM = LEAST_RESERVE + 50 * MIB
"""A stick that takes two shards of three."""
ASKING = "and name its folder, or press Enter to stop: "


@pytest.fixture
def begun(maker: User, tmp_path: Path) -> tuple[list[str], Path]:
    """The command of a set whose first stick of two is written, and where that is."""
    (place,) = stick_folders(tmp_path, 1)
    writer = Writer(maker)
    probe = sized("exfat", {place: ROOM})
    created = writer.create([SHARDS], [place], probe=probe, stick_sizes=(ROOM,))
    assert created.missing == (2,)
    return ["bundle", "create", SHARDS, "--to", str(place), "--stick", str(ROOM)], place


def bag_in(place: Path) -> Path:
    (bag,) = place.glob("hfb-*")
    return bag


def test_the_next_stick_may_come_where_the_last_one_was(
    begun: tuple[list[str], Path], maker: User, tmp_path: Path
) -> None:
    command, place = begun
    with Conversation(maker, *command) as user:
        said = user.hear(ASKING)
        assert "stick 1 of 2 is done, and can be taken out" in said
        assert "Insert stick 2 (" in said
        user.say(str(tmp_path / "nowhere"))
        assert f"`{tmp_path / 'nowhere'}` is not a folder" in user.hear(ASKING)
        user.say(str(place))  # too early
        assert f"`{place}` still is stick 1, which is done" in user.hear(ASKING)
        place.rename(tmp_path / "drawer")
        place.mkdir()
        user.say(f"'{place}' ")
        code, shown = user.end()
    assert code == 0, shown
    assert f"stick 2 of 2: writing 21.0 MB to {place}" in shown
    bags = [bag_in(tmp_path / "drawer"), bag_in(place)]
    assert bags[1].name.endswith("-s02")
    assert_whole(bags)
    for bag in bags:
        assert_valid(bag)


def test_no_answer_ends_it_as_elsewhere_and_an_interrupt_as_always(
    begun: tuple[list[str], Path], maker: User, tmp_path: Path
) -> None:
    command, place = begun
    with Conversation(maker, *command) as user:
        user.hear(ASKING)
        user.say("")
        code, shown = user.end()
    assert code == ExitCode.INCOMPLETE
    assert "1 stick of 2 still to be written" in shown
    assert "put the next stick in and run the same command" in shown
    with Conversation(maker, *command) as user:
        user.hear(ASKING)
        user.interrupt()
        code, shown = user.end()
    assert code == ExitCode.INTERRUPTED
    assert "rerun the same command to resume" in shown
    other = tmp_path / "other"
    other.mkdir()
    with Conversation(maker, *command) as user:
        user.hear(ASKING)
        user.say(str(other))
        code, shown = user.end()
    assert code == 0, shown
    assert_whole([bag_in(place), bag_in(other)])


@pytest.mark.parametrize("flag", ["--json", "-q"])
def test_who_wants_data_alone_is_not_asked(
    flag: str, begun: tuple[list[str], Path], maker: User
) -> None:
    command, _ = begun
    with Conversation(maker, *command, flag) as user:
        code, shown = user.end()
    assert code == ExitCode.INCOMPLETE
    assert "Insert" not in shown


def test_without_a_terminal_nobody_is_asked(begun: tuple[list[str], Path], maker: User) -> None:
    command, _ = begun
    run = maker.run(*command)
    assert run.code == ExitCode.INCOMPLETE
    assert "Insert" not in run.stderr
    assert "can be taken out" not in run.stderr


def test_a_plan_says_whether_it_will_be_asked_for(maker: User, tmp_path: Path) -> None:
    stick = str(ROOM)
    command = ["bundle", "create", SHARDS, "--stick", stick, "--stick", stick, "--plan-only"]
    with Conversation(maker, *command) as user:
        code, shown = user.end()
    assert code == 0, shown
    assert "needs 2 sticks; insert the others when asked, or add `--to`" in shown
    assert "written by the same command later" in maker.run(*command).stdout
