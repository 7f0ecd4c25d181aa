from __future__ import annotations

import os
import signal
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.engine.binary import EngineBinary
from hfaria.engine.extents import data_extents, holes_are_reported
from hfaria.engine.partial import (
    PartialAction,
    backup_control,
    companions,
    control_path,
    current_boot_id,
    discard,
    drop_salvaged,
    forget,
    prepare_partial,
    quarantine,
)
from hfaria.errors import StoreError
from hfaria.rules.control_file import (
    BLOCK_LENGTH,
    DEFAULT_PIECE_LENGTH,
    ControlFile,
    parse_control_file,
)
from integration.engines import (
    BLOB_NAME,
    fetch,
    installed_engines,
    random_bytes,
    request_for,
    start_daemon,
    wait_until,
)
from integration.range_server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hfaria.engine.daemon import ManagedDaemon

pytestmark = pytest.mark.aria2

MIB = 1024 * 1024
SIZE = 8 * MIB + 5001
CONTENT = random_bytes(SIZE)
RATE = 8 * MIB
# An engine that has enough drops a connection, and with it what the kernel had taken for it.
UNREAD = 512 * 1024
ENGINES = installed_engines()
BOOT_ID = current_boot_id()
# A disk's filesystem and tmpfs keep different books about holes.
FOLDERS = [tempfile.gettempdir(), *(["/dev/shm"] if Path("/dev/shm").is_dir() else [])]


@pytest.fixture(params=ENGINES, ids=lambda binary: binary.version)
def binary(request: pytest.FixtureRequest) -> EngineBinary:
    assert isinstance(request.param, EngineBinary)
    return request.param


