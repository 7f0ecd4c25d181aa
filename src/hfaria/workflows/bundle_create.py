"""Create a bundle: plan first, pull what is missing, then write stick by stick."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria import __version__
from hfaria.bundle.copying import stick_errors
from hfaria.bundle.document import bundle_text
from hfaria.bundle.finishing import SetText
from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import bag_name
from hfaria.bundle.ledger import Ledger
from hfaria.bundle.signing import is_checked_anywhere, sign_with_minisign, sign_with_ssh
from hfaria.errors import (
    NotCached,
    PreflightFailed,
    StickGone,
    StickRefused,
    SticksMissing,
    UsageError,
)
from hfaria.redact import redact_url
from hfaria.rules.bundle_plan import LEAST_RESERVE
from hfaria.rules.bundle_plan_file import RecordedPlan
from hfaria.rules.carried import request_name
from hfaria.rules.manifest import title_of
from hfaria.rules.sizes import count, format_size
from hfaria.workflows.bundle_draft import Draft, make_draft, refusal, stick_of_size
from hfaria.workflows.bundle_request import StickWanted, carried_repos
from hfaria.workflows.bundle_sources import CachedContents, Sources, read_base
from hfaria.workflows.bundle_sticks import StickJob, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hfaria.bundle.importer.values import Bundle
    from hfaria.bundle.ledger import Signature
    from hfaria.report.reporter import Reporter
    from hfaria.settings import Settings
    from hfaria.workflows.bundle_request import BundleRequest
    from hfaria.workflows.bundle_sources import Wanted
    from hfaria.workflows.bundle_sticks import Assignment


_MOST_NAMED = 3


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
    next_stick: Callable[[StickWanted], Path | None] | None = None,
) -> Created:
    """Pull what is missing and write the sticks; ``on_plan`` is told the plan before any byte.

    ``next_stick`` is asked for the folder of each stick that is not at hand, once the others are
    done; None ends the run. After an interruption the same call goes on where this one stopped.
    """
    return _Creation(request, settings, reporter, next_stick).create(on_plan)


class _Creation:
    """One bundle on its way to the sticks."""

    def __init__(
        self,
        request: BundleRequest,
        settings: Settings,
        reporter: Reporter,
        next_stick: Callable[[StickWanted], Path | None] | None = None,
    ) -> None:
        self.request = request
        self.next_stick = next_stick
        self.settings = settings
        self.reporter = reporter
        self.ledger = Ledger(settings.state_dir / "bundles")
        self.repos = carried_repos(request)
        self.sources = Sources(settings, reporter, self.repos, request.token)
        self.base = read_base(request.base, self.ledger)
        self.sticks = (
            *(request.probe(place) for place in request.places),
            *(stick_of_size(size) for size in request.stick_sizes),
        )
        if len({place.resolve() for place in request.places}) != len(request.places):
            raise UsageError("the same place is named twice with `--to`")

    def draft(self) -> Draft:
        """Plan from listings alone."""
        wanted = self._survey()
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
        wanted = self._survey()
        is_shown = not all(one.is_cached for one in wanted)
        if is_shown:  # else the set's id can be told, and its sticks may be written already
            draft = self._draft(wanted, None)
            self._stop_if_refused(draft, on_plan)
            on_plan(draft)
            wanted = self.sources.fetch(wanted)
            self.reporter.close()  # the bars of what was pulled
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
            self._note_parts()
            recorded = RecordedPlan(bundle.set_id, self._request_name(), draft.plan.sticks)
            labels = {stick.number: stick.label for stick in draft.plan.sticks}
            return self._write(bundle, recorded, labels)

    def _survey(self) -> tuple[Wanted, ...]:
        named = self.request.specs
        loose = [
            title_of(repo.spec)
            for repo in self.repos
            if repo.commit_hash is None and repo.spec not in named
        ]
        if loose:
            more = f" and {len(loose) - _MOST_NAMED} more" if len(loose) > _MOST_NAMED else ""
            which = ", ".join(loose[:_MOST_NAMED])
            self.reporter.note(f"not locked, taken as the revision is now: {which}{more}")
        return self.sources.survey()

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
        return request_name(self.repos, base_kind=self.base.kind, base_id=self.base.base_id)

    def _note_parts(self) -> None:
        parts = [repo for repo in self.repos if not repo.selection.is_everything]
        if parts:
            which = ", ".join(f"`{repo.spec.label}`" for repo in parts)
            if len(parts) == len(self.repos) or len(parts) > _MOST_NAMED:
                which = f"{len(parts)} of {len(self.repos)} repos"
            self.reporter.note(
                f"W-TREE a part of {which}: offline, `snapshot_download` without the same "
                "patterns returns what is there"
            )

    def _draft(self, wanted: tuple[Wanted, ...], bundle: Bundle | None) -> Draft:
        return make_draft(self.request, wanted, bundle, base=self.base, sticks=self.sticks)

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
        mounts = _mount_points(self.request.places)
        bags: list[Path] = []
        assigned = job.assign(recorded, self.request.places, labels)
        recorded = self._write_each(job, recorded, assigned, bags)
        trouble = None
        while recorded.open_sticks and self.next_stick is not None:
            place = self.next_stick(_stick_wanted(recorded, labels, trouble))
            if place is None:
                break
            try:
                assigned = _assign_next(job, recorded, place, mounts)
            except (StickRefused, StickGone, PreflightFailed) as exc:
                trouble = exc.message
            else:
                trouble = None
                mounts |= _mount_points([place])
                recorded = self._write_each(job, recorded, assigned, bags)
        return Created(
            bundle.set_id,
            len(recorded.sticks),
            tuple(bags),
            tuple(stick.number for stick in recorded.open_sticks),
        )

    def _write_each(
        self,
        job: StickJob,
        recorded: RecordedPlan,
        assigned: Sequence[Assignment],
        bags: list[Path],
    ) -> RecordedPlan:
        """Write sticks that are at hand, and add their folders to ``bags``."""
        for place in dict.fromkeys(assignment.place for assignment in assigned):
            self._note_neighbours(job.of_set.bundle, place)
        for assignment in assigned:
            number, of = assignment.plan.number, len(recorded.sticks)
            if not assignment.is_finished:
                self.reporter.note(
                    f"stick {number} of {of}: writing {format_size(assignment.plan.payload)} to "
                    f"{assignment.place}"
                )
            recorded = job.write(assignment, recorded, of=of)
            bags.append(assignment.place / bag_name(recorded.set_id, number))
            if self.next_stick is not None and recorded.open_sticks:
                self.reporter.note(f"stick {number} of {of} is done, and can be taken out")
        return recorded

    def _note_neighbours(self, bundle: Bundle, place: Path) -> None:
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


def _stick_wanted(
    recorded: RecordedPlan, labels: Mapping[int, str], trouble: str | None
) -> StickWanted:
    stick = recorded.open_sticks[0]
    least = format_size(stick.needed + LEAST_RESERVE)
    return StickWanted(
        stick.number,
        len(recorded.sticks),
        size=labels.get(stick.number, f"{least} or more"),
        is_begun=recorded.uuid_of(stick.number) is not None,
        trouble=trouble,
    )


def _assign_next(
    job: StickJob, recorded: RecordedPlan, place: Path, mounts: frozenset[Path]
) -> tuple[Assignment, ...]:
    """Find out which part of the set goes to a place that was named when a stick was asked for.

    The next stick may be mounted where the last one was. If none is, the folder below would take
    the bytes, on this machine's own disk: ``mounts`` are the places that were mounted before.
    Raises `StickRefused` if there is nothing to do at that place.
    """
    with stick_errors(place):
        if place.resolve() in mounts and not _is_mount(place):
            raise StickRefused(f"nothing is mounted at `{place}`")
    assigned = job.assign(recorded, [place], {})
    if not assigned:
        raise StickRefused(f"`{place}` holds nothing of this set, and what is missing was begun")
    open_ones = tuple(one for one in assigned if one.plan.number not in recorded.finished)
    if not open_ones:
        raise StickRefused(f"`{place}` still is stick {assigned[0].plan.number}, which is done")
    return open_ones


def _is_mount(place: Path) -> bool:
    return os.path.ismount(place)  # pathlib's is not there on Windows before 3.12


def _mount_points(places: Sequence[Path]) -> frozenset[Path]:
    found = []
    for place in places:
        with stick_errors(place):
            if _is_mount(place):
                found.append(place.resolve())
    return frozenset(found)


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
