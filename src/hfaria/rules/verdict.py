"""What to say of a transfer that no route could bring."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hfaria.rules.failures import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hfaria.rules.failures import Failure


def final_failure(
    by_route: Mapping[int, Failure], last: Failure, host: Callable[[int], str]
) -> Failure:
    """Sum up the failures at each route: wrong bytes weigh more than anything else.

    With one route it is that one's failure; with several, each is named with its host.
    """
    if len(by_route) < 2:  # noqa: PLR2004 - nothing to sum up
        return last
    wrong = [at for at, each in by_route.items() if each.reason is Reason.MISMATCH]
    own = wrong or [at for at, each in by_route.items() if each is last]
    if not own:
        return last
    chosen = by_route[own[-1]]
    others = [
        f"{host(index)}: {failure}"
        for index, failure in sorted(by_route.items())
        if index != own[-1] and failure != chosen
    ]
    detail = chosen.detail
    if chosen.reason is not Reason.MISMATCH:  # which names its host already
        hosts = [host(index) for index, failure in sorted(by_route.items()) if failure == chosen]
        detail = f"{detail} at {' and '.join(hosts)}".strip()
    return replace(chosen, detail="; ".join([part for part in (detail, *others) if part]))
