"""A rate limit over engine and client, changed while they move."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfaria.engine.attached import AttachedDaemon
from hfaria.engine.mover import Mover, MoveRequest
from hfaria.hub.pace import Pace
from hfaria.rules.plan import Transfer
from hfaria.rules.rate_limit import UNLIMITED, parse_rate_schedule
from hfaria.workflows.bandwidth import Bandwidth
from integration.test_mover_sources import TRANSFER, at_least, follow, has_arrived, moving, server
from loopback_hub import Generated, repo
from support.trees import assert_holds

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = pytest.mark.aria2


class Notes:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_takers_together_keep_to_the_pace() -> None:
    pace = Pace()
    pace.limit(200_000)
    began = time.monotonic()
    takers = [threading.Thread(target=pace.take, args=(10_000,)) for _ in range(20)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert pace.taken == 200_000
    # All but the last piece, and what may come in a burst, had to be waited for.
    assert time.monotonic() - began >= (200_000 - 10_000 - 50_000) / 200_000


def test_who_waits_is_let_go_when_the_limit_is_lifted() -> None:
    pace = Pace()
    pace.limit(1)
    pace.take(1_000_000)
    waiting = threading.Thread(target=pace.take, args=(1,))
    waiting.start()
    pace.limit(None)
    waiting.join(10)
    assert not waiting.is_alive()


def test_the_limit_changes_while_the_engine_moves(tmp_path: Path) -> None:
    notes = Notes()
    with moving(tmp_path) as (mover, daemon), server(2) as first:
        now = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - local time is what is meant
        schedule = parse_rate_schedule("200k@08:00-19:00", named_by="test")
        bandwidth = Bandwidth(schedule, mover, Pace(), notes, lambda: now)  # type: ignore[arg-type]
        bandwidth.apply(0.0)
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        bandwidth.apply(0.1)
        follow(mover, at_least(1))
        assert daemon.engine.global_options()["max-overall-download-limit"] == "200000"
        now += timedelta(hours=7)
        bandwidth.apply(2.0)
        assert daemon.engine.global_options()["max-overall-download-limit"] == "0"
        follow(mover, has_arrived)
    assert notes.said == ["rate limit 200 kB/s until 19:00", "no rate limit until 08:00"]


def test_another_schedule_holds_from_the_next_look_on(tmp_path: Path) -> None:
    pace = Pace()
    notes = Notes()
    with moving(tmp_path) as (mover, _):
        bandwidth = Bandwidth(UNLIMITED, mover, pace, notes)  # type: ignore[arg-type]
        bandwidth.apply(0.0)
        bandwidth.set(parse_rate_schedule("1M", named_by="test"))
        bandwidth.apply(0.1)
    assert notes.said == ["rate limit 1.00 MB/s"]


def test_an_engine_that_is_started_anew_holds_the_limit(tmp_path: Path) -> None:
    with moving(tmp_path) as (mover, daemon), server(2) as first:
        mover.limit_rate(200_000)
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        daemon.kill()
        daemon.stop()
        mover.forget_all()
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        assert daemon.engine.global_options()["max-overall-download-limit"] == "200000"


def test_in_a_daemon_of_the_users_only_our_transfers_are_limited(tmp_path: Path) -> None:
    with moving(tmp_path) as (_, daemon), server(2, bytes_per_second=100_000) as first:
        daemon.start()
        address = daemon.engine.address
        attached = AttachedDaemon(str(address), address.secret)
        partials = tmp_path / "partial"
        mover = Mover(partials, lambda: attached, 2, "guest")
        other = Transfer("cd" * 32, TRANSFER.size, "other", is_lfs=True)

        def limits() -> list[str]:
            gids = attached.engine.own_gids
            options = [attached.engine.transfer_options(gid) for gid in sorted(gids)]
            return [each["max-download-limit"] for each in options]

        mover.limit_rate(1_000_000)
        mover.move([MoveRequest(TRANSFER, first.url("file"))])
        assert limits() == ["1000000"]
        mover.move([MoveRequest(other, first.url("file"))])
        assert limits() == ["500000", "500000"]
        mover.cancel([other])
        mover.limit_rate(None)
        assert limits() == ["0"]
        assert daemon.engine.global_options()["max-overall-download-limit"] == "0"
        attached.close()


def test_where_little_is_left_for_each_none_may_take_it_all(tmp_path: Path) -> None:
    with moving(tmp_path) as (mover, daemon), server(2) as first:
        other = Transfer("cd" * 32, TRANSFER.size, "other", is_lfs=True)

        def limits() -> list[str]:
            options = map(daemon.engine.transfer_options, sorted(daemon.engine.own_gids))
            return [each["max-download-limit"] for each in options]

        mover.limit_rate(200_000)
        mover.move([MoveRequest(each, first.url("file")) for each in (TRANSFER, other)])
        assert daemon.engine.global_options()["max-overall-download-limit"] == "200000"
        assert limits() == ["150000", "150000"]
        mover.limit_rate(20_000_000)
        assert daemon.engine.global_options()["max-overall-download-limit"] == "20000000"
        assert limits() == ["0", "0"]


def test_a_pull_takes_no_more_than_it_may(hub: LoopbackHub, user: User) -> None:
    files = {f"small-{at}.bin": Generated(at, 500_000) for at in range(4)}
    spec = repo("org/limited", {**files, "model.safetensors": Generated(9, 6_000_000)})
    hub.put_repo(spec)
    run = user.pulled(spec.repo_id, "--limit-rate", "2M@00:00-12:00,2M@12:00-24:00")
    assert_holds(run.path, spec)
    assert "rate limit 2.00 MB/s" in run.stderr
    # 8 MB at 2 MB/s, less what is let through in the first second.
    assert run.seconds >= 3.0


def test_the_limit_has_a_variable_and_a_key(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(repo("org/small", {"config.json": b"{}"}))
    run = user.having(HFARIA_LIMIT_RATE="nonsense").pull("org/small")
    assert run.code == 2
    assert run.error == "HFARIA_LIMIT_RATE: `nonsense` is not a rate"
    config = user.home / "config.toml"
    config.write_text('limit_rate = "nonsense"\n', encoding="utf-8")
    run = user.having(HFARIA_CONFIG=str(config)).pull("org/small")
    assert run.code == 2
    assert "`limit_rate` in" in run.error
