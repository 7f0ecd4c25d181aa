"""Sizes and times, as people write and read them. Decimal units, as the Hub shows them."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from hfaria.errors import UsageError

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", re.IGNORECASE)
FOREVER = "forever"
_STEP = 1000
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNITS = {"": 1, "s": 1, "m": _MINUTE, "h": _HOUR, "d": _DAY}


def parse_size(text: str, *, named_by: str) -> int:
    """Read ``10GB``, ``1.5G`` or ``512MiB`` as bytes; raises `UsageError`."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{named_by}: `{text}` is not a size", hint="write it like 10GB, 512MiB or 0"
        )
    number, unit, binary = match.groups()
    return int(Fraction(number) * (1024 if binary else _STEP) ** _POWERS[unit.lower()])


def parse_duration(text: str, *, named_by: str) -> float:
    """Read ``90``, ``90s``, ``30m``, ``2h`` or ``forever`` as seconds; raises `UsageError`."""
    if text.strip().lower() == FOREVER:
        return math.inf
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{named_by}: `{text}` is not a duration",
            hint=f"write it like 90, 90s, 30m, 2h or {FOREVER}",
        )
    number, unit = match.groups()
    return float(number) * _UNITS[unit.lower()]


def format_size(size: float) -> str:
    """Write bytes with three digits: ``0 B``, ``999 B``, ``1.50 kB``, ``90.9 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":  # noqa: PLR2004 - rounds to four digits from here
            if unit == "B":
                return f"{value:.0f} B"
            digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0  # noqa: PLR2004
            return f"{value:.{digits}f} {unit}"
        value /= _STEP
    raise AssertionError(size)  # pragma: no cover - the loop ends with TB


def format_seconds(seconds: float) -> str:
    """Write a duration: ``4 s``, ``3 min 20 s``, ``2 h 5 min``, ``1 d 3 h``, ``for ever``."""
    if seconds == math.inf:
        return "for ever"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _two(first: int, unit: str, second: int, smaller_unit: str) -> str:
    return f"{first} {unit} {second} {smaller_unit}" if second else f"{first} {unit}"


def count(number: int, noun: str) -> str:
    """Write a number of things: ``1 file``, ``2 files``; for regular nouns ending in -y too."""
    if number == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {plural}"


def format_range(start: int, end: int) -> str:
    """Name the bytes from ``start`` up to, and not with, ``end``."""
    return f"byte {start}" if end == start + 1 else f"bytes {start}-{end - 1}"


def format_age(seconds: float) -> str:
    """Say how long ago something was, in one unit: ``just now``, ``5 min ago``, ``3 days ago``."""
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h ago"
    return f"{count(int(seconds // _DAY), 'day')} ago"
