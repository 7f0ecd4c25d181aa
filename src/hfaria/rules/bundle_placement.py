"""Decide where contents go: in place or into the pool, whole or cut, and on which stick.

Pure: sizes and facts about sticks come in, a plan comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hfaria.rules.bundle_plan import (
    BundlePlan,
    Format,
    InPlace,
    Pack,
    Revision,
    Stick,
    StickFile,
    StickPlan,
    room_in_pack,
)
from hfaria.rules.sizes import count, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SMALL = 256 * 2**10
"""Bytes; contents below it share packs where there are many of them."""
MANY = 500
FREELY_COPIED = 2**20
"""Bytes; a content below it is stored as often as that makes a revision usable in place."""
LARGEST_PACK = 64 * 2**20


def make_bundle_plan(
    revisions: Sequence[Revision],
    sticks: Sequence[Stick],
    form: Format,
    *,
    absent: frozenset[str] = frozenset(),
    in_place: InPlace = InPlace.AUTO,
    part_size: int | None = None,
    overhead: int = 0,
) -> BundlePlan:
    """Decide what goes where.

    ``absent`` are contents that are not carried. ``part_size`` cuts contents although the
    filesystem would take them whole. ``overhead`` is what our own files take on each stick.
    """

    def attempt(chosen: Sequence[Revision], mode: InPlace) -> BundlePlan:
        room = [_Room(stick, form, overhead, part_size) for stick in sticks]
        return _place(chosen, room, absent, mode)

    plan = attempt(revisions, in_place)
    if plan.missing and in_place is InPlace.AUTO:
        # Each small file in place takes a cluster of its own; packs take less.
        for is_heavy in (_has_many_small, lambda _revision: True):
            chosen = [_kept_out(r) if is_heavy(r) else r for r in revisions]
            lighter = attempt(chosen, in_place)
            if not lighter.missing:
                return lighter
    return plan


def _place(
    revisions: Sequence[Revision], room: Sequence[_Room], absent: frozenset[str], mode: InPlace
) -> BundlePlan:
    reasons: dict[str, str] = {}
    for revision in sorted(revisions, key=lambda r: (not r.is_default, -r.size, r.key)):
        reason = _set_in_place(revision, room, absent, mode)
        if reason is not None:
            reasons[revision.key] = reason
    placed = {content for stick in room for content in stick.wholes}
    rest = {
        entry.content: entry.size
        for revision in revisions
        for entry in revision.entries
        if entry.content not in placed and entry.content not in absent
    }
    missing = _set_in_pool(rest, room)
    used = [stick for stick in room if not stick.is_empty]
    if not used and not missing:
        # Names and commits are worth a stick even where the target has every content.
        used = [stick for stick in room if stick.left >= 0][:1]
        missing = 0 if used else 1
    plans = tuple(stick.plan(number) for number, stick in enumerate(used, 1))
    return BundlePlan(plans, reasons, _cuts(plans), missing)


def _has_many_small(revision: Revision) -> bool:
    return sum(1 for entry in revision.entries if entry.size < SMALL) > MANY


def _kept_out(revision: Revision) -> Revision:
    return replace(revision, obstacle=revision.obstacle or "there is too little room for that")


def make_repair_plan(
    pieces: Mapping[str, Sequence[int]],
    sizes: Mapping[str, int],
    stick: Stick,
    form: Format,
    *,
    number: int,
    overhead: int = 0,
) -> BundlePlan:
    """Plan a stick that holds single pieces of contents, and nothing else."""
    room = _Room(stick, form, overhead, None)
    for content, numbers in sorted(pieces.items()):
        for first, end in _runs(sorted(set(numbers))):
            offset = first * form.piece
            length = min(end * form.piece, sizes[content]) - offset
            room.add(room.parts(content, offset, length))
    plan = room.plan(number)
    return BundlePlan((plan,), missing=max(0, -room.left))


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield neighbouring numbers as (first, one behind the last)."""
    first = None
    for index, number in enumerate(numbers):
        first = number if first is None else first
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            yield first, number + 1
            first = None


