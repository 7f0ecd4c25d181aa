"""The plan of a bundle as it is shown before any byte moves, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.bundle.document import FORMAT, plan_revisions
from hfaria.bundle.importer.format import FAT32_LARGEST_FILE
from hfaria.bundle.single_file import importer_text
from hfaria.errors import PreflightFailed
from hfaria.rules.bundle_placement import make_bundle_plan
from hfaria.rules.bundle_plan import BundlePlan, Stick, shared_room_problems
from hfaria.rules.sizes import format_size
from hfaria.workflows.bundle_sources import draft_absent, draft_revisions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hfaria.bundle.document import Base
    from hfaria.bundle.importer.values import Bundle
    from hfaria.rules.bundle_plan import Revision
    from hfaria.workflows.bundle_request import BundleRequest
    from hfaria.workflows.bundle_sources import Wanted

_PER_FILE = 400
"""Bytes that a file has in bundle.json, whole-sha256.txt and its listing together, about."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan, and what is to be said about it.

    ``set_id`` is None as long as not everything is cached: small files are named by their git id
    until they are here.
    """

    set_id: str | None
    wanted: tuple[Wanted, ...]
    plan: BundlePlan
    sticks: tuple[Stick, ...]
    revisions: tuple[Revision, ...]
    base: str
    size: int
    problems: tuple[str, ...]

    @property
    def to_fetch(self) -> int:
        """Bytes that have to be pulled first."""
        return sum(one.to_fetch for one in self.wanted)

    @property
    def to_send(self) -> int:
        """Bytes that go onto sticks."""
        return sum(stick.payload for stick in self.plan.sticks)

    @property
    def files(self) -> int:
        """Files of all revisions."""
        return sum(len(revision.entries) for revision in self.revisions)


def make_draft(
    request: BundleRequest,
    wanted: tuple[Wanted, ...],
    bundle: Bundle | None,
    *,
    base: Base,
    sticks: tuple[Stick, ...],
) -> Draft:
    """Plan what is wanted; ``bundle`` is None before everything is cached."""
    if bundle is None:
        revisions = draft_revisions(wanted)
        absent = draft_absent(wanted, base)
    else:
        revisions = plan_revisions(bundle)
        absent = frozenset(bundle.requires)
    files = sum(len(revision.entries) for revision in revisions)
    plan = make_bundle_plan(
        revisions,
        sticks,
        FORMAT,
        absent=absent,
        in_place=request.in_place,
        part_size=request.part_size,
        overhead=2 * len(importer_text()) + files * _PER_FILE,
    )
    contents = {e.content: e.size for revision in revisions for e in revision.entries}
    return Draft(
        set_id=None if bundle is None else bundle.set_id,
        wanted=wanted,
        plan=plan,
        sticks=sticks,
        revisions=revisions,
        base="none" if base.base_id is None else f"{base.kind} {base.base_id[:16]}",
        size=sum(contents.values()),
        problems=tuple(_problems(wanted, plan, sticks)),
    )


def _problems(wanted: Sequence[Wanted], plan: BundlePlan, sticks: Sequence[Stick]) -> Iterator[str]:
    for one in wanted:
        yield from one.problems
    if plan.missing:
        free = " and ".join(
            f"{format_size(stick.free_bytes)} on {_shown(stick)}" for stick in sticks
        )
        yield (
            f"E-SPACE it does not fit: {format_size(plan.missing)} more room is needed beside "
            f"{free or 'no stick at all'}"
        )
    yield from shared_room_problems(plan.sticks, sticks)


def refusal(problems: tuple[str, ...]) -> PreflightFailed:
    """Return the error for a plan that can't be carried out."""
    hint = (
        "nothing was written; use larger sticks, more of them (`--to`, `--stick`), or `--include`"
    )
    if len(problems) == 1:
        return PreflightFailed(problems[0], problems, hint=hint)
    return PreflightFailed(
        f"the bundle can't be made, for {len(problems)} reasons", problems, hint=hint
    )


def stick_of_size(size: int) -> Stick:
    """Return a stick that nobody has seen: its filesystem is taken for the narrowest one."""
    return Stick(format_size(size), size, FAT32_LARGEST_FILE)


def _shown(stick: Stick) -> str:
    return f"`{stick.label}`" if stick.kind else f"a stick of {stick.label}"
