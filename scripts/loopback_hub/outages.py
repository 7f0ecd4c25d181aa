"""Whole sites that are down: they refuse, they die, or they swallow everything in silence."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from loopback_hub.effects import Effect


class Reach(enum.Enum):
    """How a site can be reached at the moment."""

    OPEN = enum.auto()
    REFUSED = enum.auto()
    """Connections are refused, and those that were open got reset."""
    SILENT = enum.auto()
    """Connections are accepted, and no byte comes on any."""
    UNANSWERED = enum.auto()
    """Not even an attempt to connect is answered; what was open is silent."""


@dataclass(frozen=True, slots=True)
class Outage(Effect):
    """Base of the effects that concern a site, not one answer."""

    def reach(self, sent: int) -> Reach:
        """Tell how the site is reached after it sent so many bytes of files under this effect."""
        del sent
        return Reach.OPEN


@dataclass(frozen=True, slots=True)
class Refuse(Outage):
    """Refuse connections and reset those that are open, once ``after`` bytes of files were sent."""

    after: int = 0

    def reach(self, sent: int) -> Reach:
        """Be up until then, down afterwards."""
        return Reach.REFUSED if sent >= self.after else Reach.OPEN


@dataclass(frozen=True, slots=True)
class Blackhole(Outage):
    """Send nothing more and close nothing; with ``drops_connects`` accept no connection either.

    As a line that is gone, or a firewall that drops: nobody is told. When it is over, what was
    under way goes on.
    """

    drops_connects: bool = False

    def reach(self, sent: int) -> Reach:
        """Be silent from the start."""
        del sent
        return Reach.UNANSWERED if self.drops_connects else Reach.SILENT
