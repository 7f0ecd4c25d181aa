"""What an import did, and what to do next."""

from __future__ import annotations

from typing import NamedTuple

from hfaria.bundle.importer.bags import gone_error
from hfaria.bundle.importer.console import size_text
from hfaria.bundle.importer.errors import DESTINATION, INCOMPLETE, INTEGRITY, BundleError
from hfaria.bundle.importer.format import bag_name
from hfaria.bundle.importer.needs import describe_pieces, needs_name
from hfaria.bundle.importer.store import RepoStore
from hfaria.bundle.importer.work import Import, Want


class Outcome(NamedTuple):
    """What an import did, and what is left to do."""

    missing: tuple[Want, ...]
    error: BundleError | None


def outcome_of(work: Import) -> Outcome:
    """Look at what is here now, and say what went wrong or what to do next."""
    missing: dict[str, Want] = {}
    left = 0
    for repo in work.repos:
        with RepoStore(work.cache, repo, make=False) as store:
            for revision in repo.revisions.values():
                for file in revision.files:
                    if file.etag not in missing and not store.is_here(revision.commit, file):
                        want = Want(file.etag, file.sha256, file.size)
                        missing[file.etag] = want
                        left += store.bytes_missing(want, work.bundle.piece_size)
    return Outcome(tuple(missing.values()), _error(work, len(missing), left))


def _error(work: Import, missing: int, left: int) -> BundleError | None:
    if work.options.is_dry_run:
        return None
    if work.gone is not None:
        bag, reason = work.gone
        return gone_error(bag, reason)
    if work.bad:
        return _bad_pieces_error(work)
    if work.unplaceable:
        hint = "use a filesystem that holds these names; what was imported is kept as blobs"
        return BundleError("E-NAME", DESTINATION, "; ".join(work.unplaceable), hint)
    if missing:
        what = f"still missing {missing} contents ({size_text(left)})"
        return BundleError("E-MISSING", INCOMPLETE, what, _next_stick(work))
    return None


def _next_stick(work: Import) -> str:
    here = sorted({bag.stick.number for bag in work.bags})
    of = max((bag.stick.of or 0 for bag in work.bags), default=0)
    others = [bag_name(work.bundle.set_id, n) for n in range(1, of + 1) if n not in here]
    if not others:
        return "insert the other sticks of this set and run again"
    return f"insert the stick labelled {' or '.join(others[:4])} and run again"


def _bad_pieces_error(work: Import) -> BundleError:
    lines = describe_pieces(work.bundle, work.bad)
    count = sum(map(len, work.bad.values()))
    more = f" and {len(lines) - 5} more ranges" if len(lines) > 5 else ""
    what = f"{count} bad piece{'s' if count > 1 else ''}: {'; '.join(lines[:5])}{more}"
    needs = needs_name(work.bundle.set_id)
    hint = f'run "hfaria bundle repair" with {needs} on the connected side'
    return BundleError("E-PIECE", INTEGRITY, f"{what}; the rest is kept", hint)
