"""Create a bundle: plan first, pull what is missing, then write stick by stick."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria import __version__
from hfaria.bundle.copying import stick_errors
from hfaria.bundle.document import FORMAT, bundle_text, plan_revisions
from hfaria.bundle.finishing import SetText
from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import FAT32_LARGEST_FILE, bag_name
from hfaria.bundle.ledger import Ledger
from hfaria.bundle.probe import probe as probe_stick
from hfaria.bundle.signing import is_checked_anywhere, sign_with_minisign, sign_with_ssh
from hfaria.bundle.single_file import importer_text
from hfaria.errors import NotCached, PreflightFailed, SticksMissing, UsageError
from hfaria.redact import redact_url
from hfaria.rules.bundle_placement import make_bundle_plan
from hfaria.rules.bundle_plan import BundlePlan, InPlace, Stick, shared_room_problems
from hfaria.rules.bundle_plan_file import RecordedPlan
from hfaria.rules.selection import Selection
from hfaria.rules.sizes import count, format_size
from hfaria.workflows.bundle_sources import (
    CachedContents,
    Sources,
    draft_absent,
    draft_revisions,
    read_base,
)
from hfaria.workflows.bundle_sticks import StickJob, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hfaria.bundle.document import Base
    from hfaria.bundle.importer.values import Bundle
    from hfaria.bundle.ledger import Signature
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.bundle_plan import Revision
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings
    from hfaria.workflows.bundle_sources import Wanted

_PER_FILE = 400
"""Bytes that a file has in bundle.json, whole-sha256.txt and its listing together, about."""


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What a bundle is asked to hold, and where it goes."""

    specs: tuple[RepoSpec, ...]
    places: tuple[Path, ...]
    stick_sizes: tuple[int, ...] = ()
    """Sizes of sticks that are not at hand yet."""
    selection: Selection = field(default_factory=Selection)
    base: str | None = None
    in_place: InPlace = InPlace.AUTO
    part_size: int | None = None
    ssh_key: Path | None = None
    minisign_key: Path | None = None
    read_back: bool = True
    recheck: bool = False
    token: Secret | None = None
    probe: Callable[[Path], Stick] = field(default=probe_stick)


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


@dataclass(frozen=True, slots=True)
class Created:
    """What a run left on the sticks at hand."""

    set_id: str
    sticks: int
    bags: tuple[Path, ...]
    missing: tuple[int, ...]
    """Numbers of sticks that are still to be written."""


def plan_only(request: BundleRequest, *, settings: Settings, reporter: Reporter) -> Draft:
    """Return the plan; nothing is pulled, nothing written."""
    return _Creation(request, settings, reporter).draft()


def create(
    request: BundleRequest,
    *,
    settings: Settings,
    reporter: Reporter,
    on_plan: Callable[[Draft], None],
) -> Created:
    """Pull what is missing and write the sticks; ``on_plan`` is told the plan before any byte.

    After an interruption the same call goes on where this one stopped.
    """
    return _Creation(request, settings, reporter).create(on_plan)


