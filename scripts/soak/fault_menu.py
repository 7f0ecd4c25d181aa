"""What can befall a site in a history: faults that pass, that do no harm, and that last.

A passing fault is over by `LAST_END`, or strikes each blob once. A harmless one may last, and a
good client gets on all the same. Of a site with a lasting one nothing is expected.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from loopback_hub import (
    Behind,
    Blackhole,
    Close,
    ETag,
    Fault,
    Gzip,
    Hangup,
    IgnoreRange,
    Length,
    OtherVersion,
    Portal,
    RateLimit,
    Refuse,
    Reset,
    Stall,
    Status,
    WrongBytes,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Dish: TypeAlias = "Fault | Callable[[random.Random], Fault]"
"""A fault, or how one is drawn; its site is set when it is served."""

LAST_END = 3.0
"""Seconds after the start by which every passing fault has ended."""

LIES = (WrongBytes, OtherVersion, Gzip, Length, Portal, IgnoreRange)
"""Effects that may cost a whole blob each time."""

FOR_A_WHILE: tuple[Dish, ...] = (
    Fault(Refuse()),
    Fault(Blackhole()),
    Fault(Blackhole(drops_connects=True)),
    Fault(Reset(per_megabyte=1.0), kind="bytes"),
    lambda dice: Fault(Hangup(), probability=dice.uniform(0.2, 1.0)),
    lambda dice: Fault(
        Status(dice.choice([500, 502, 503, 504])), probability=dice.uniform(0.2, 1.0)
    ),
    lambda dice: Fault(Status(429, retry_after=1), kind=dice.choice(["api", "resolve"])),
    Fault(Portal(), kind="resolve"),
    Fault(Portal(), kind="bytes"),
    Fault(IgnoreRange(), kind="bytes"),
)

SO_OFTEN: tuple[Dish, ...] = (
    lambda dice: Fault(
        Stall(dice.uniform(0.5, 2.5), after=dice.choice([None, 0, 300_000])),
        kind=dice.choice(["bytes", "api", "resolve"]),
        first=dice.randint(1, 3),
    ),
    lambda dice: Fault(
        Reset(after=dice.randint(0, 2_000_000)), kind="bytes", first=dice.randint(1, 6)
    ),
    lambda dice: Fault(
        Close(after=dice.randint(0, 2_000_000)), kind="bytes", first=dice.randint(1, 6)
    ),
    Fault(Portal(), kind="bytes", per="blob", first=1),
    Fault(Length(-5000), kind="bytes", per="blob", first=1),
    Fault(Length(5000), kind="bytes", per="blob", first=1),
    Fault(Gzip(), kind="bytes", per="blob", first=1),
    Fault(OtherVersion(), kind="bytes", per="blob", first=1),
    Fault(WrongBytes(within=500_000, count=2), kind="bytes", per="blob", first=1),
)

HARMLESS: tuple[Dish, ...] = (
    Fault(ETag("missing")),
    Fault(ETag("weak")),
    Fault(ETag("value", linked=False), kind="bytes"),
    Fault(Length(mode="chunked"), kind="api"),
    Fault(Reset(per_megabyte=0.1), kind="bytes"),
    lambda dice: Fault(Close(after=1_500_000), kind="bytes", every=dice.randint(2, 5)),
    lambda dice: Fault(Status(503), every=dice.randint(3, 6)),
    lambda dice: Fault(RateLimit(dice.randint(5, 30), 1.0), kind=dice.choice(["api", "resolve"])),
)

LASTING: tuple[Dish, ...] = (
    lambda dice: Fault(Refuse(), begins=dice.uniform(0.0, LAST_END)),
    lambda dice: Fault(Refuse(after=dice.randint(0, 6_000_000))),
    lambda dice: Fault(Blackhole(), begins=dice.uniform(0.0, LAST_END)),
    lambda dice: Fault(Blackhole(drops_connects=True), begins=dice.uniform(0.0, LAST_END)),
    Fault(Hangup()),
    Fault(Stall(3600.0)),
    Fault(Stall(3600.0, after=100_000)),
    lambda dice: Fault(Close(after=dice.choice([0, 50_000])), kind="bytes"),
    lambda dice: Fault(Status(dice.choice([500, 503]))),
    lambda dice: Fault(Status(dice.choice([403, 404])), kind="resolve"),
    lambda dice: Fault(Status(dice.choice([403, 404, 410])), kind="bytes"),
    Fault(Status(429, retry_after=300), kind="resolve"),
    lambda dice: Fault(RateLimit(3, 300.0), kind=dice.choice(["api", "resolve"])),
    lambda dice: Fault(Portal(), kind=dice.choice(["*", "bytes"])),
    lambda dice: Fault(Portal(), begins=dice.uniform(0.0, LAST_END)),
    Fault(WrongBytes(within=500_000, count=2), kind="bytes"),
    lambda dice: Fault(OtherVersion(), kind="bytes", every=dice.randint(1, 3)),
    Fault(Gzip(), kind="bytes"),
    lambda dice: Fault(Length(dice.choice([-5000, 5000])), kind="bytes"),
    lambda dice: Fault(Length(mode=dice.choice(["absent", "chunked"])), kind="bytes"),
    Fault(IgnoreRange(), kind="bytes"),
    Fault(ETag("value")),
)

OF_MIRRORS: tuple[Dish, ...] = (
    Fault(Behind(1)),
    Fault(Status(404), kind="resolve", path="large-0*"),
    Fault(Status(404), kind="resolve", path="notes/*"),
)
"""What a mirror may lack; it is an honest source for the rest."""


def serve(menu: tuple[Dish, ...], dice: random.Random, site: str) -> Fault:
    """Draw a fault for a site."""
    dish = dice.choice(menu)
    fault = dish if isinstance(dish, Fault) else dish(dice)
    at_cdn = site == "cdn" and fault.kind in {"api", "resolve"}
    return replace(fault, site=site, kind="bytes" if at_cdn else fault.kind)


def for_a_while(fault: Fault, dice: random.Random) -> Fault:
    """Let a fault begin and end."""
    begins = dice.choice([0.0, dice.uniform(0.0, LAST_END - 0.5)])
    ends = min(LAST_END, begins + dice.uniform(0.3, LAST_END))
    return replace(fault, begins=begins, ends=ends)
