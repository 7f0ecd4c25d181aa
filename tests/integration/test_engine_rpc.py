from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.engine.add_request import AddRequest, gid_for
from hfaria.engine.partial import current_boot_id, prepare_partial
from hfaria.engine.rpc import Engine, RpcRefused
from hfaria.engine.verdicts import failure_of_status
from hfaria.rules.failures import Failure, Reason
from integration.engines import (
    BLOB_NAME,
    fetch,
    installed_engines,
    random_bytes,
    request_for,
    start_daemon,
    wait_for_end,
    wait_until,
)
from integration.range_server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfaria.engine.daemon import ManagedDaemon

pytestmark = pytest.mark.aria2

CONTENT = random_bytes(2_000_000)
BOOT_ID = current_boot_id()
UNKNOWN = "0123456789abcdef"


@pytest.fixture(scope="module", params=installed_engines(), ids=lambda binary: binary.version)
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ManagedDaemon]:
    with start_daemon(request.param, tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def _nothing_under_way(daemon: ManagedDaemon) -> Iterator[None]:
    yield
    daemon.engine.remove(daemon.engine.own_gids)


@pytest.fixture(params=[None, len(CONTENT)], ids=["unknown size", "told size"])
def size(request: pytest.FixtureRequest) -> int | None:
    told: int | None = request.param
    return told


def test_many_transfers_are_added_at_once_and_answered_in_order(
    daemon: ManagedDaemon, tmp_path: Path
) -> None:
    with RangeServer({"file": b"x" * 100}) as server:
        requests = [request_for(tmp_path / f"{at:040x}", server.url("file")) for at in range(450)]
        gids = [each.gid for each in requests]
        assert daemon.engine.add_many(requests) == gids
        wait_until(lambda: all(each.is_ended for each in daemon.engine.poll().by_gid.values()))
        stopped = daemon.engine.poll().stopped
        assert {each.gid for each in stopped} == set(gids)
        assert {each.status for each in stopped} == {"complete"}
        daemon.engine.purge(gids)
        assert daemon.engine.poll().by_gid == {}
        assert daemon.engine.own_gids == frozenset()


def test_a_refused_transfer_does_not_refuse_the_others(
    daemon: ManagedDaemon, tmp_path: Path
) -> None:
    with RangeServer({"file": CONTENT}) as server:
        bad = request_for(tmp_path / "bad", "nonsense://")
        good = request_for(tmp_path / BLOB_NAME, server.url("file"))
        refused, added = daemon.engine.add_many([bad, good])
        assert isinstance(refused, RpcRefused)
        assert not refused.is_under_way
        assert added == good.gid
        assert wait_for_end(daemon.engine, good.gid).status == "complete"
        daemon.engine.purge([good.gid])


def test_a_transfer_that_failed_can_be_added_again(
    daemon: ManagedDaemon, tmp_path: Path, size: int | None
) -> None:
    path = tmp_path / BLOB_NAME
    with RangeServer({"file": CONTENT}) as server:
        request = request_for(path, server.url("absent"), size=size)
        daemon.engine.add_many([request])
        failed = wait_for_end(daemon.engine, request.gid)
        assert (failed.status, failed.error_code) == ("error", 3)
        again = request_for(path, server.url("file"), size=size)
        assert daemon.engine.add_many([again]) == [request.gid]
        assert wait_for_end(daemon.engine, request.gid).completed_length == len(CONTENT)
        daemon.engine.purge([request.gid])
    assert path.read_bytes() == CONTENT


def test_adding_what_is_under_way_is_refused(
    daemon: ManagedDaemon, tmp_path: Path, size: int | None
) -> None:
    with RangeServer({"file": CONTENT}, bytes_per_second=1000) as server:
        request = request_for(tmp_path / BLOB_NAME, server.url("file"), size=size)
        daemon.engine.add_many([request])
        (refused,) = daemon.engine.add_many([request])
        assert isinstance(refused, RpcRefused)
        assert refused.is_under_way
        assert daemon.engine.remove([request.gid]) == {request.gid}


def test_a_removed_transfer_keeps_its_partial_and_goes_on_later(
    daemon: ManagedDaemon, tmp_path: Path, size: int | None
) -> None:
    path = tmp_path / BLOB_NAME
    with RangeServer({"file": CONTENT}, bytes_per_second=400_000) as server:
        prepare_partial(path, len(CONTENT), boot_id=BOOT_ID)
        request = request_for(path, server.url("file"), size=size)
        daemon.engine.add_many([request])
        wait_until(lambda: server.bytes_sent > 300_000)
        assert daemon.engine.remove([request.gid, UNKNOWN]) == {request.gid, UNKNOWN}
        assert daemon.engine.poll().by_gid == {}
        held = prepare_partial(path, len(CONTENT), boot_id=BOOT_ID).held_bytes
        assert held > 0
        server.bytes_per_second = 0
        assert fetch(daemon.engine, path, server.url("file")).status == "complete"
    assert path.read_bytes() == CONTENT


def test_pausing_and_going_on(daemon: ManagedDaemon, tmp_path: Path, size: int | None) -> None:
    path = tmp_path / BLOB_NAME
    with RangeServer({"file": CONTENT}, bytes_per_second=400_000) as server:
        request = request_for(path, server.url("file"), size=size)
        daemon.engine.add_many([request])
        wait_until(lambda: server.bytes_sent > 100_000)
        assert daemon.engine.pause([request.gid]) == {}
        wait_until(lambda: daemon.engine.poll().by_gid[request.gid].status == "paused")
        server.bytes_per_second = 0
        assert daemon.engine.unpause([request.gid]) == {}
        assert wait_for_end(daemon.engine, request.gid).status == "complete"
        daemon.engine.purge([request.gid])
    assert path.read_bytes() == CONTENT


def test_uris_are_changed_under_way(
    daemon: ManagedDaemon, tmp_path: Path, size: int | None
) -> None:
    path = tmp_path / BLOB_NAME
    slow = RangeServer({"file": CONTENT}, bytes_per_second=20_000)
    with slow, RangeServer({"file": CONTENT}) as quick:
        request = request_for(path, slow.url("file"), size=size)
        daemon.engine.add_many([request])
        wait_until(lambda: slow.bytes_sent > 0)
        daemon.engine.pause([request.gid])  # connections under way would keep their URI
        wait_until(lambda: daemon.engine.poll().by_gid[request.gid].status == "paused")
        changed = daemon.engine.change_uri(
            request.gid, remove=[slow.url("file")], add=[quick.url("file")]
        )
        assert changed is None
        daemon.engine.unpause([request.gid])
        assert wait_for_end(daemon.engine, request.gid).status == "complete"
        daemon.engine.purge([request.gid])
    assert path.read_bytes() == CONTENT
    assert quick.bytes_sent > 0


def test_a_told_size_makes_every_get_one_of_a_range(daemon: ManagedDaemon, tmp_path: Path) -> None:
    path = tmp_path / BLOB_NAME
    with RangeServer({"file": CONTENT}) as server:
        request = request_for(path, server.url("file"), size=len(CONTENT))
        daemon.engine.add_many([request])
        assert wait_for_end(daemon.engine, request.gid).status == "complete"
        assert server.requests
        assert all(line.startswith("GET ") for line in server.lines)
        assert None not in {held_range for _, held_range in server.requests}
    assert path.read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == [BLOB_NAME]  # and no Metalink beside it


@pytest.mark.parametrize("delta", [-1, 1])
def test_a_told_size_that_is_not_the_servers_is_an_error_at_once(
    daemon: ManagedDaemon, tmp_path: Path, delta: int
) -> None:
    size = len(CONTENT) + delta
    said = Failure(Reason.WRONG_LENGTH, f"{len(CONTENT)} bytes instead of {size}")
    only_its_code = Failure(Reason.RANGE_IGNORED)
    with RangeServer({"file": CONTENT}) as server:

        def failure(at: int, *, connections: int) -> Failure:
            path = tmp_path / f"{at:064x}"
            request = request_for(path, server.url("file"), connections=connections, size=size)
            daemon.engine.add_many([request])
            status = wait_for_end(daemon.engine, request.gid)
            daemon.engine.purge([request.gid])
            return failure_of_status(status)

        # One connection tries again at once, and finds its only URI gone. Of several ones, the
        # last to fail is the one that reports: seldom such a one.
        assert failure(0, connections=1) == only_its_code
        several = {failure(at, connections=4) for at in range(1, 6)}
        assert several <= {said, only_its_code}
        assert said in several


def test_a_daemon_that_another_process_uses_too_keeps_our_gids(
    daemon: ManagedDaemon, tmp_path: Path
) -> None:
    address = daemon.engine.address
    with RangeServer({"file": CONTENT}, bytes_per_second=1000) as server:
        request = request_for(tmp_path / BLOB_NAME, server.url("file"), size=len(CONTENT))
        mine, theirs = Engine(address, keeps_gids=True), Engine(address, keeps_gids=True)
        assert mine.add_many([request]) == [request.gid]
        (refused,) = theirs.add_many([request])
        assert isinstance(refused, RpcRefused)
        assert refused.is_under_way
        assert mine.remove([request.gid]) == {request.gid}
        mine.close()
        theirs.close()


def test_what_is_not_there_is_a_value(daemon: ManagedDaemon) -> None:
    refused = daemon.engine.pause([UNKNOWN])
    assert refused[UNKNOWN].is_unknown_gid
    assert daemon.engine.unpause([UNKNOWN]).keys() == {UNKNOWN}
    assert daemon.engine.change_uri(UNKNOWN, remove=[], add=[]) is not None
    daemon.engine.purge([UNKNOWN])
    assert daemon.engine.remove([UNKNOWN]) == {UNKNOWN}
    assert daemon.engine.add_many([]) == []


def test_the_rate_limit_is_the_daemons(daemon: ManagedDaemon) -> None:
    daemon.engine.set_rate_limit(5_000_000)
    assert daemon.engine.global_options()["max-overall-download-limit"] == "5000000"
    daemon.engine.set_rate_limit(0)
    assert daemon.engine.global_options()["max-overall-download-limit"] == "0"


def test_signed_urls_in_messages_are_masked(daemon: ManagedDaemon, tmp_path: Path) -> None:
    with RangeServer({}) as server:
        request = request_for(tmp_path / BLOB_NAME, server.url("absent?Signature=private"))
        daemon.engine.add_many([request])
        status = wait_for_end(daemon.engine, request.gid)
        daemon.engine.purge([request.gid])
    assert "private" not in status.error_message + repr(status) + daemon.last_words()


@pytest.mark.parametrize(
    "fault",
    [
        {"gid": "x"},
        {"gid": "0" * 16},
        {"uris": ()},
        {"directory": Path("relative")},
        {"out": ""},
        {"out": ".."},
        {"out": "a/b"},
        {"out": "x" * 244},
        {"options": (("header", "Authorization: x"),)},
        {"options": (("allow-overwrite", "true"),)},
    ],
)
def test_a_transfer_that_would_do_harm_can_not_be_made(fault: dict[str, object]) -> None:
    sound: dict[str, object] = {
        "gid": gid_for(BLOB_NAME),
        "uris": ("http://127.0.0.1/",),
        "directory": Path("/"),
        "out": "x",
    }
    AddRequest(**sound)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"is no|needs|depends|must not"):
        AddRequest(**{**sound, **fault})  # type: ignore[arg-type]


def test_a_gid_is_stable_and_differs_by_blob_and_scope() -> None:
    assert gid_for(BLOB_NAME) == gid_for(BLOB_NAME)
    assert len({gid_for("a"), gid_for("b"), gid_for("a", "repo")}) == 3
