"""What the operator asked for."""

from __future__ import annotations

import re
from typing import NamedTuple

from hfaria.bundle.importer.errors import USAGE, BundleError, shown


class Options(NamedTuple):
    """What the operator asked for."""

    cache: str
    repos: tuple[str, ...] = ()
    mode: str = "auto"
    update_refs: bool = False
    trust: tuple[str, ...] = ()
    require_signature: bool = False
    safe_only: bool = False
    not_before: str | None = None
    rehash: bool = False
    reserve: int | None = None
    is_dry_run: bool = False
    needs: str | None = None
    allow_symlinks: bool = True


def parse_size(text: str) -> int:
    """Read `10GB`, `512MiB` or a number of bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])(i?))?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise BundleError(
            "E-USAGE", USAGE, f"{shown(text)} is not a size", "such as 10GB or 512MiB"
        )
    number, letter, binary = match.groups()
    power = "kmgt".index(letter.lower()) + 1 if letter else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


def check_day(text: str | None) -> str | None:
    """Return a day, YYYY-MM-DD, or refuse it."""
    if text is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise BundleError("E-USAGE", USAGE, f"{shown(text)} is not a day", "write YYYY-MM-DD")
    return text
