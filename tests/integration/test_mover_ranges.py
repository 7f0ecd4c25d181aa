"""Which GETs of the engine are for a whole file, and which for ranges."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from hfaria.engine.daemon import ManagedDaemon, find_engine, load_tunables
from hfaria.engine.mover import Mover, MoveRequest
from hfaria.hub.client import HubClient
from hfaria.hub.locate import locate
from hfaria.rules.endpoints import Endpoint
from hfaria.rules.plan import Transfer
from hfaria.rules.spec import RepoSpec
from hfaria.rules.transfers import Arrived, Cancelled, Event, Location, Route
from loopback_hub import HubConfig, LoopbackHub, Shape, generated_repo

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 9_000_000


def gets_at_the_cdn(
    tmp_path: Path, *, largest_whole_answer: int = SIZE, is_cut_off: bool = False
) -> list[str | None]:
    """Move one file through a real engine and return the range of each GET.

    One that ``is_cut_off`` has begun before, and of these GETs nothing is returned.
    """
    spec = generated_repo("org/large", [("model.safetensors", SIZE)])
    with LoopbackHub(HubConfig(repos=(spec,))) as hub:
        (file,) = spec.head.files
        transfer = Transfer(file.blob_name, SIZE, file.path, is_lfs=True)
        client = HubClient((), lambda: None, "test")
        route = Route(Endpoint(hub.url()))
        location = locate(client, RepoSpec("org/large"), spec.commit_id, transfer, route)
        assert isinstance(location, Location)
        client.close()
        daemon = ManagedDaemon(
            find_engine(None, search_path=os.environ.get("PATH")),
            tunables=load_tunables().options,
            environ=os.environ,
            runtime_parent=tmp_path,
        )
        partials = tmp_path / "partial"
        partials.mkdir()

        def start() -> ManagedDaemon:
            daemon.start()
            return daemon

        mover = Mover(partials, start, 4, "test", largest_whole_answer=largest_whole_answer)
        try:
            if is_cut_off:
                hub.shape("cdn", Shape(rate_total=2_000_000))
                mover.move([MoveRequest(transfer, location.url)])
                while mover.bytes_moved < SIZE // 4:
                    mover.poll()
                    time.sleep(0.02)
                assert mover.cancel([transfer]) == [Cancelled(file.blob_name)]
                hub.shape("cdn", Shape())
                hub.reset_records()
            events: list[Event] = mover.move([MoveRequest(transfer, location.url)])
            deadline = time.monotonic() + 20
            while Arrived(file.blob_name) not in events and time.monotonic() < deadline:
                events = mover.poll()
                time.sleep(0.02)
        finally:
            daemon.stop()
        assert Arrived(file.blob_name) in events
        assert {each.method for each in hub.records if each.site == "cdn"} == {"GET"}
        return [each.range for each in hub.records if each.site == "cdn" and each.bytes_sent]


def test_no_request_is_without_a_range_beyond_the_limit(tmp_path: Path) -> None:
    ranges = gets_at_the_cdn(tmp_path, largest_whole_answer=SIZE - 1)
    assert ranges
    assert None not in ranges


def test_the_first_request_is_whole_below_the_limit(tmp_path: Path) -> None:
    assert None in gets_at_the_cdn(tmp_path, largest_whole_answer=SIZE)


def test_what_is_held_in_part_is_not_asked_for_as_a_whole(tmp_path: Path) -> None:
    ranges = gets_at_the_cdn(tmp_path, is_cut_off=True)
    assert ranges
    assert None not in ranges
