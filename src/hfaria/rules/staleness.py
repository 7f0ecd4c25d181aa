"""What several endpoints' words about one repo are worth: who is behind, who contradicts whom."""

from __future__ import annotations

import enum


class Stale(enum.Enum):
    """What the user wants done about a first endpoint that is behind; the default is none of them.

    ``ACCEPT``: its commit, and nobody else is asked. ``ORIGIN``: the origin's commit, or none.
    ``FAIL``: end.
    """

    ACCEPT = "accept"
    ORIGIN = "origin"
    FAIL = "fail"