@pytest.fixture(scope="module", params=ENGINES, ids=lambda binary: binary.version)
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ManagedDaemon]:
    with start_daemon(request.param, tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture(params=FOLDERS)
def partial(request: pytest.FixtureRequest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=request.param) as folder:
        yield Path(folder) / BLOB_NAME


def half_done(partial: Path, *, held: int = 3 * MIB, content: bytes = CONTENT) -> ControlFile:
    """Arrange what a killed engine leaves: two runs of data, of which only one is on record."""
    assert prepare_partial(partial, len(content), boot_id=BOOT_ID).held_bytes == 0
    with partial.open("wb") as file:
        file.write(content[:held])
        file.seek(5 * MIB)
        file.write(content[5 * MIB : 6 * MIB + 100])
    control = ControlFile.empty(len(content)).with_blocks([(0, held)])
    control_path(partial).write_bytes(control.serialize())
    return control


def write_control(partial: Path, content: bytes) -> None:
    control_path(partial).write_bytes(content)


def cut_control(partial: Path) -> None:
    write_control(partial, control_path(partial).read_bytes()[:-3])


def poison_control(partial: Path) -> None:
    """Make the one that aria2 aborts on: an in-flight piece that lacks no block."""
    control = ControlFile.empty(SIZE).with_blocks([(0, MIB + BLOCK_LENGTH)]).serialize()
    write_control(partial, control[:-8] + b"\xff" * 8)


def fill_up(partial: Path) -> None:
    """A full-size file with wrong bytes and no control file, as preallocation leaves it."""
    control_path(partial).unlink()
    partial.write_bytes(b"\1" * SIZE)


def grow(partial: Path) -> None:
    with partial.open("ab") as file:
        file.write(b"\1" * SIZE)


def change_total(partial: Path) -> None:
    write_control(partial, ControlFile.full(SIZE + 1).serialize())


def make_folderless_link(partial: Path) -> None:
    partial.unlink()
    partial.symlink_to("/dev/null")


DAMAGES: list[Callable[[Path], None]] = [
    lambda partial: partial.unlink(),
    lambda partial: control_path(partial).unlink(),
    fill_up,
    lambda partial: write_control(partial, b""),
    cut_control,
    lambda partial: write_control(partial, b"\x5a" * 200),
    poison_control,
    lambda partial: os.truncate(partial, MIB + 77),
    lambda partial: os.truncate(partial, 0),
    grow,
    change_total,
    make_folderless_link,
]
NAMES = [
    *("no partial", "no control", "no control, full size", "zero control", "cut control"),
    *("garbage control", "poisoned control", "partial cut", "partial empty", "partial too long"),
    *("another total", "a link"),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=NAMES)
def test_a_damaged_partial_ends_in_the_right_bytes(
    daemon: ManagedDaemon, partial: Path, damage: Callable[[Path], None]
) -> None:
    half_done(partial)
    damage(partial)
    with RangeServer({"file": CONTENT}, bytes_per_second=RATE) as server:
        state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
        if state.action is PartialAction.COMPLETE_UNVERIFIED:
            assert partial.read_bytes() != CONTENT
            assert drop_salvaged(partial) == 0
            discard(partial)
            state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
        assert fetch(daemon.engine, partial, server.url("file")).status == "complete"
        assert partial.read_bytes() == CONTENT
        assert server.bytes_sent <= SIZE - state.held_bytes + UNREAD
        assert daemon.is_alive()


def test_what_the_control_file_does_not_know_is_salvaged(partial: Path) -> None:
    control = half_done(partial)
    state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    assert state.action is PartialAction.RESUMED
    # 6 MiB + 100 ends inside a block, and MiB 5 ends in a byte that isn't zero.
    assert state.salvaged == ((5 * MIB, 6 * MIB),)
    held = parse_control_file(control_path(partial).read_bytes())
    assert held == control.with_blocks([(5 * MIB, 6 * MIB)])


@pytest.mark.parametrize("boot_id", ["another boot", None])
def test_nothing_is_salvaged_after_a_reboot(partial: Path, boot_id: str | None) -> None:
    half_done(partial)
    state = prepare_partial(partial, SIZE, boot_id=boot_id)
    assert (state.held_bytes, state.salvaged) == (3 * MIB, ())


def test_what_an_earlier_boot_left_is_not_salvaged_by_a_later_kill(partial: Path) -> None:
    half_done(partial)
    assert prepare_partial(partial, SIZE, boot_id="the next boot").salvaged == ()
    with partial.open("r+b") as file:  # what the next boot's engine fetched before it was killed
        file.seek(7 * MIB)
        file.write(CONTENT[7 * MIB : 7 * MIB + 200_000])
    state = prepare_partial(partial, SIZE, boot_id="the next boot")
    assert state.salvaged == ((7 * MIB, 7 * MIB + 12 * BLOCK_LENGTH),)


def test_nothing_is_salvaged_from_a_preallocated_partial(partial: Path) -> None:
    control = half_done(partial)
    with partial.open("r+b") as file:
        file.write(bytes(SIZE))
        file.seek(0)
        file.write(CONTENT[: 3 * MIB])
    state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    assert (state.held_bytes, state.salvaged) == (control.completed_length(), ())


def test_a_page_filled_in_part_before_anothers_start_is_not_salvaged(partial: Path) -> None:
    prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    with partial.open("wb") as file:
        file.write(CONTENT[: 2 * MIB - 50])  # one connection, stopped 50 bytes before
        file.seek(2 * MIB)
        file.write(CONTENT[2 * MIB : 3 * MIB])  # the start of the next
    write_control(partial, ControlFile.empty(SIZE).serialize())
    state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    held = parse_control_file(control_path(partial).read_bytes()).held_ranges()
    assert state.salvaged == held
    assert held[0] == (0, 2 * MIB - BLOCK_LENGTH)


def test_claims_on_bytes_that_a_power_loss_took_are_dropped(partial: Path) -> None:
    half_done(partial)
    claims = ControlFile.empty(SIZE).with_blocks([(0, 5 * MIB)])
    write_control(partial, claims.serialize())
    state = prepare_partial(partial, SIZE, boot_id="the next boot")
    assert state.held_bytes == 3 * MIB
    assert state.reason


def test_a_cut_control_file_is_replaced_by_its_backup(partial: Path) -> None:
    half_done(partial)
    assert backup_control(partial)
    write_control(partial, b"")
    assert not backup_control(partial)
    state = prepare_partial(partial, SIZE, boot_id="the next boot")
    assert state.action is PartialAction.RESTORED_BACKUP
    assert state.held_bytes == 3 * MIB


def test_a_backup_is_not_replaced_by_a_control_file_that_tells_less(partial: Path) -> None:
    control = half_done(partial)
    assert backup_control(partial)
    write_control(partial, control.without_ranges([(0, MIB)]).serialize())
    assert not backup_control(partial)
    write_control(partial, control.with_blocks([(0, 4 * MIB)]).serialize())
    assert backup_control(partial)


def test_without_any_control_file_the_holes_tell_enough(partial: Path) -> None:
    half_done(partial)
    write_control(partial, b"")
    state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    assert state.action is PartialAction.SALVAGED_ALL
    assert state.held_bytes == 4 * MIB - BLOCK_LENGTH  # the first run's end is in doubt


def test_a_finished_partial_is_reported_and_left_alone(partial: Path) -> None:
    prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    partial.write_bytes(CONTENT)
    state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    assert state.action is PartialAction.COMPLETE_UNVERIFIED
    assert partial.read_bytes() == CONTENT
    assert not control_path(partial).exists()


def test_salvaged_bytes_that_prove_bad_are_the_only_ones_fetched_again(
    daemon: ManagedDaemon, partial: Path
) -> None:
    half_done(partial)
    with partial.open("r+b") as file:
        file.seek(5 * MIB + 3 * BLOCK_LENGTH)
        file.write(b"\1" * BLOCK_LENGTH)  # a salvaged block that isn't what it should be
    with RangeServer({"file": CONTENT}, bytes_per_second=RATE) as server:
        salvaged = prepare_partial(partial, SIZE, boot_id=BOOT_ID).salvaged_bytes
        assert salvaged == MIB
        fetch(daemon.engine, partial, server.url("file"))
        assert partial.read_bytes() != CONTENT
        server.bytes_sent = 0
        assert drop_salvaged(partial) == salvaged
        assert prepare_partial(partial, SIZE, boot_id=BOOT_ID).salvaged == ()
        fetch(daemon.engine, partial, server.url("file"))
        assert partial.read_bytes() == CONTENT
        assert salvaged <= server.bytes_sent <= salvaged + UNREAD
        assert drop_salvaged(partial) == 0


def test_dropping_from_an_unfinished_partial_keeps_what_was_fetched_since(partial: Path) -> None:
    half_done(partial)
    prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    since = parse_control_file(control_path(partial).read_bytes()).with_blocks([(3 * MIB, 4 * MIB)])
    write_control(partial, since.serialize())
    assert drop_salvaged(partial) == MIB
    assert parse_control_file(control_path(partial).read_bytes()).held_ranges() == ((0, 4 * MIB),)


def test_a_complete_control_file_is_accepted_by_the_engine(
    daemon: ManagedDaemon, partial: Path
) -> None:
    """A salvage may find that nothing is missing any more."""
    partial.write_bytes(CONTENT)
    write_control(partial, ControlFile.full(SIZE).serialize())
    with RangeServer({"file": CONTENT}, bytes_per_second=RATE) as server:
        prepare_partial(partial, SIZE, boot_id=BOOT_ID)
        assert fetch(daemon.engine, partial, server.url("file")).status == "complete"
        assert partial.read_bytes() == CONTENT
        assert server.bytes_sent <= UNREAD


def test_kills_of_the_engine_cost_next_to_nothing(
    binary: EngineBinary, partial: Path, tmp_path: Path
) -> None:
    content = random_bytes(60 * MIB)
    with RangeServer({"file": content}, bytes_per_second=6 * MIB) as server:
        for kill in range(1, 6):
            # Sent, but not yet taken from the kernel, is lost to any kill: keep it small.
            with start_daemon(
                binary, tmp_path, auto_save_interval="60", socket_recv_buffer_size="65536"
            ) as daemon:
                prepare_partial(partial, len(content), boot_id=BOOT_ID)
                request = request_for(partial, server.url("file"), connections=2)
                assert daemon.engine.add_many([request]) == [request.gid]
                share = len(content) * kill // 6
                wait_until(lambda share=share: server.bytes_sent >= share)  # type: ignore[misc]
                assert daemon.pid is not None
                os.kill(daemon.pid, signal.SIGKILL)
        with start_daemon(binary, tmp_path) as daemon:
            state = prepare_partial(partial, len(content), boot_id=BOOT_ID)
            assert state.salvaged_bytes
            status = fetch(daemon.engine, partial, server.url("file"), connections=2)
            assert status.status == "complete"
        assert partial.read_bytes() == content
        assert server.bytes_sent <= 1.02 * len(content)


def test_a_real_control_file_of_a_killed_engine_is_read(
    binary: EngineBinary, partial: Path, tmp_path: Path
) -> None:
    with RangeServer({"file": CONTENT}, bytes_per_second=MIB) as server:
        prepare_partial(partial, SIZE, boot_id=BOOT_ID)
        with start_daemon(binary, tmp_path, auto_save_interval="1") as daemon:
            request = request_for(partial, server.url("file"))
            daemon.engine.add_many([request])
            wait_until(lambda: server.bytes_sent > 2 * MIB)
        content = control_path(partial).read_bytes()
        control = parse_control_file(content)
        assert control.serialize() == content
        assert control.piece_length == DEFAULT_PIECE_LENGTH
        assert 0 < control.completed_length() <= server.bytes_sent
        data = partial.read_bytes()
        assert all(data[a:b] == CONTENT[a:b] for a, b in control.held_ranges())


def test_nothing_is_left_beside_a_partial(partial: Path) -> None:
    for end in (discard, forget):
        half_done(partial)
        backup_control(partial)
        partial.with_name(partial.name + ".aria2__temp").write_bytes(b"x")
        end(partial)
        assert [path.name for path in partial.parent.iterdir()] in ([], [partial.name])
    assert not any(path.exists() for path in companions(partial))


def test_quarantine_moves_the_bytes_and_forgets_the_rest(partial: Path) -> None:
    half_done(partial)
    content = partial.read_bytes()
    moved = quarantine(partial, partial.parent / "quarantine")
    assert moved.read_bytes() == content
    assert [path.name for path in partial.parent.iterdir()] == ["quarantine"]


def test_a_folder_in_the_partials_place_is_a_store_error(partial: Path) -> None:
    partial.mkdir()
    with pytest.raises(StoreError, match=partial.name):
        prepare_partial(partial, SIZE, boot_id=BOOT_ID)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format": 1, "salvaged": 5}', b"\xff"])
def test_a_damaged_record_only_forbids_salvage(partial: Path, content: bytes) -> None:
    half_done(partial)
    partial.with_name(partial.name + ".record").write_bytes(content)
    state = prepare_partial(partial, SIZE, boot_id=BOOT_ID)
    assert (state.held_bytes, state.salvaged) == (3 * MIB, ())


def test_extents_are_the_written_ranges(partial: Path) -> None:
    assert holes_are_reported(partial.parent)
    with partial.open("wb") as file:
        file.seek(3 * MIB)
        file.write(b"x" * 5000)
        file.truncate(9 * MIB)
    assert data_extents(partial) == ((3 * MIB, 3 * MIB + 8192),)


def test_the_version_of_a_control_file_is_in_its_first_two_bytes() -> None:
    assert struct.unpack(">H", ControlFile.empty(5).serialize()[:2]) == (1,)
