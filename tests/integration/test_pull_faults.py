"""Networks that fail and servers that lie: it completes or says why, and nothing wrong shows."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from loopback_hub import (
    AlterListing,
    Close,
    ETag,
    Fault,
    Generated,
    Gzip,
    Hangup,
    IgnoreRange,
    Length,
    OtherVersion,
    Portal,
    Refuse,
    Replace,
    Reset,
    Shape,
    Stall,
    Status,
    WrongBytes,
    repo,
)
from support.cli import refused, wait_until
from support.repos import ENGINE_SIZE, one_file
from support.trees import assert_clean, assert_holds, assert_nothing_left, visible_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil

    from loopback_hub import LoopbackHub, RepoSpec
    from loopback_hub.effects import Effect
    from support.cli import Run, User

pytestmark = pytest.mark.aria2

SIZES = {"engine": ENGINE_SIZE, "our client": 1_200_000}
FOLDER = "models--org--one"


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def spec(request: pytest.FixtureRequest, hub: LoopbackHub) -> RepoSpec:
    """A repo of one file, large enough for the engine or not."""
    made = one_file(size=request.param)
    hub.put_repo(made)
    return made


@contextmanager
def watched(user: User, spec: RepoSpec) -> Iterator[None]:
    """Look at all that readers can open, all the time, and find only right bytes."""
    right = {file.content.sha256 for file in spec.head.files}
    wrong: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in visible_files(user.cache):
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    continue
                if hashlib.sha256(content).hexdigest() not in right:
                    wrong.append(str(path))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert wrong == []


def pull_watched(user: User, spec: RepoSpec, *arguments: str) -> Run:
    with watched(user, spec):
        return user.pull(spec.repo_id, *arguments)


# --- what passes -----------------------------------------------------------------------------

PASSING: dict[str, Effect] = {
    "reset": Reset(after=200_000),
    "close": Close(after=200_000),
    "hangup": Hangup(),
    "500": Status(500),
    "503": Status(503),
    "408": Status(408),
    "corrupted": WrongBytes(),
    "another version": OtherVersion(),
    "truncated": Length(delta=-70_000),
    "longer than true": Length(delta=70_000),
    "no length": Length(mode="absent"),
    "chunked": Length(mode="chunked"),
    "a web page": Portal(),
    "JSON in place": Replace(),
    "gzip unasked": Gzip(),
    "no ETag": ETag("missing"),
}


@pytest.mark.parametrize("effect", PASSING.values(), ids=PASSING)
def test_a_fault_of_the_cdn_that_passes_is_survived(
    hub: LoopbackHub, user: User, spec: RepoSpec, effect: Effect
) -> None:
    hub.faults.add(Fault(effect, site="cdn", first=2))
    run = pull_watched(user, spec)
    assert run.code == 0, run.stderr
    assert any(record.faults for record in hub.records)
    assert_holds(run.path, spec)
    assert_clean(user.cache)
    assert_nothing_left(user.cache)


def test_a_range_that_is_ignored_once_is_survived(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    hub.faults.add(
        Fault(Reset(after=300_000), site="cdn", first=1),
        Fault(IgnoreRange(), site="cdn", first=1),
    )
    run = pull_watched(user, spec)
    assert run.code == 0, run.stderr
    assert_holds(run.path, spec)


def test_a_cdn_that_knows_no_ranges_is_survived(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    hub.faults.add(
        Fault(Reset(after=300_000), site="cdn", first=1), Fault(IgnoreRange(), site="cdn")
    )
    run = pull_watched(user, spec)
    assert run.code == 0, run.stderr
    assert_holds(run.path, spec)


def test_random_resets_all_along_are_survived(hub: LoopbackHub, user: User, spec: RepoSpec) -> None:
    hub.faults.add(Fault(Reset(per_megabyte=0.5), site="cdn", seed=3))
    run = pull_watched(user, spec)
    assert run.code == 0, run.stderr
    assert_holds(run.path, spec)


def test_a_little_more_each_time_is_progress(hub: LoopbackHub, user: User) -> None:
    spec = one_file(size=2_000_000)
    hub.put_repo(spec)
    hub.faults.add(Fault(Close(after=150_000), kind="bytes"))
    run = user.having(HFARIA_PATIENCE="15s").pulled(spec.repo_id)
    assert_holds(run.path, spec)
    assert hub.file_bytes_sent() <= 2 * spec.head.total_size


def test_a_cdn_that_is_down_for_a_while_is_waited_for(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    hub.shape("cdn", Shape(rate_total=6e6))
    running = user.start("pull", spec.repo_id)
    wait_until(lambda: hub.file_bytes_sent() > 200_000, running)
    outage = Fault(Refuse(), site="cdn")
    hub.faults.add(outage)
    lasts_until = time.monotonic() + 1.0
    wait_until(lambda: time.monotonic() > lasts_until, running)
    hub.faults.remove(outage)
    run = running.wait()
    assert run.code == 0, run.stderr
    assert_holds(run.path, spec)
    assert hub.file_bytes_sent() <= 1.5 * spec.head.total_size


@pytest.mark.parametrize("kind", ["info", "tree", "resolve"])
def test_a_hub_that_asks_to_come_back_later_is_obeyed(
    hub: LoopbackHub, user: User, spec: RepoSpec, kind: str
) -> None:
    hub.faults.add(Fault(Status(429, retry_after=2), kind=kind, first=1))  # type: ignore[arg-type]
    run = user.pull(spec.repo_id)
    assert run.code == 0, run.stderr
    assert_holds(run.path, spec)
    refusal = next(record for record in hub.records if record.status == 429)
    following = [
        record.time
        for record in hub.records
        if record.time > refusal.time and record.path == refusal.path
    ]
    assert min(following) - refusal.time >= 2.0


def test_a_cdn_that_asks_to_come_back_later_is_obeyed(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    hub.faults.add(Fault(Status(429, retry_after=1), site="cdn", first=1))
    run = user.pull(spec.repo_id)
    assert run.code == 0, run.stderr
    assert_holds(run.path, spec)


@pytest.mark.parametrize("effect", [Status(500), Status(504), Hangup(), Stall(1.0)])
@pytest.mark.parametrize("kind", ["info", "tree"])
def test_a_listing_that_fails_for_a_moment_is_asked_for_again(
    hub: LoopbackHub, user: User, effect: Effect, kind: str
) -> None:
    small = repo("org/one", {"config.json": b"{}"})
    hub.put_repo(small)
    hub.faults.add(Fault(effect, kind=kind, first=1))  # type: ignore[arg-type]
    assert_holds(user.pulled("org/one").path, small)


# --- what stays ------------------------------------------------------------------------------

STAYING: dict[str, Effect] = {
    "corrupted": WrongBytes(at=100_000),
    "another version": OtherVersion(),
}


@pytest.mark.parametrize("effect", STAYING.values(), ids=STAYING)
def test_bytes_that_stay_wrong_are_set_aside_and_told(
    hub: LoopbackHub, user: User, spec: RepoSpec, effect: Effect
) -> None:
    hub.faults.add(Fault(effect, site="cdn"))
    run = pull_watched(user, spec)
    assert "model.safetensors" in refused(run, 4)
    assert "wrong bytes" in run.stderr
    assert list(visible_files(user.cache)) == []
    assert list((user.cache / FOLDER / ".hfaria/quarantine").iterdir()) != []
    assert not (user.cache / FOLDER / "refs").exists()
    assert_clean(user.cache)
    hub.faults.clear()
    assert_holds(user.pulled(spec.repo_id).path, spec)
    assert_nothing_left(user.cache)


def test_a_length_that_stays_wrong_is_refused_or_seen_through(
    hub: LoopbackHub, user: User, spec: RepoSpec
) -> None:
    # The size of the file is known from the listing: ranges of it can be had all the same.
    hub.faults.add(Fault(Length(delta=-70_000), site="cdn"))
    run = pull_watched(user, spec, "--patience", "1")
    if run.code == 0:
        assert_holds(run.path, spec)
    else:
        refused(run, run.code)
        assert run.code in {3, 4}
        assert list(visible_files(user.cache)) == []
    assert_clean(user.cache)
    hub.faults.clear()
    assert_holds(user.pulled(spec.repo_id).path, spec)


@pytest.mark.parametrize("effect", [Portal(), Gzip()], ids=["portal", "gzip"])
def test_answers_that_stay_useless_never_show(
    hub: LoopbackHub, user: User, spec: RepoSpec, effect: Effect
) -> None:
    hub.faults.add(Fault(effect, site="cdn"))
    run = pull_watched(user, spec, "--patience", "1")
    assert run.code in {3, 4}
    refused(run, run.code)
    assert list(visible_files(user.cache)) == []
    assert_clean(user.cache)
    hub.faults.clear()
    assert_holds(user.pulled(spec.repo_id).path, spec)


def test_a_file_that_is_gone_leaves_the_rest_in_place(hub: LoopbackHub, user: User) -> None:
    spec = repo("org/one", {"a.bin": Generated(1, 5000), "b.bin": Generated(2, 5000)})
    hub.put_repo(spec)
    hub.faults.add(Fault(Status(404), kind="resolve", path="a.bin"))
    run = user.pull("org/one", "--json")
    assert run.code == 3
    assert "`a.bin`" in run.error
    assert run.document["is_complete"] is False
    assert [failed["path"] for failed in run.document["failed"]] == ["a.bin"]
    assert [path.name for path in visible_files(user.cache) if path.is_symlink()] == ["b.bin"]
    assert not (user.cache / FOLDER / "refs").exists()
    hub.faults.clear()
    assert_holds(user.pulled("org/one").path, spec)


@pytest.mark.parametrize("field", ["sha256", "pointer", "size"])
def test_a_listing_that_contradicts_itself_is_refused_before_any_byte(
    hub: LoopbackHub, user: User, spec: RepoSpec, field: str
) -> None:
    hub.faults.add(Fault(AlterListing(field_name=field), kind="tree"))  # type: ignore[arg-type]
    run = user.pull(spec.repo_id)
    assert "model.safetensors" in refused(run, 4 if field != "size" else run.code)
    assert run.code in {4, 5}
    assert hub.file_bytes_sent() == 0
    assert not user.cache.exists()


# --- the engine ------------------------------------------------------------------------------


def test_an_engine_that_is_killed_is_replaced(hub: LoopbackHub, user: User) -> None:
    spec = one_file(size=8_000_000)
    hub.put_repo(spec)
    hub.shape("cdn", Shape(rate_total=6e6))
    running = user.start("pull", spec.repo_id)
    wait_until(lambda: hub.file_bytes_sent() > 3_000_000, running)
    (engine,) = running.engines()
    engine.kill()
    run = running.wait()
    assert run.code == 0, run.stderr
    assert "engine died" in run.stderr
    assert_holds(run.path, spec)
    assert hub.file_bytes_sent() <= 1.25 * spec.head.total_size


def test_an_engine_that_always_dies_ends_the_pull(hub: LoopbackHub, user: User) -> None:
    spec = one_file(size=8_000_000)
    hub.put_repo(spec)
    hub.faults.add(Fault(Stall(30.0, after=0), site="cdn"))
    running = user.start("pull", spec.repo_id)
    killed: set[psutil.Process] = set()
    while not running.has_ended:
        for engine in running.engines():
            if engine not in killed and hub.requests(site="cdn"):
                engine.kill()
                killed.add(engine)
        time.sleep(0.02)
    run = running.wait()
    refused(run, 6)
    assert len(killed) >= 2
    hub.faults.clear()
    assert_holds(user.pulled(spec.repo_id).path, spec)
