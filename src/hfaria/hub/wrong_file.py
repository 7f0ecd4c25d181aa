"""A file whose digest is wrong, compared with one source after another until it is right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.hub.mend import mend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfaria.hub.client import HubClient
    from hfaria.hub.mend import Mending, Source
    from hfaria.rules.control_file import Range


@dataclass(slots=True)
class WrongFile:
    """Remembers how far the comparison with a source got, so that it goes on there.

    ``order`` is where to look first, ``is_right`` looks at the digest. ``replaced`` is what
    differed so far, from any source.
    """

    path: Path
    size: int
    order: tuple[Range, ...]
    is_right: Callable[[], bool]
    replaced: list[Range] = field(default_factory=list)
    bytes_compared: int = 0
    _endpoint: str = ""
    _left: tuple[Range, ...] = ()

    def agreed(self, source: Source) -> int:
        """Return how many bytes are known to be as the source sends them."""
        if source.endpoint.url != self._endpoint:
            return 0  # the last one may have written over what was compared with this one
        return self.size - sum(end - start for start, end in self._left)

    def compare(
        self,
        client: HubClient,
        source: Source,
        *,
        on_bytes: Callable[[int], None],
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Mending:
        """Go on comparing; ``on_bytes`` gets how many bytes agree by now, from any thread.

        An `OSError` of the disk is raised.
        """
        before, compared_before = self.agreed(source), self.bytes_compared
        order = self._left if before else self.order
        self._endpoint, self._left = source.endpoint.url, order

        def count(compared: int) -> None:
            self.bytes_compared = compared_before + compared
            on_bytes(before + compared)

        mending = mend(
            client,
            source,
            self.path,
            size=self.size,
            order=order,
            is_right=self.is_right,
            on_bytes=count,
            is_cancelled=is_cancelled,
        )
        self.replaced += mending.replaced
        self._left = mending.left
        return mending
