from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import UsageError
from hfaria.rules.sizes import (
    count,
    format_seconds,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("512", 512), ("10GB", 10**10), ("10gb", 10**10), ("10G", 10**10),
        ("1.5 G", 1_500_000_000), (" 2 MiB ", 2 * 2**20), ("3k", 3000), ("3Ki", 3072),
        ("1T", 10**12), ("1TiB", 2**40), ("7B", 7), ("0.0015k", 1),
        ("9007199254740993", 2**53 + 1),
    ],
)  # fmt: skip
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text, named_by="--reserve") == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "1e3", "10 XB", "1,5G", "nan", "ten", "1 2", "1PB"]
)
def test_what_is_no_size_is_refused_by_the_name_of_its_source(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--reserve: `.*` is not a size$") as caught:
        parse_size(text, named_by="--reserve")
    assert caught.value.hint is not None


def test_no_number_is_too_large_to_read() -> None:
    assert parse_size("9" * 400, named_by="x") == 10**400 - 1


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (1500, "1.50 kB"), (9_994, "9.99 kB"),
        (9_995, "10.0 kB"), (99_960, "100 kB"), (999_499, "999 kB"),
        (999_500, "1.00 MB"), (90_868_376, "90.9 MB"), (10**9, "1.00 GB"), (5 * 10**12, "5.00 TB"),
        (5 * 10**15, "5000 TB"), (12.4, "12 B"),
    ],
)  # fmt: skip
def test_sizes_are_written_with_three_digits(size: float, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**15 - 10**13))
def test_a_written_size_is_near_and_short(size: int) -> None:
    text = format_size(size)
    assert abs(parse_size(text, named_by="test") - size) <= max(size * 0.006, 0.5)
    assert len(text) <= len("999 kB") + 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (3.6, "4 s"), (59.4, "59 s"), (59.6, "1 min"), (60, "1 min"),
        (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"), (86399, "23 h 59 min"),
        (86400, "1 d"), (97200, "1 d 3 h"),
    ],
)  # fmt: skip
def test_durations_are_written_in_two_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "file", "0 files"),
        (1, "file", "1 file"),
        (2, "file", "2 files"),
        (3, "retry", "3 retries"),
    ],
)
def test_things_are_counted(number: int, noun: str, text: str) -> None:
    assert count(number, noun) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), (" 30 M ", 1800), ("2h", 7200), ("1.5h", 5400), ("1d", 86400),
        ("forever", math.inf), ("Forever ", math.inf),
    ],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text, named_by="--patience") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1e3", "1 week", "inf", "nan", "5 ms"])
def test_what_is_no_duration_is_refused_by_the_name_of_its_source(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--patience: `.*` is not a duration$") as caught:
        parse_duration(text, named_by="--patience")
    assert "forever" in (caught.value.hint or "")


def test_a_duration_without_an_end_is_written_so() -> None:
    assert format_seconds(math.inf) == "for ever"
