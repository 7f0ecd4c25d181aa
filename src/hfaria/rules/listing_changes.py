"""What is different between two commits of a repo, as far as it was selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfaria.rules.listing import RemoteFile


@dataclass(frozen=True, slots=True)
class ListingChanges:
    """Files that came, went, or got other content; each sorted by path.

    ``altered`` holds each file as it was and as it is.
    """

    added: tuple[RemoteFile, ...] = ()
    removed: tuple[RemoteFile, ...] = ()
    altered: tuple[tuple[RemoteFile, RemoteFile], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether both are the same."""
        return not (self.added or self.removed or self.altered)


def compare_files(before: Iterable[RemoteFile], after: Iterable[RemoteFile]) -> ListingChanges:
    """Return what has to be done to ``before`` to make it ``after``."""
    old = {file.path: file for file in before}
    new = {file.path: file for file in after}
    both = sorted(old.keys() & new.keys())
    return ListingChanges(
        added=tuple(new[path] for path in sorted(new.keys() - old.keys())),
        removed=tuple(old[path] for path in sorted(old.keys() - new.keys())),
        altered=tuple(
            (old[path], new[path]) for path in both if old[path].blob_name != new[path].blob_name
        ),
    )
