from __future__ import annotations

import pytest

from hfaria.rules.progress import ActiveTransfer, Progress, RateMeter, join


def moment(held: int, size: int, rate: float = 0.0) -> Progress:
    return Progress(files_done=0, files=1, held=held, size=size, rate=rate)


@pytest.mark.parametrize(
    ("held", "size", "percent"), [(0, 0, 100), (0, 5, 0), (999, 1000, 99), (1000, 1000, 100)]
)
def test_a_hundred_percent_means_all_of_it(held: int, size: int, percent: int) -> None:
    assert moment(held, size).percent == percent


def test_the_time_left_follows_from_the_rate() -> None:
    assert moment(0, 100).seconds_left is None
    assert moment(20, 100, rate=40.0).seconds_left == 2.0
    assert moment(120, 100, rate=40.0).seconds_left == 0.0


def test_a_rate_is_the_average_of_the_last_seconds() -> None:
    meter = RateMeter(span_seconds=5.0)
    assert meter.add(0.0, 0) == 0.0
    assert meter.add(0.1, 1000) == 0.0  # too short to tell
    assert meter.add(1.0, 1000) == 1000.0
    assert [meter.add(float(second), 1000 * second) for second in range(2, 9)][-1] == 1000.0
    assert meter.add(100.0, 8000) == 0.0


def test_a_rate_is_never_negative() -> None:
    meter = RateMeter()
    meter.add(0.0, 500)
    assert meter.add(1.0, 100) == 0.0


# --- several repos -------------------------------------------------------------------------------


def test_the_moments_of_several_repos_add_up() -> None:
    first = Progress(1, 3, 10, 40, 5.0, (ActiveTransfer("w.bin", 40, 10, 5.0),))
    second = Progress(2, 2, 20, 20, 0.0)
    joined = join({"org/a": first, "org/b": second}, repos_done=1)
    assert (joined.files_done, joined.files, joined.held, joined.size) == (3, 5, 30, 60)
    assert (joined.repos_done, joined.repos, joined.rate) == (1, 2, 5.0)
    assert [each.label for each in joined.active] == ["org/a: w.bin"]


def test_a_wait_is_told_only_if_no_repo_gets_on() -> None:
    waits = Progress(0, 1, 0, 10, 0.0, waiting="waiting 7 s: 503 (h)", waiting_for="503 (h)")
    moves = Progress(0, 1, 0, 10, 3.0)
    idle = Progress(0, 1, 0, 10, 0.0)
    assert join({"a": waits, "b": moves}, repos_done=0).waiting is None
    told = join({"b": idle, "a": waits}, repos_done=0)
    assert (told.waiting, told.waiting_for) == ("a: waiting 7 s: 503 (h)", "a: 503 (h)")
