"""Our own client's fetches, when what is asked to go on is another file by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.hub.client import HubClient, Timeouts
from hfaria.hub.fetch import fetch_direct
from hfaria.rules.endpoints import Endpoint
from hfaria.rules.failures import Failure, Reason
from integration.engines import random_bytes
from integration.range_server import RangeServer
from loopback_hub import Blackhole, Close, Fault, Refuse
from support.cli import wait_until
from support.repos import one_file

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import LoopbackHub

CONTENT = random_bytes(300_000)


def fetched(server: RangeServer, into: Path, *, endpoint: Endpoint | None = None) -> Failure | None:
    client = HubClient((), lambda: None, "test")
    try:
        return fetch_direct(
            client,
            server.url("file"),
            into,
            size=len(CONTENT),
            endpoint=endpoint or Endpoint(server.url("")),
            on_bytes=lambda _: None,
            is_cancelled=lambda: False,
        )
    finally:
        client.close()


def test_what_is_held_is_not_asked_for_again(tmp_path: Path) -> None:
    into = tmp_path / "direct"
    into.write_bytes(CONTENT[:200_000])
    with RangeServer({"file": CONTENT}) as server:
        assert fetched(server, into) is None
        wait_until(lambda: server.bytes_sent >= 100_000)  # it counts after it sent
        assert server.bytes_sent == 100_000
    assert into.read_bytes() == CONTENT


def test_each_try_goes_on_where_a_broken_connection_ended(hub: LoopbackHub, tmp_path: Path) -> None:
    spec = one_file(size=100_000)
    hub.put_repo(spec)
    # Less than any buffer on the way.
    hub.faults.add(Fault(Close(after=9_000), kind="bytes"))
    client = HubClient((), lambda: None, "test")
    into = tmp_path / "direct"
    held = []
    [file] = spec.head.files
    for _ in range(3):
        failure = fetch_direct(
            client,
            f"{hub.url('origin')}/{spec.repo_id}/resolve/main/{file.path}",
            into,
            size=100_000,
            endpoint=Endpoint(hub.url("origin")),
            on_bytes=lambda _: None,
            is_cancelled=lambda: False,
        )
        assert failure is not None
        assert failure.reason is Reason.TRANSPORT
        held.append(into.stat().st_size)
    client.close()
    assert held == [9_000, 18_000, 27_000]
    assert into.read_bytes() == file.content.read(0, 27_000)


def test_a_file_that_is_longer_by_now_is_not_gone_on_with(tmp_path: Path) -> None:
    into = tmp_path / "direct"
    into.write_bytes(CONTENT[:200_000])
    with RangeServer({"file": CONTENT + b"more"}) as server:
        failure = fetched(server, into)
    assert failure is not None
    assert failure.reason is Reason.WRONG_LENGTH
    assert into.stat().st_size == 200_000


def test_a_location_that_is_gone_was_signed_and_has_expired(tmp_path: Path) -> None:
    with RangeServer({}) as server:
        elsewhere = fetched(server, tmp_path / "a", endpoint=Endpoint("http://127.0.0.9"))
        here = fetched(server, tmp_path / "b")
    assert elsewhere is not None
    assert elsewhere.reason is Reason.EXPIRED
    assert here is not None
    assert here.reason is Reason.NOT_FOUND


def test_nobody_says_where_a_redirect_leads_that_there_is_nobody(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    client = HubClient((), lambda: None, "test", timeouts=Timeouts(connect=0.3))

    def failure() -> Failure | None:
        return fetch_direct(
            client,
            f"{hub.url('cdn')}/file",
            tmp_path / "direct",
            size=1,
            endpoint=Endpoint(hub.url("origin")),
            on_bytes=lambda _: None,
            is_cancelled=lambda: False,
        )

    host = hub.url("cdn").removeprefix("http://")
    # It takes time to find out, which is counted; and it says nothing of the endpoint.
    hole = Fault(Blackhole(drops_connects=True), site="cdn")
    hub.faults.add(hole)
    assert failure() == Failure(Reason.TIMEOUT, f"{host} can't be reached")
    hub.faults.remove(hole)
    hub.faults.add(Fault(Refuse(), site="cdn"))
    assert failure() == Failure(Reason.TRANSPORT, f"{host} can't be reached")
    client.close()
