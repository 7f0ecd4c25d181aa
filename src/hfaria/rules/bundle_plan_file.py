"""A bundle's plan as a document, for the ledger: what was begun has to go on as it was planned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hfaria.rules.bundle_plan import Pack, StickFile, StickPlan

_FORMAT = "hfaria-plan/1"


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """The plan of a set, and how far its sticks are.

    ``request`` is what was asked for, so that the same command goes on with the same commits;
    ``begun`` has the sticks whose folders were made, with the ids that these got.
    """

    set_id: str
    request: str
    sticks: tuple[StickPlan, ...]
    begun: tuple[tuple[int, str], ...] = ()
    finished: frozenset[int] = frozenset()

    @property
    def is_finished(self) -> bool:
        """Whether every stick is done."""
        return self.finished >= {stick.number for stick in self.sticks}

    @property
    def open_sticks(self) -> tuple[StickPlan, ...]:
        """Sticks that are not done."""
        return tuple(stick for stick in self.sticks if stick.number not in self.finished)

    def uuid_of(self, number: int) -> str | None:
        """Return the id that a stick got when its folder was made."""
        return dict(self.begun).get(number)

    def with_begun(self, number: int, stick_uuid: str) -> RecordedPlan:
        """Return the plan with one more stick begun."""
        return replace(self, begun=(*self.begun, (number, stick_uuid)))

    def with_finished(self, number: int) -> RecordedPlan:
        """Return the plan with one more stick done."""
        return replace(self, finished=self.finished | {number})


def to_document(plan: RecordedPlan) -> dict[str, Any]:
    """Return the plan as JSON values. Folders of this machine are not part of it."""
    return {
        "format": _FORMAT,
        "set_id": plan.set_id,
        "request": plan.request,
        "begun": [list(pair) for pair in plan.begun],
        "finished": sorted(plan.finished),
        "sticks": [
            {
                "number": stick.number,
                "kind": stick.kind,
                "needed": stick.needed,
                "files": [[f.path, f.content, f.offset, f.length, f.same_as] for f in stick.files],
                "packs": [[list(member) for member in pack.members] for pack in stick.packs],
                "in_place": list(stick.in_place),
            }
            for stick in plan.sticks
        ],
    }


def from_document(document: Any) -> RecordedPlan | None:  # noqa: ANN401 - JSON
    """Read a plan; None if it is none that can be used."""
    try:
        if document["format"] != _FORMAT:
            return None
        return RecordedPlan(
            document["set_id"],
            document["request"],
            tuple(_stick(stick) for stick in document["sticks"]),
            tuple((number, uuid) for number, uuid in document["begun"]),
            frozenset(document["finished"]),
        )
    except (LookupError, TypeError, ValueError):
        return None


def _stick(document: dict[str, Any]) -> StickPlan:
    return StickPlan(
        number=document["number"],
        label="",
        kind=document["kind"],
        files=tuple(StickFile(*row) for row in document["files"]),
        packs=tuple(
            Pack(tuple((content, size) for content, size in members))
            for members in document["packs"]
        ),
        in_place=tuple(document["in_place"]),
        needed=document["needed"],
    )
