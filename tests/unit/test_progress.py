from __future__ import annotations

import pytest

from hfaria.rules.progress import Progress, RateMeter


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
