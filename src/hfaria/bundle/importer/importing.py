"""Import sticks, and say what became of it."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.bags import open_bags
from hfaria.bundle.importer.console import Console, size_text, write_document
from hfaria.bundle.importer.copying import copy_contents
from hfaria.bundle.importer.errors import DESTINATION, USAGE, BundleError
from hfaria.bundle.importer.needs import needs_document, needs_name
from hfaria.bundle.importer.outcome import Outcome, outcome_of
from hfaria.bundle.importer.policy import check_policy, judge_signature
from hfaria.bundle.importer.publishing import publish
from hfaria.bundle.importer.receipts import write_receipt
from hfaria.bundle.importer.store import RepoStore
from hfaria.bundle.importer.survey import check_prerequisites, check_space, survey
from hfaria.bundle.importer.values import files_of
from hfaria.bundle.importer.work import Import

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.bundle.importer.options import Options


def import_bundle(
    paths: Sequence[str], options: Options, console: Console, *, is_partial: bool = False
) -> tuple[dict[str, Any], BundleError | None]:
    """Import sticks, say what became ready, and return that as a document, with what is left."""
    bags = open_bags(paths, is_partial=is_partial)
    real = os.path.realpath(options.cache)
    if any((real + os.sep).startswith(bag.path + os.sep) for bag in bags):
        raise BundleError("E-CACHE", USAGE, f"the cache {options.cache} lies on the stick itself")
    signature = judge_signature(bags, options.trust, console, is_required=options.require_signature)
    check_policy(bags[0].bundle, options)
    try:
        work = Import(bags, options, signature, console)
        outcome = _carry_out(work)
    except OSError as exc:
        where = exc.filename if isinstance(exc.filename, str) else options.cache
        raise BundleError(
            "E-DISK",
            DESTINATION,
            f"writing to {options.cache} failed: {exc.strerror or exc} ({where})",
            "nothing half done is visible; make room or fix the permissions, and run again",
        ) from exc
    return _report(work, outcome)


def _carry_out(work: Import) -> Outcome:
    """Import what these sticks have. Raises `BundleError` before anything was changed."""
    plan = survey(work)
    check_prerequisites(work, plan)
    check_space(work, plan)
    if not work.options.is_dry_run:
        try:
            for repo in work.repos:
                with RepoStore(work.cache, repo, make=True) as store:
                    copy_contents(work, store, plan[repo.folder])
                    publish(work, store)
                if work.is_over():
                    break
        finally:
            for bag in work.bags:
                bag.close()
    return outcome_of(work)


def _report(work: Import, outcome: Outcome) -> tuple[dict[str, Any], BundleError | None]:
    console, bundle, cache = work.console, work.bundle, work.cache.path
    ready = []
    for repo, commit in work.placed:
        refs = sorted(name for name, to in repo.refs.items() if to == commit)
        path = os.path.join(cache, repo.folder, "snapshots", commit)
        ready.append(
            {
                "type": repo.repo_type,
                "id": repo.repo_id,
                "commit": commit,
                "refs": refs,
                "path": path,
            }
        )
        at = f"@ {', '.join(refs)} -> {commit[:8]}" if refs else f"@ {commit}"
        console.result(f"ready: HF_HUB_CACHE={cache} HF_HUB_OFFLINE=1   {repo.label} {at}")
        for file in repo.revisions[commit].files:
            if file.path.endswith(".gguf") and not re.search(r"-0*[2-9]\d*-of-\d+", file.path):
                console.result(f"  llama.cpp: -m {os.path.join(path, *file.path.split('/'))}")
        if not repo.revisions[commit].is_complete:
            console.say(
                f"note W-TREE: {repo.label} was filtered: offline, snapshot_download() returns the "
                "part that is here"
            )
    for line in work.moved:
        console.say(f"ref: {line}")
    for line in work.kept:
        console.say(f"note E-REF: {line}")
    code = None
    is_all = len(work.repos) == len(bundle.repos)
    if work.options.is_dry_run:
        console.result(f"would copy {size_text(work.bytes_needed)} into {cache}")
    elif outcome.error is None and not outcome.missing and is_all:
        code = write_receipt(work)
        console.result(f"receipt {code}")
    needs = _write_needs(work, outcome)
    document = {
        "set_id": bundle.set_id,
        "created": bundle.created,
        "signature": work.signature.status,
        "key": work.signature.key,
        "ready": ready,
        "bytes_needed": work.bytes_needed,
        "missing": [{"sha256": want.sha256, "size": want.size} for want in outcome.missing],
        "bad": [{"sha256": key, "pieces": sorted(value)} for key, value in work.bad.items()],
        "refs_moved": work.moved,
        "refs_kept": work.kept,
        "needs": needs,
        "receipt": code,
    }
    return document, outcome.error


def _write_needs(work: Import, outcome: Outcome) -> str | None:
    """Ask for bad pieces again; with `--needs`, for all that is missing (a lost stick)."""
    bundle = work.bundle
    pieces = {sha256: set(numbers) for sha256, numbers in work.bad.items()}
    for repo in work.repos if work.options.needs is not None else ():
        here = {file.etag for file in files_of(repo)}
        with RepoStore(work.cache, repo, make=False) as store:
            for want in outcome.missing:
                if want.sha256 in bundle.objects and want.etag in here:
                    missing = store.pieces_missing(want, bundle.piece_size)
                    pieces.setdefault(want.sha256, set()).update(missing)
    if not pieces:
        return None
    content = needs_document(bundle, pieces)
    if work.options.needs is not None:
        return write_document(work.options.needs, content, work.console)
    beside = os.path.dirname(os.path.realpath(work.cache.path))
    for folder in (os.curdir, beside):
        with contextlib.suppress(BundleError):
            path = os.path.join(folder, needs_name(bundle.set_id))
            return write_document(path, content, work.console)
    return None
