"""What comes back from the target: requests for pieces, and receipts; and giving up on a set."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.bundle.cleanup import drop_partials, remove_unfinished
from hfaria.bundle.document import FORMAT
from hfaria.bundle.finishing import SetText
from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import BUNDLE_NAME, bag_name, piece_count
from hfaria.bundle.importer.needs import Needs, parse_needs
from hfaria.bundle.ledger import Ledger
from hfaria.bundle.probe import probe as probe_stick
from hfaria.bundle.single_file import importer_text
from hfaria.errors import NotCached, PreflightFailed, UnknownBase, UsageError
from hfaria.rules.bundle_placement import make_repair_plan
from hfaria.rules.bundle_plan_file import RecordedPlan
from hfaria.rules.sizes import count, format_size
from hfaria.workflows.bundle_create import Created
from hfaria.workflows.bundle_sources import CachedContents, Sources
from hfaria.workflows.bundle_sticks import StickJob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hfaria.bundle.importer.values import Bundle
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.bundle_plan import Stick
    from hfaria.settings import Settings

_PER_FILE = 400


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """A file that an import wrote, and the stick that gets what it asks for."""

    needs: Path
    place: Path
    read_back: bool = True
    token: Secret | None = None
    probe: Callable[[Path], Stick] = field(default=probe_stick)


@dataclass(frozen=True, slots=True)
class Aborted:
    """What giving up on a set removed."""

    set_id: str
    had_plan: bool
    bags: tuple[Path, ...]
    """Folders of unfinished sticks that are gone."""
    kept: tuple[Path, ...]
    """Finished sticks, and folders with files of others in them."""
    freed: int = 0
    """Bytes of partials that were dropped from a cache."""


def repair(request: RepairRequest, *, settings: Settings, reporter: Reporter) -> Created:
    """Write a stick of the same set that holds only the pieces that are asked for."""
    ledger = Ledger(settings.state_dir / "bundles")
    text = _read(request.needs)
    try:
        needs = parse_needs(text)
    except BundleError as exc:
        raise UsageError(f"`{request.needs}` asks for nothing: {exc.message}") from exc
    bundle_text = ledger.bundle_text(needs.set_id)
    if bundle_text is None:
        raise UnknownBase(
            f"set {needs.set_id[:8]} was not made on this machine",
            hint="repair it where it was made; its ledger knows what each piece is",
        )
    bundle = ledger.bundle(needs.set_id)
    _check(needs, bundle)
    sources = Sources(settings, reporter, token=request.token)
    contents = CachedContents(bundle, sources.reader)
    try:
        for content in needs.pieces:
            contents.path(content)
    except NotCached:
        sources.fetch_again(bundle)
    # The same request is the same stick, so that an interrupted repair goes on.
    name = f"repair-{hashlib.sha256(text.strip()).hexdigest()[:16]}.json"
    with ledger.lock(needs.set_id):
        recorded = ledger.plan(needs.set_id, name) or _plan(request, needs, bundle, ledger)
        job = StickJob(
            SetText(bundle, bundle_text, ledger.signatures(needs.set_id)),
            contents,
            lambda plan: ledger.save_plan(plan, name),
            reporter,
            read_back=request.read_back,
            probe=request.probe,
        )
        bags = []
        for assignment in job.assign(recorded, [request.place], {}):
            plan = assignment.plan
            reporter.note(
                f"repair of set {needs.set_id[:8]}: {count(len(plan.files), 'range')}, "
                f"{format_size(plan.payload)}, to {request.place}"
            )
            recorded = job.write(assignment, recorded, of=None)
            bags.append(request.place / bag_name(needs.set_id, plan.number))
    missing = tuple(stick.number for stick in recorded.open_sticks)
    return Created(needs.set_id, len(recorded.sticks), tuple(bags), missing)


def _plan(request: RepairRequest, needs: Needs, bundle: Bundle, ledger: Ledger) -> RecordedPlan:
    own = ledger.plan(bundle.set_id)
    number = max((stick.number for stick in own.sticks), default=0) + 1 if own else 1
    while (request.place / bag_name(bundle.set_id, number)).exists():
        number += 1
    files = sum(len(r.files) for repo in bundle.repos for r in repo.revisions.values())
    stick = request.probe(request.place)
    plan = make_repair_plan(
        needs.pieces,
        {sha256: stored.size for sha256, stored in bundle.objects.items()},
        stick,
        FORMAT,
        number=number,
        overhead=2 * len(importer_text()) + files * _PER_FILE,
    )
    if plan.missing:
        problem = (
            f"E-SPACE not enough space at `{request.place}`: {format_size(plan.missing)} more are "
            "needed"
        )
        raise PreflightFailed(problem, (problem,), hint="nothing was written; use another stick")
    return RecordedPlan(bundle.set_id, "repair", plan.sticks)


def _check(needs: Needs, bundle: Bundle) -> None:
    if not needs.pieces:
        raise UsageError("the request asks for no piece", hint="the import needs nothing more")
    for sha256, numbers in needs.pieces.items():
        stored = bundle.objects.get(sha256)
        if stored is None or needs.piece_size != bundle.piece_size:
            raise UsageError(f"set {bundle.short_id} does not carry {sha256[:16]}")
        most = piece_count(stored.size, bundle.piece_size)
        if any(number >= most for number in numbers):
            raise UsageError(f"{sha256[:16]} of set {bundle.short_id} has {count(most, 'piece')}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"`{path}` can't be read: {exc.strerror}") from exc


def acknowledge(code: str, *, settings: Settings) -> str:
    """Note that a set arrived, by the receipt that its import printed; returns the set's id."""
    return Ledger(settings.state_dir / "bundles").acknowledge(code)


def abort(
    short_id: str, places: Sequence[Path], *, cache_dir: Path | None, settings: Settings
) -> Aborted:
    """Give up on a set: drop its plan, its unfinished sticks at ``places``, its partials.

    Finished sticks, and what this set did not write, stay. With ``cache_dir`` it is about an
    import as well: a set that was made elsewhere is known by one of its sticks at ``places``.
    """
    ledger = Ledger(settings.state_dir / "bundles")
    freed = 0
    if cache_dir is not None:
        bundle = _bundle_on(places, short_id) or ledger.bundle(ledger.find(short_id))
        freed = drop_partials(cache_dir, bundle)
        set_id = bundle.set_id
    else:
        set_id = ledger.find(short_id)
    with ledger.lock(set_id):
        removed, kept = remove_unfinished(places, set_id)
        return Aborted(set_id, ledger.forget_plan(set_id), removed, kept, freed)


def _bundle_on(places: Sequence[Path], short_id: str) -> Bundle | None:
    for place in places:
        for bag in sorted(place.glob(f"hfb-{short_id[:8].lower()}-s*")):
            with suppress(OSError, BundleError):
                return parse_bundle((bag / BUNDLE_NAME).read_bytes())
    return None