class _Creation:
    """One bundle on its way to the sticks."""

    def __init__(self, request: BundleRequest, settings: Settings, reporter: Reporter) -> None:
        self.request = request
        self.settings = settings
        self.reporter = reporter
        self.ledger = Ledger(settings.state_dir / "bundles")
        self.sources = Sources(settings, reporter, request.selection, request.token)
        self.base = read_base(request.base, self.ledger)
        self.sticks = (
            *(request.probe(place) for place in request.places),
            *(_stick_of_size(size) for size in request.stick_sizes),
        )
        if len({place.resolve() for place in request.places}) != len(request.places):
            raise UsageError("the same place is named twice with `--to`")

    def draft(self) -> Draft:
        """Plan from listings alone."""
        wanted = self.sources.survey(self.request.specs)
        if all(one.is_cached for one in wanted):
            return self._draft(wanted, self._bundle(wanted))
        return self._draft(wanted, None)

    def create(self, on_plan: Callable[[Draft], None]) -> Created:
        begun = self.ledger.begun(self._request_name())
        if begun is not None:
            bundle = self.ledger.bundle(begun.set_id)
            self.reporter.note(
                f"going on with set {begun.set_id[:8]}, begun {bundle.created}: "
                f"{count(len(begun.open_sticks), 'stick')} to finish"
            )
            with self.ledger.lock(bundle.set_id):
                return self._write(bundle, self.ledger.plan(bundle.set_id) or begun, {})
        wanted = self.sources.survey(self.request.specs)
        is_shown = not all(one.is_cached for one in wanted)
        if is_shown:  # else the set's id can be told, and its sticks may be written already
            draft = self._draft(wanted, None)
            self._stop_if_refused(draft, on_plan)
            on_plan(draft)
            wanted = self.sources.fetch(wanted)
        text = self._text(wanted)
        bundle = parse_bundle(text)
        with self.ledger.lock(bundle.set_id):
            if self.ledger.bundle_text(bundle.set_id) is None:
                self.ledger.add(bundle.set_id, text)
            bundle = self.ledger.bundle(bundle.set_id)
            recorded = self.ledger.plan(bundle.set_id)
            if recorded is not None and recorded.begun and not self._is_spent(recorded, bundle):
                return self._write(bundle, recorded, {})
            draft = self._draft(wanted, bundle)
            self._stop_if_refused(draft, on_plan)
            if is_shown:
                self.reporter.note(f"set {bundle.set_id[:16]}")
            else:
                on_plan(draft)
            if not self.request.selection.is_everything:
                self.reporter.note(
                    "W-TREE a part of each repo: offline, `snapshot_download` without the same "
                    "patterns returns what is there"
                )
            recorded = RecordedPlan(bundle.set_id, self._request_name(), draft.plan.sticks)
            labels = {stick.number: stick.label for stick in draft.plan.sticks}
            return self._write(bundle, recorded, labels)

    def _is_spent(self, recorded: RecordedPlan, bundle: Bundle) -> bool:
        """Tell whether all its sticks are done and others are named now: another copy is wanted."""
        if not recorded.is_finished:
            return False
        for place in self.request.places:
            bags = [place / bag_name(bundle.set_id, stick.number) for stick in recorded.sticks]
            with stick_errors(place):
                if any(bag.exists() for bag in bags):
                    return False
        return True

    def _stop_if_refused(self, draft: Draft, on_plan: Callable[[Draft], None]) -> None:
        if draft.problems:
            on_plan(draft)
            raise refusal(draft.problems)

    # --- what ---------------------------------------------------------------------------------

    def _text(self, wanted: Sequence[Wanted]) -> bytes:
        text = bundle_text(
            self.sources.read(wanted),
            self.base,
            created=utc_now(),
            endpoint=redact_url(self.settings.endpoint.url),
            version=__version__,
        )
        try:
            parse_bundle(text)
        except BundleError as exc:
            raise UsageError(
                f"this can't be one bundle: {exc.message}", hint="make several smaller ones"
            ) from exc
        return text

    def _bundle(self, wanted: Sequence[Wanted]) -> Bundle:
        return parse_bundle(self._text(wanted))

    def _request_name(self) -> str:
        """Name the request, so that the same command is known again; order does not matter."""
        request = self.request
        names = sorted(f"{spec.label}@{spec.revision}" for spec in request.specs)
        selection = [list(request.selection.include), list(request.selection.exclude)]
        return json.dumps([names, selection, self.base.kind, self.base.base_id])

    # --- where --------------------------------------------------------------------------------

    def _draft(self, wanted: tuple[Wanted, ...], bundle: Bundle | None) -> Draft:
        if bundle is None:
            revisions = draft_revisions(wanted)
            absent = draft_absent(wanted, self.base)
        else:
            revisions = plan_revisions(bundle)
            absent = frozenset(bundle.requires)
        files = sum(len(revision.entries) for revision in revisions)
        plan = make_bundle_plan(
            revisions,
            self.sticks,
            FORMAT,
            absent=absent,
            in_place=self.request.in_place,
            part_size=self.request.part_size,
            overhead=2 * len(importer_text()) + files * _PER_FILE,
        )
        contents = {e.content: e.size for revision in revisions for e in revision.entries}
        return Draft(
            set_id=None if bundle is None else bundle.set_id,
            wanted=wanted,
            plan=plan,
            sticks=self.sticks,
            revisions=revisions,
            base=_base_name(self.base),
            size=sum(contents.values()),
            problems=tuple(self._problems(wanted, plan)),
        )

    def _problems(self, wanted: Sequence[Wanted], plan: BundlePlan) -> list[str]:
        problems = [problem for one in wanted for problem in one.problems]
        if plan.missing:
            free = " and ".join(
                f"{format_size(stick.free_bytes)} on {_shown(stick)}" for stick in self.sticks
            )
            problems.append(
                f"E-SPACE it does not fit: {format_size(plan.missing)} more room is needed beside "
                f"{free or 'no stick at all'}"
            )
        return [*problems, *shared_room_problems(plan.sticks, self.sticks)]

    # --- writing ------------------------------------------------------------------------------

    def _write(self, bundle: Bundle, recorded: RecordedPlan, labels: dict[int, str]) -> Created:
        """Write the sticks at hand; the set's lock is held."""
        text = self.ledger.bundle_text(bundle.set_id) or b""
        contents = CachedContents(bundle, self.sources.reader)
        try:
            for content in bundle.objects:
                contents.path(content)
        except NotCached:
            self.sources.fetch_again(bundle)
        self.ledger.save_plan(recorded)
        job = StickJob(
            SetText(bundle, text, self._signatures(bundle, text)),
            contents,
            self.ledger.save_plan,
            self.reporter,
            read_back=self.request.read_back,
            recheck=self.request.recheck,
            probe=self.request.probe,
        )
        self._note_neighbours(bundle)
        bags = []
        for assignment in job.assign(recorded, self.request.places, labels):
            if not assignment.is_finished:
                self.reporter.note(
                    f"stick {assignment.plan.number} of {len(recorded.sticks)}: writing "
                    f"{format_size(assignment.plan.payload)} to {assignment.place}"
                )
            recorded = job.write(assignment, recorded, of=len(recorded.sticks))
            bags.append(assignment.place / bag_name(bundle.set_id, assignment.plan.number))
        return Created(
            bundle.set_id,
            len(recorded.sticks),
            tuple(bags),
            tuple(stick.number for stick in recorded.open_sticks),
        )

    def _note_neighbours(self, bundle: Bundle) -> None:
        for place in self.request.places:
            with stick_errors(place):
                names = sorted(path.name for path in place.glob("hfb-*"))
            others = [name for name in names if not name.startswith(f"hfb-{bundle.short_id}-")]
            if others:
                self.reporter.note(
                    f"{place} holds {', '.join(others)} as well: at the target, name the folder "
                    "that you mean"
                )

    def _signatures(self, bundle: Bundle, text: bytes) -> tuple[Signature, ...]:
        request = self.request
        known = {signature.name: signature for signature in self.ledger.signatures(bundle.set_id)}
        made = []
        if request.ssh_key is not None:
            made.append(sign_with_ssh(text, request.ssh_key))
        if request.minisign_key is not None:
            made.append(
                sign_with_minisign(
                    text, request.minisign_key, comment=f"hfaria bundle {bundle.set_id}"
                )
            )
        for signature in made:
            if not is_checked_anywhere(signature):
                self.reporter.warn(
                    "the importer can't check a signature by this kind of key: it knows "
                    "ssh-ed25519 and minisign; over there it takes `ssh-keygen -Y verify`"
                )
            self.ledger.add_signature(bundle.set_id, signature)
            known[signature.name] = signature
        return tuple(known[name] for name in sorted(known))


def require_all(created: Created) -> None:
    """Raise `SticksMissing` if a stick of the set is still to be written."""
    if not created.missing:
        return
    names = ", ".join(bag_name(created.set_id, number) for number in created.missing)
    raise SticksMissing(
        f"{count(len(created.missing), 'stick')} of {created.sticks} still to be written: {names}",
        hint="put the next stick in and run the same command, with `--to` for where it is; for a "
        f"stick that was begun and is lost: `hfaria bundle abort {created.set_id[:8]}`",
    )


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


def _stick_of_size(size: int) -> Stick:
    """Return a stick that nobody has seen: its filesystem is taken for the narrowest one."""
    return Stick(format_size(size), size, FAT32_LARGEST_FILE)


def _shown(stick: Stick) -> str:
    return f"`{stick.label}`" if stick.kind else f"a stick of {stick.label}"


def _base_name(base: Base) -> str:
    return "none" if base.base_id is None else f"{base.kind} {base.base_id[:16]}"
