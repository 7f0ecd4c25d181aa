"""Mending a file whose digest is wrong, with a second source of the same bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from hfaria.hub.client import HubClient
from hfaria.hub.mend import Mending, Source, mend, serves_other_bytes
from hfaria.hub.wrong_file import WrongFile
from hfaria.rules.endpoints import Endpoint
from hfaria.rules.failures import Reason
from hfaria.rules.suspicion import order_of_suspicion, step_length
from integration.range_server import RangeServer
from loopback_hub import (
    Close,
    Fault,
    Gzip,
    IgnoreRange,
    Portal,
    Shape,
    Status,
    WrongBytes,
)
from support.repos import one_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hfaria.rules.control_file import Range
    from loopback_hub import LoopbackHub
    from loopback_hub.effects import Effect


SIZE = 16_000_000
SPEC = one_file(size=SIZE)
(FILE,) = SPEC.head.files
CONTENT = FILE.content.read(0, SIZE)
STEP = step_length(SIZE)


@pytest.fixture
def client() -> Iterator[HubClient]:
    client = HubClient((), lambda: None, "test")
    yield client
    client.close()


def source_at(hub: LoopbackHub, site: str = "mirror") -> Source:
    hub.put_repo(SPEC)
    endpoint = Endpoint(hub.url(site))
    path = f"{SPEC.repo_id}/resolve/{SPEC.commit_id}/{FILE.path}"
    return Source(endpoint.join(path), endpoint)


def damaged(path: Path, *offsets: int) -> Path:
    """Write the file with these bytes inverted."""
    content = bytearray(CONTENT)
    for at in offsets:
        content[at] ^= 0xFF
    path.write_bytes(content)
    return path


def mended(
    client: HubClient,
    source: Source,
    path: Path,
    *,
    order: Sequence[Range] = ((0, SIZE),),
    on_bytes: Callable[[int], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    checks: list[bool] | None = None,
    connections: int = 4,
) -> Mending:
    looked = [] if checks is None else checks

    def is_right() -> bool:
        looked.append(hashlib.sha256(path.read_bytes()).hexdigest() == FILE.content.sha256)
        return looked[-1]

    return mend(
        client,
        source,
        path,
        size=SIZE,
        order=order,
        is_right=is_right,
        on_bytes=on_bytes,
        is_cancelled=is_cancelled,
        connections=connections,
    )


def test_one_flipped_byte_costs_a_part_of_what_is_suspected_first(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "partial", 9_500_000)
    order = [(9_000_000, SIZE), (0, 9_000_000)]
    checks: list[bool] = []
    hub.shape("mirror", Shape(rate_per_connection=4e6))  # nobody runs ahead
    found = mended(client, source_at(hub), path, order=order, checks=checks)
    assert found.is_right
    assert found.failure is None
    assert found.replaced == ((9_500_000, 9_500_001),)
    assert checks == [True]
    assert path.read_bytes() == CONTENT
    # Found in the second step, with three others under way.
    assert hub.file_bytes_sent() <= 8 * STEP
    assert hub.file_bytes_sent() <= 0.15 * SIZE


def test_all_damage_is_found_wherever_it_is(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    offsets = (0, 70_000, 8_000_000, SIZE - 1)
    path = damaged(tmp_path / "partial", *offsets)
    checks: list[bool] = []
    found = mended(client, source_at(hub), path, checks=checks)
    assert found.is_right
    assert path.read_bytes() == CONTENT
    assert found.replaced == tuple((at, at + 1) for at in offsets)
    assert found.left == ()
    assert 1 < len(checks) <= 10
    assert hub.file_bytes_sent() == SIZE


def test_a_source_that_has_the_same_wrong_bytes_changes_nothing(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "partial", 500_000)
    source = source_at(hub)
    hub.faults.add(Fault(WrongBytes(500_000), kind="bytes"))
    checks: list[bool] = []
    found = mended(client, source, path, checks=checks)
    assert (found.replaced, found.left, found.is_right, found.failure) == ((), (), False, None)
    assert checks == []


@pytest.mark.parametrize(
    ("effect", "reason"),
    [
        (IgnoreRange(), Reason.RANGE_IGNORED),
        (Portal(), Reason.WRONG_CONTENT),
        (Gzip(), Reason.WRONG_CONTENT),
        (Status(503), Reason.SERVER_ERROR),
        (Status(403), Reason.DENIED),
        (Close(after=1000), Reason.TRANSPORT),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else type(value).__name__,
)
def test_what_is_not_the_range_asked_for_is_a_failure_and_changes_nothing(
    hub: LoopbackHub, client: HubClient, tmp_path: Path, effect: Effect, reason: Reason
) -> None:
    path = damaged(tmp_path / "partial", 500_000)
    source = source_at(hub)
    hub.faults.add(Fault(effect, kind="bytes"))
    before = path.read_bytes()
    found = mended(client, source, path)
    assert found.failure is not None
    assert found.failure.reason is reason
    assert found.replaced == ()
    assert sum(end - start for start, end in found.left) == SIZE
    assert path.read_bytes() == before


def test_a_signed_url_that_is_refused_has_expired(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "partial", 500_000)
    source = source_at(hub, "origin")
    hub.faults.add(Fault(Status(403), site="cdn"))
    for url in (source.url, hub.url("cdn") + "/any"):  # by the endpoint's redirect, and without
        found = mended(client, Source(url, source.endpoint), path)
        assert found.failure is not None
        assert found.failure.reason is Reason.EXPIRED


def test_another_length_in_the_answer_is_a_failure(client: HubClient, tmp_path: Path) -> None:
    path = damaged(tmp_path / "partial", 500_000)
    with RangeServer({"file": CONTENT + b"more"}) as server:
        source = Source(server.url("file"), Endpoint(server.url("")))
        found = mended(client, source, path)
    assert found.failure is not None
    assert found.failure.reason is Reason.WRONG_LENGTH


def test_after_a_failure_the_search_goes_on_with_what_is_left(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "partial", SIZE - 1)
    source = source_at(hub)
    hub.faults.add(Fault(Status(503), kind="bytes", skip=20, first=1))
    first = mended(client, source, path)
    assert first.failure is not None
    second = mended(client, source, path, order=first.left)
    assert second.is_right
    assert path.read_bytes() == CONTENT
    assert hub.file_bytes_sent() <= SIZE + 4 * STEP


def test_what_was_replaced_before_a_failure_may_have_been_all(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "partial", 10)
    source = source_at(hub)
    hub.faults.add(Fault(Close(after=100_000), kind="bytes"))
    found = mended(client, source, path, connections=1)
    assert found.is_right
    assert found.failure is None
    assert path.read_bytes() == CONTENT


def test_it_ends_when_it_is_cancelled(hub: LoopbackHub, client: HubClient, tmp_path: Path) -> None:
    path = damaged(tmp_path / "partial", SIZE - 1)
    seen: list[int] = []
    found = mended(
        client, source_at(hub), path, on_bytes=seen.append, is_cancelled=lambda: len(seen) > 5
    )
    assert found.failure is not None
    assert found.failure.detail == "cancelled"
    assert seen == sorted(seen)
    assert seen[-1] < 1_000_000


def test_a_wrong_source_is_told_by_the_ranges_that_were_replaced(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "blob")
    hub.faults.add(Fault(WrongBytes(500_000), kind="bytes"))

    def is_liar(source: Source) -> object:
        ranges = [(100, 200), (499_990, 500_010)]
        return serves_other_bytes(
            client, source, path, size=SIZE, ranges=ranges, is_cancelled=lambda: False
        )

    with RangeServer({"file": CONTENT}) as server:
        assert is_liar(Source(server.url("file"), Endpoint(server.url("")))) is False
    assert is_liar(source_at(hub)) is True
    hub.faults.clear()
    hub.faults.add(Fault(Status(503), kind="bytes"))
    failure = is_liar(source_at(hub))
    assert getattr(failure, "reason", None) is Reason.SERVER_ERROR


def test_no_connection_outlives_a_mending(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "partial", 500_000)
    assert mended(client, source_at(hub), path, order=order_of_suspicion(SIZE, ())).is_right
    assert client._clients == []


def test_a_comparison_goes_on_where_it_broke_off_as_long_as_the_source_is_the_same(
    hub: LoopbackHub, client: HubClient, tmp_path: Path
) -> None:
    path = damaged(tmp_path / "partial", 10, SIZE - 1)
    source = source_at(hub)
    wrong = WrongFile(path, SIZE, ((0, SIZE),), lambda: path.read_bytes() == CONTENT)
    hub.faults.add(Fault(Status(503), kind="bytes", skip=20, first=1))
    agreed: list[int] = []
    assert wrong.compare(client, source, on_bytes=agreed.append).failure is not None
    held = wrong.agreed(source)
    assert 0 < held < SIZE
    elsewhere = Source(source.url, Endpoint(hub.url("origin")))
    assert wrong.agreed(elsewhere) == 0
    agreed.clear()
    assert wrong.compare(client, source, on_bytes=agreed.append).is_right
    assert agreed[0] > held
    assert wrong.replaced == [(10, 11), (SIZE - 1, SIZE)]
    assert path.read_bytes() == CONTENT