@dataclass(slots=True)
class _Room:
    """A stick that is being filled."""

    stick: Stick
    form: Format
    overhead: int
    part_size: int | None
    files: list[StickFile] = field(default_factory=list)
    packs: list[Pack] = field(default_factory=list)
    in_place: list[str] = field(default_factory=list)
    wholes: dict[str, str] = field(default_factory=dict)
    """Contents that lie in place here, with a path of each."""
    taken: int = 0
    _folders: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        return not (self.files or self.packs or self.in_place)

    @property
    def left(self) -> int:
        return self.stick.free_bytes - self.stick.reserve - self.overhead - self.taken

    @property
    def limit(self) -> int | None:
        """Bytes of the largest part in the pool."""
        largest = self.stick.largest_file
        limits = [size for size in (self.part_size, largest) if size is not None]
        return min(limits) // self.form.piece * self.form.piece if limits else None

    def cost(self, files: Iterable[StickFile]) -> int:
        """Return what files would take: clusters, folders, and their lines in our own files."""
        folders: set[str] = set()
        total = 0
        for file in files:
            folders.update(f for f in _parents(file.path) if f not in self._folders)
            total += self._line_bytes(file.path, file.length)
            if file.same_as is None:
                total += self._clusters(file.length)
        return total + len(folders) * self.stick.cluster

    def add(self, files: Sequence[StickFile]) -> None:
        self.taken += self.cost(files)
        for file in files:
            self._folders.update(_parents(file.path))
        self.files.extend(files)

    def pack_cost(self, pack: Pack) -> int:
        lines = sum(self._line_bytes(content, size) for content, size in pack.members)
        return self._clusters(pack.size) + lines + self.stick.cluster

    def add_pack(self, pack: Pack) -> None:
        self.taken += self.pack_cost(pack)
        self.packs.append(pack)

    def parts(self, content: str, offset: int, length: int) -> list[StickFile]:
        """Return the pool files of a range."""
        step = self.limit or max(length, 1)
        end = offset + length
        starts = range(offset, max(end, offset + 1), step)
        path = self.form.pool_path
        return [StickFile(path(content, at), content, at, min(step, end - at)) for at in starts]

    def plan(self, number: int) -> StickPlan:
        return StickPlan(
            number,
            self.stick.label,
            self.stick.kind,
            tuple(self.files),
            tuple(self.packs),
            tuple(self.in_place),
            self.taken + self.overhead,
        )

    def _line_bytes(self, path: str, length: int) -> int:
        """Return what a file's lines in the manifest and in stick.json take, its pieces counted."""
        return 2 * len(path.encode()) + 300 + 67 * -(-length // self.form.piece)

    def _clusters(self, size: int) -> int:
        return -(-size // self.stick.cluster) * self.stick.cluster


def _set_in_place(
    revision: Revision, room: Sequence[_Room], absent: frozenset[str], mode: InPlace
) -> str | None:
    """Put a whole revision onto one stick, or return why that can't be."""
    if mode is InPlace.NONE:
        return "not wanted (--in-place none)"
    if revision.obstacle is not None:
        return revision.obstacle
    missing = sum(1 for entry in revision.entries if entry.content in absent)
    if missing:
        return f"{count(missing, 'file')} of it stay at the target already"
    contents = {entry.content for entry in revision.entries}
    homes = [stick for stick in room if contents & stick.wholes.keys()]
    if len(homes) > 1:
        return "it shares files with revisions on different sticks"
    reason = "there is no stick"
    for stick in homes or room:
        files = _in_place_files(revision, stick, mode)
        if isinstance(files, str):
            reason = files
        elif stick.cost(files) > stick.left:
            reason = "it does not fit on one stick"
        else:
            stick.add(files)
            stick.in_place.append(revision.key)
            for file in files:
                stick.wholes.setdefault(file.content, file.path)
            return None
    return reason


def _in_place_files(revision: Revision, stick: _Room, mode: InPlace) -> list[StickFile] | str:
    files: list[StickFile] = []
    known = dict(stick.wholes)
    largest = stick.stick.largest_file
    for entry in revision.entries:
        if largest is not None and entry.size > largest:
            return (
                f"{entry.path} ({format_size(entry.size)}) is larger than a file can be on "
                f"{stick.stick.kind or 'a stick of unknown kind'}"
            )
        if stick.part_size is not None and entry.size > stick.part_size:
            return f"{entry.path} ({format_size(entry.size)}) is larger than --part-size"
        path = stick.form.in_place_path(revision.folder, revision.commit, entry.path)
        other = known.setdefault(entry.content, path)
        is_second = other != path
        if is_second and not stick.stick.has_hard_links:
            if entry.size >= FREELY_COPIED and mode is not InPlace.ALL:
                return (
                    f"{entry.path} would be stored twice: {stick.stick.kind or 'the filesystem'} "
                    "has no hard links (--in-place all pays for that)"
                )
            is_second = False
        same_as = other if is_second else None
        files.append(StickFile(path, entry.content, 0, entry.size, same_as))
    return files


def _set_in_pool(rest: Mapping[str, int], room: Sequence[_Room]) -> int:
    """Put contents into the pool, first fit, the largest first; return the bytes left over."""
    small = {content: size for content, size in rest.items() if size < SMALL}
    packs = _packs(small) if len(small) > MANY else []
    packed = small.keys() if packs else frozenset()
    items: list[tuple[int, str, Pack | None]] = [
        (size, content, None) for content, size in rest.items() if content not in packed
    ]
    items += [(pack.size, pack.members[0][0], pack) for pack in packs]
    missing = 0
    for size, content, pack in sorted(items, key=lambda item: (-item[0], item[1])):
        if pack is None:
            missing += _set_content(content, size, room)
            continue
        home = next((stick for stick in room if stick.pack_cost(pack) <= stick.left), None)
        if home is None:
            missing += size
        else:
            home.add_pack(pack)
    return missing


def _packs(small: Mapping[str, int]) -> list[Pack]:
    packs: list[Pack] = []
    members: list[tuple[str, int]] = []
    size = 0
    for content in sorted(small):
        taken = room_in_pack(small[content])
        if members and size + taken > LARGEST_PACK:
            packs.append(Pack(tuple(members)))
            members, size = [], 0
        members.append((content, small[content]))
        size += taken
    return [*packs, Pack(tuple(members))]


def _set_content(content: str, size: int, room: Sequence[_Room]) -> int:
    offset = 0
    while True:
        for stick in room:
            files = stick.parts(content, offset, size - offset)
            if stick.cost(files) <= stick.left:
                stick.add(files)
                return 0
        # It is larger than the room on any stick: fill the one with the most, and go on.
        widest = max(room, key=lambda stick: stick.left, default=None)
        take = 0 if widest is None else _most_pieces(widest, content, offset)
        if widest is None or take <= 0:
            return max(1, size - offset)  # an empty file must not get lost, either
        widest.add(widest.parts(content, offset, take))
        offset += take


def _most_pieces(stick: _Room, content: str, offset: int) -> int:
    """Return the most bytes, in whole pieces, that fit."""
    piece = stick.form.piece
    take = max(0, stick.left) // piece * piece
    while take > 0 and stick.cost(stick.parts(content, offset, take)) > stick.left:
        take -= piece
    return take


def _cuts(plans: Iterable[StickPlan]) -> dict[str, int]:
    offsets: dict[str, set[int]] = {}
    for plan in plans:
        for file in plan.files:
            offsets.setdefault(file.content, set()).add(file.offset)
    return {content: len(found) for content, found in offsets.items() if len(found) > 1}


def _parents(path: str) -> Iterator[str]:
    parent, _, _ = path.rpartition("/")
    while parent:
        yield parent
        parent, _, _ = parent.rpartition("/")
