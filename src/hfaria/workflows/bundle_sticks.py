"""Give each stick its part of a set, write it, read it back, finish it."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hfaria.bundle.copying import stick_errors
from hfaria.bundle.document import hub_texts
from hfaria.bundle.finishing import (
    SetText,
    add_signatures,
    finish,
    refuse_strangers,
    sync_folders,
    write_skeleton,
)
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import BUNDLE_NAME, JOURNAL_NAME, STICK_NAME, bag_name
from hfaria.bundle.importer.stick_json import parse_stick
from hfaria.bundle.journal import Journal
from hfaria.bundle.probe import probe as probe_stick
from hfaria.bundle.writer import BagWriter
from hfaria.errors import PreflightFailed, StickRefused
from hfaria.rules.progress import Progress, RateMeter
from hfaria.rules.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hfaria.bundle.writer import Contents
    from hfaria.report.reporter import Reporter
    from hfaria.rules.bundle_plan import Stick, StickPlan
    from hfaria.rules.bundle_plan_file import RecordedPlan

_SHOW_EVERY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Assignment:
    """A stick that is at hand, and the part of the set that it gets or has."""

    place: Path
    plan: StickPlan
    journal: Journal | None = None
    is_finished: bool = False


@dataclass(frozen=True, slots=True)
class StickJob:
    """Everything that writing the sticks of one set needs."""

    of_set: SetText
    contents: Contents
    save: Callable[[RecordedPlan], None]
    """Brings the plan to the ledger."""
    reporter: Reporter
    read_back: bool = True
    recheck: bool = False
    probe: Callable[[Path], Stick] = field(default=probe_stick)

    def assign(
        self, recorded: RecordedPlan, places: Sequence[Path], labels: dict[int, str]
    ) -> tuple[Assignment, ...]:
        """Find out which stick is which; ``labels`` says for which place a stick was planned."""
        found = [(place, self._present(recorded, place)) for place in places]
        taken = {assignment.plan.number for _, one in found for assignment in one}
        begun = {number for number, _ in recorded.begun}
        fresh = [
            stick
            for stick in recorded.open_sticks
            if stick.number not in taken and stick.number not in begun
        ]
        assignments = []
        for place, present in found:
            assignments += present
            if present or not fresh:
                continue
            planned = [stick for stick in fresh if labels.get(stick.number) == str(place)]
            if labels and not planned:
                continue  # this plan does not need it
            stick = planned[0] if planned else fresh[0]
            fresh.remove(stick)
            if not planned:
                self._check_fit(place, stick)
            assignments.append(Assignment(place, stick))
        return tuple(assignments)

    def _present(self, recorded: RecordedPlan, place: Path) -> list[Assignment]:
        """Return what of this set is at a place already."""
        with stick_errors(place):
            return self._look(recorded, place)

    def _look(self, recorded: RecordedPlan, place: Path) -> list[Assignment]:
        set_id = self.of_set.bundle.set_id
        found = []
        for stick in recorded.sticks:
            bag = place / bag_name(set_id, stick.number)
            if not bag.exists() and not bag.is_symlink():
                continue
            if bag.is_symlink() or not bag.is_dir():
                raise StickRefused(f"`{bag}` is not a folder")
            journal = Journal.read(bag)
            if journal is None and self._is_finished(bag, stick):
                found.append(Assignment(place, stick, is_finished=True))
            elif journal is not None and journal.set_id == set_id:
                if recorded.uuid_of(stick.number) != journal.stick_uuid:
                    raise StickRefused(
                        f"`{bag}` was begun in another run, whose plan is gone",
                        hint=f"drop it with `hfaria bundle abort {set_id[:8]} --to {place}`",
                    )
                found.append(Assignment(place, stick, journal))
            elif recorded.uuid_of(stick.number) is None and not any(bag.iterdir()):
                bag.rmdir()  # killed before the ledger had it: it may go elsewhere
            elif {path.name for path in bag.iterdir()} <= {JOURNAL_NAME}:
                found.append(Assignment(place, stick))  # killed before the journal's first line
            else:
                raise StickRefused(
                    f"`{bag}` is of another set or plan, or damaged: nothing was changed",
                    hint="remove that folder yourself if you don't need it, or use another stick",
                )
        return found

    def _is_finished(self, bag: Path, plan: StickPlan) -> bool:
        """Tell whether a folder is this very stick; an earlier plan may have numbered otherwise."""
        bundle = self.of_set.bundle
        with suppress(OSError, BundleError):
            if (bag / BUNDLE_NAME).read_bytes() != self.of_set.text:
                return False
            stick = parse_stick((bag / STICK_NAME).read_bytes(), bundle)
            paths = {held.path for held in stick.ranges}
            contents = {held.sha256 for held in stick.ranges}
            packed = {content for pack in plan.packs for content, _ in pack.members}
            return contents >= packed and paths >= {file.path for file in plan.files}
        return False

    def _check_fit(self, place: Path, plan: StickPlan) -> None:
        """Refuse a stick that can't take what was planned for one that nobody had seen."""
        stick = self.probe(place)
        largest = max((file.length for file in plan.files), default=0)
        problems = []
        if plan.needed + stick.reserve > stick.free_bytes:
            problems.append(
                f"E-SPACE not enough space at `{place}`: stick {plan.number} needs "
                f"{format_size(plan.needed)} and a reserve of {format_size(stick.reserve)}, "
                f"has {format_size(stick.free_bytes)}"
            )
        if stick.largest_file is not None and largest > stick.largest_file:
            problems.append(
                f"`{place}` is {stick.kind}: it can't hold {format_size(largest)} files"
            )
        if any(file.same_as for file in plan.files) and not stick.has_hard_links:
            problems.append(
                f"`{place}` has no hard links, which stick {plan.number} was planned for"
            )
        if problems:
            raise PreflightFailed(
                problems[0],
                tuple(problems),
                hint="use another stick, or plan anew: "
                f"`hfaria bundle abort {self.of_set.bundle.set_id[:8]}`, then create again",
            )

    def write(
        self, assignment: Assignment, recorded: RecordedPlan, *, of: int | None
    ) -> RecordedPlan:
        """Write one stick to its end; returns the plan with that noted, in the ledger as well."""
        plan = assignment.plan
        if not plan.kind:  # it was planned before anybody saw the stick
            plan = replace(plan, kind=self.probe(assignment.place).kind)
        if assignment.is_finished:
            bag = assignment.place / bag_name(self.of_set.bundle.set_id, plan.number)
            with stick_errors(assignment.place):
                add_signatures(bag, self.of_set, plan, of=of)
            recorded = recorded.with_finished(plan.number)
            self.save(recorded)
            return recorded
        bag = assignment.place / bag_name(self.of_set.bundle.set_id, plan.number)
        meter = _Meter(self.reporter, plan)
        with stick_errors(assignment.place, lambda: format_size(meter.done)):
            journal = assignment.journal
            if journal is None:
                # The folder first: a stick that was begun and has none counts as lost.
                bag.mkdir(exist_ok=True)
                sync_folders(assignment.place, is_deep=False)
                stick_uuid = str(uuid.uuid4())
                recorded = recorded.with_begun(plan.number, stick_uuid)
                self.save(recorded)
                journal = Journal.begin(
                    bag,
                    set_id=self.of_set.bundle.set_id,
                    stick=plan.number,
                    stick_uuid=stick_uuid,
                )
            texts = hub_texts(self.of_set.bundle, plan.in_place)
            refuse_strangers(bag, plan, journal, texts)
            write_skeleton(bag, self.of_set)
            writer = BagWriter(
                bag,
                plan,
                journal,
                self.contents,
                self.of_set.bundle.piece_size,
                texts,
                on_bytes=meter.add,
                on_file=meter.next_file,
            )
            if self.recheck:
                writer.recheck()
            writer.write()
            sync_folders(bag)
            if self.read_back:
                meter.begin_read_back()
                writer.read_back()
            finish(bag, self.of_set, plan, journal, texts, of=of, finalised=utc_now())
        recorded = recorded.with_finished(plan.number)
        self.save(recorded)
        return recorded


def utc_now() -> str:
    """Return the time as the format writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Meter:
    """Turns bytes into what the reporter shows."""

    def __init__(self, reporter: Reporter, plan: StickPlan) -> None:
        self._reporter = reporter
        self._plan = plan
        self._size = plan.payload
        self._files = 0
        self._rate = RateMeter()
        self._shown_at = 0.0
        self._waiting: str | None = None
        self.done = 0

    def add(self, count: int) -> None:
        """Take in bytes that are on the stick."""
        self.done += count
        now = time.monotonic()
        if now - self._shown_at < _SHOW_EVERY_SECONDS:
            return
        self._shown_at = now
        self._reporter.show(
            Progress(
                files_done=min(self._files, self._plan.count),
                files=self._plan.count,
                held=min(self.done, self._size),
                size=self._size,
                rate=self._rate.add(now, self.done),
                waiting=self._waiting,
                waiting_for=self._waiting,
            )
        )

    def next_file(self, _name: str) -> None:
        """Count a file."""
        self._files += 1

    def begin_read_back(self) -> None:
        """Start again from 0: what was written is read."""
        self._waiting = f"reading back what was written to stick {self._plan.number}"
        self._rate = RateMeter()
        self.done = 0
        self._files = self._plan.count
