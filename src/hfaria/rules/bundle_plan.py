"""The plan of a bundle: sticks, revisions, and which bytes go into which file of which stick.

A *content* is named by its sha256, or, as long as that is not known, by any other name that stands
for the same bytes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.rules.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LEAST_RESERVE = 64 * 2**20
UNKNOWN_CLUSTER = 32 * 2**10
_BLOCK = 512  # of a tar file


class InPlace(enum.Enum):
    """Which revisions can be used from the stick itself."""

    AUTO = "auto"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Stick:
    """A stick as far as planning goes; ``label`` is a folder, or a size for one not at hand yet.

    ``free_bytes`` is all that the filesystem has; the reserve is taken off here.
    """

    label: str
    free_bytes: int
    largest_file: int | None
    cluster: int = UNKNOWN_CLUSTER
    kind: str = ""
    has_hard_links: bool = False
    device: int | None = None
    """Tells filesystems apart: two places may lie on one."""

    @property
    def reserve(self) -> int:
        """Bytes that stay free: filesystems get slow and odd when they are full."""
        return max(LEAST_RESERVE, self.free_bytes // 100)


@dataclass(frozen=True, slots=True)
class Format:
    """What the bundle's format says about places; the importer owns it.

    Cuts lie on multiples of ``piece`` bytes.
    """

    piece: int
    in_place_path: Callable[[str, str, str], str]
    pool_path: Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A path of a revision and its content."""

    path: str
    content: str
    size: int


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision to carry. ``obstacle`` says why no stick could hold it in place."""

    folder: str
    commit: str
    label: str
    entries: tuple[Entry, ...]
    is_default: bool = True
    """Whether ``main`` names it, or nothing does better."""
    obstacle: str | None = None

    @property
    def key(self) -> str:
        """Name of the revision among all."""
        return f"{self.folder}/{self.commit}"

    @property
    def size(self) -> int:
        """Bytes, each content once."""
        return sum({entry.content: entry.size for entry in self.entries}.values())


@dataclass(frozen=True, slots=True)
class StickFile:
    """One file below the bag: ``length`` bytes of a content from ``offset`` on.

    ``same_as`` names a file of the same stick with the same bytes, of which this is a hard link.
    """

    path: str
    content: str
    offset: int
    length: int
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class Pack:
    """A tar file of small contents, addressed by offset; its name is known when it is written."""

    members: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Bytes of the tar file."""
        return sum(room_in_pack(size) for _, size in self.members) + 2 * _BLOCK


@dataclass(frozen=True, slots=True)
class StickPlan:
    """What one stick gets. ``in_place`` holds keys of revisions."""

    number: int
    label: str
    kind: str
    files: tuple[StickFile, ...]
    packs: tuple[Pack, ...]
    in_place: tuple[str, ...]
    needed: int
    """Bytes on the filesystem, clusters and our own files counted."""

    @property
    def payload(self) -> int:
        """Bytes of content."""
        own = sum(file.length for file in self.files if file.same_as is None)
        return own + sum(size for pack in self.packs for _, size in pack.members)

    @property
    def count(self) -> int:
        """Files that are written."""
        return len(self.files) + len(self.packs)


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """Every stick, and what the user should know before the first byte.

    ``reasons`` say for each revision that is not usable in place why not; ``cuts`` which contents
    are stored in parts. ``missing`` is what fits nowhere, in bytes; it must be 0.
    """

    sticks: tuple[StickPlan, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)
    cuts: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0


def room_in_pack(size: int) -> int:
    """Return what a content takes in a pack: a header, and its bytes in whole blocks."""
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def shared_room_problems(plans: Iterable[StickPlan], sticks: Iterable[Stick]) -> tuple[str, ...]:
    """Return what is wrong with places that lie on one filesystem, whose room counts once."""
    by_label = {stick.label: stick for stick in sticks if stick.device is not None}
    groups: dict[int | None, list[StickPlan]] = {}
    for plan in plans:
        if plan.label in by_label:
            groups.setdefault(by_label[plan.label].device, []).append(plan)
    problems = []
    for group in groups.values():
        stick = by_label[group[0].label]
        needed = sum(plan.needed for plan in group)
        if len(group) > 1 and needed + stick.reserve > stick.free_bytes:
            places = " and ".join(f"`{plan.label}`" for plan in group)
            problems.append(
                f"E-SPACE {places} share one filesystem: it needs {format_size(needed)} and a "
                f"reserve of {format_size(stick.reserve)}, has {format_size(stick.free_bytes)}"
            )
    return tuple(problems)
