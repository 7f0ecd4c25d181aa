"""One repo, from its name to verified files: the stages that pull and preload are made of."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from hfaria.cache.filesystem import probe
from hfaria.errors import EndpointUnreachable, PreflightFailed, UnsafePath
from hfaria.hub.access import check_access
from hfaria.rules.layout import RepoLayout
from hfaria.rules.plan import Plan, make_plan
from hfaria.rules.preflight import (
    Filesystem,
    bytes_needed,
    device_name,
    find_other_problems,
    find_problems,
)
from hfaria.rules.receipt import CorruptPull, FailedFile, Outcome, PartialPull, Receipt
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.selection import Selection
from hfaria.rules.sizes import count, format_size
from hfaria.rules.spec import is_commit
from hfaria.rules.window import Window
from hfaria.workflows.access import find_catalogue, open_store
from hfaria.workflows.bandwidth import Bandwidth
from hfaria.workflows.catalogue import Catalogue, Cataloguer
from hfaria.workflows.early import import_early
from hfaria.workflows.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfaria.engine.mover import Mover
    from hfaria.hub.client import HubClient
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.adoption import Folder
    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.lock import LockedRepo
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings
    from hfaria.workflows import transfer


NOTHING_DONE = Outcome((), 0, 0, ())


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What one pull is asked to do.

    ``commit_hash`` is the commit that is pulled whatever the revision names now; the revision's ref
    is made to name it. With ``locked`` its listing has to be the one that was locked.
    """

    spec: RepoSpec
    selection: Selection = field(default_factory=Selection)
    local_dir: Path | None = None
    refetch: bool = False
    """Fetch also what is published already, and replace it."""
    token: Secret | None = None
    is_wish: bool = True
    """Whether the selection is what the user wants of the commit, which is remembered."""
    commit_hash: str | None = None
    locked: LockedRepo | None = None
    folder: Folder | None = None
    """A folder of another tool's, of which is taken what is right."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan that was not carried out, with what the destination would say to it."""

    plan: Plan
    path: Path
    endpoint: str
    filesystem: Filesystem
    bytes_needed: int
    problems: tuple[str, ...]


class RepoPull:
    """One repo with everything that is talked to about it.

    Its stages, in order: `catalogue`, `plan`, `preflight`; then, with the store's lock held, `plan`
    again, `transfers`, `finish`.
    """

    def __init__(
        self,
        request: PullRequest,
        *,
        settings: Settings,
        reporter: Reporter,
        client: HubClient,
    ) -> None:
        self.request = request
        self.settings = settings
        self.reporter = reporter
        self.client = client
        self.on_bandwidth: Callable[[Bandwidth], None] | None = None
        """Gets what holds the pull to its rate, if it is its own."""
        self.started_at = time.monotonic()
        self.policy = RetryPolicy.for_patience(settings.patience_seconds)
        self.window = Window(jobs=settings.jobs, connections=settings.connections)
        may_link_hard = request.folder is None or request.folder.can_link
        self.store = open_store(
            request.spec, settings, request.local_dir, may_link_hard=may_link_hard
        )
        spec = request.spec
        if request.commit_hash is not None:
            spec = replace(spec, revision=request.commit_hash)
        self._cataloguer = Cataloguer(client, spec, self.store, settings, self.policy, reporter)

    def begin_clock(self) -> None:
        """Count the receipt's seconds from now on."""
        self.started_at = time.monotonic()

    def close(self) -> None:
        """Wait for no answer any more."""
        self._cataloguer.close()

    def preview(self) -> Preview:
        """Return what `run` would do."""
        catalogue = self.catalogue()
        plan = self.plan(catalogue)
        filesystem, problems = self.preflight(plan)
        return Preview(
            plan,
            self.store.snapshot_path(plan.commit_hash).absolute(),
            catalogue.endpoint.url,
            filesystem,
            bytes_needed(plan, filesystem),
            problems,
        )

    def run(self) -> Receipt:
        """Do all of it, one stage after the other."""
        is_new = not os.path.lexists(self.store.workspace.root)
        if is_new and not self.settings.is_offline:
            self._cataloguer.begin()
            import_early()  # there is something to fetch
        catalogue = self.catalogue()
        plan = self.plan(catalogue)
        if not plan.files:
            self.reporter.warn(f"no file of `{plan.spec.label}` is asked for: nothing matches")
        if self.is_in_place(plan):
            return self.receipt(plan, catalogue, NOTHING_DONE)
        self.refuse_offline(plan)
        filesystem, problems = self.preflight(plan)
        if problems:
            raise refusal(plan.spec.label, problems)
        self.reporter.note(_announcement(plan, filesystem, catalogue))
        from hfaria.cache.pull_lock import hold_pull_lock  # noqa: PLC0415

        with hold_pull_lock(self.store):
            if self.request.folder is not None:
                from hfaria.cache.adoption import take_partials  # noqa: PLC0415 - rarely needed

                take_partials(self.request.folder.begun(plan.files), self.store.workspace)
            plan = self.plan(catalogue)  # another pull may just have ended
            plan, catalogue = self.with_sources(plan, catalogue)
            with self.transfers(plan, catalogue) as transfers:
                outcome = transfers.run()
            return self.finish(plan, catalogue, outcome)

    # --- before any byte -------------------------------------------------------------------------

    def catalogue(self) -> Catalogue:
        """Return the listing, from here if that is enough, else from whom it can be had."""
        return find_catalogue(self._cataloguer, self.settings, self.request.locked)

    def with_sources(self, plan: Plan, catalogue: Catalogue) -> tuple[Plan, Catalogue]:
        """Return what tells who has the bytes, if any are to be fetched."""
        if not plan.transfers or catalogue.head is not None:
            return plan, catalogue
        asked = self._cataloguer.ask()
        return self.plan(asked), asked  # its listing may be more than the one kept here

    def select(self, catalogue: Catalogue) -> tuple[RemoteFile, ...]:
        """Return the selected files, which are those that were locked, if any were."""
        files = self.request.selection.apply(catalogue.listing)
        locked = self.request.locked
        if locked is None:
            return files
        by = catalogue.listed_by
        if by is not None:
            locked.check(files, listed_by=by)
            return files
        layout = RepoLayout(self.settings.cache_dir, self.request.spec.folder_name)
        locked.check(
            files,
            listed_by=f"the listing stored in `{self.store.root}`",
            hint=f"nothing was fetched; delete `{layout.tree_file(locked.commit_hash)}` and rerun: "
            "it is listed anew",
        )
        return files

    def plan(self, catalogue: Catalogue) -> Plan:
        """Decide what is to be done, by what the destination holds now."""
        spec = self.request.spec
        listing = catalogue.listing
        files = self.select(catalogue)
        for file in files:
            device = device_name(file.path)
            if device is not None:
                raise UnsafePath(
                    f"the listing names `{file.path}`: `{device}` is a device on Windows",
                    hint=f"`--exclude '{file.path}'` pulls the rest",
                )
        view = self.store.view(files, listing.commit_hash)
        if self.request.folder is not None:
            view = self.request.folder.offer(view, files)
        return make_plan(
            spec,
            listing.commit_hash,
            files,
            view,
            ref=None if is_commit(spec.revision) else spec.revision,
            refetch=self.request.refetch,
        )

    def is_in_place(self, plan: Plan) -> bool:
        """Tell whether nothing at all is to be done."""
        return plan.is_complete and self._ref_is_right(plan)

    def refuse_offline(self, plan: Plan) -> None:
        """Raise `EndpointUnreachable` if something is missing and no request may be made."""
        if self.settings.is_offline:
            raise EndpointUnreachable(
                f"offline, and {count(len(plan.to_link), 'file')} of `{plan.spec.label}` not here",
                hint="unset HF_HUB_OFFLINE to fetch what is missing",
            )

    def preflight(
        self, plan: Plan, *, for_space: bool = True
    ) -> tuple[Filesystem, tuple[str, ...]]:
        """Describe the destination's filesystem, and why the plan can't be carried out there.

        Without ``for_space`` whoever asks sees to it that there is enough of it.
        """
        root = self.store.root
        filesystem = probe(
            root,
            allow_symlinks=self.settings.allow_symlinks,
            written_to=self.store.written_folders(),
        )
        if self.request.folder is not None and not self.request.folder.can_link:
            filesystem = replace(filesystem, has_hard_links=False)
        if plan.is_complete:
            return filesystem, filesystem.refusals
        if not for_space:
            return filesystem, (*filesystem.refusals, *find_other_problems(plan, filesystem))
        problems = find_problems(plan, filesystem, reserve=self.settings.reserve, folder=str(root))
        return filesystem, problems

    # --- bytes -----------------------------------------------------------------------------------

    @contextmanager
    def transfers(
        self,
        plan: Plan,
        catalogue: Catalogue,
        bandwidth_of: Callable[[Mover], Bandwidth] | None = None,
    ) -> Iterator[transfer.TransferRun]:
        """Make ready what the plan's transfers need, and put it away; the lock has to be held.

        ``bandwidth_of`` a mover is what holds it to a rate, where others share that rate.
        """
        if plan.transfers and catalogue.needs_token:
            patiently(
                partial(
                    check_access,
                    self.client,
                    plan.spec,
                    plan.commit_hash,
                    plan.transfers[-1],
                    catalogue.endpoint,
                ),
                policy=self.policy,
                reporter=self.reporter,
            )
        # Slow to import, and not needed where everything is in place; see `early`.
        from hfaria.workflows.engine_holder import open_mover  # noqa: PLC0415
        from hfaria.workflows.transfer import TransferRun  # noqa: PLC0415

        is_large = any(map(self.window.is_large, plan.transfers))
        with open_mover(self.settings, self.reporter, self.store, begins_now=is_large) as mover:
            needs_bytes = plan.transfers or plan.reused  # a copy may turn out to be no good
            routes = self._cataloguer.routes(catalogue) if needs_bytes else ()
            selection = self.request.selection if self.request.is_wish else None
            self.store.prepare(catalogue.listing, selection)
            yield TransferRun(
                plan=plan,
                routes=routes,
                store=self.store,
                client=self.client,
                mover=mover,
                bandwidth=(bandwidth_of or self._own_bandwidth)(mover),
                reporter=self.reporter,
                policy=self.policy,
                window=self.window,
                replace=self.request.refetch,
            )

    def _own_bandwidth(self, mover: Mover) -> Bandwidth:
        schedule = self.settings.rate_schedule
        bandwidth = Bandwidth(schedule, mover, self.client.pace, self.reporter)
        if self.on_bandwidth is not None:
            self.on_bandwidth(bandwidth)
        return bandwidth

    def finish(self, plan: Plan, catalogue: Catalogue, outcome: Outcome) -> Receipt:
        """Let the ref name the commit; raises `PartialPull` if files could not be had."""
        receipt = self.receipt(plan, catalogue, outcome)
        if not receipt.is_complete:
            raise _incomplete(receipt)
        self.store.finish(plan.commit_hash, plan.ref)
        return receipt

    def _ref_is_right(self, plan: Plan) -> bool:
        if plan.ref is None or self.request.local_dir is not None:
            return True
        return self.store.read_ref(plan.ref) == plan.commit_hash

    def receipt(self, plan: Plan, catalogue: Catalogue, outcome: Outcome) -> Receipt:
        """Say what was done."""
        failed_bytes = _failed_bytes(plan, outcome.failed)
        return Receipt(
            spec=plan.spec,
            commit_hash=plan.commit_hash,
            path=self.store.snapshot_path(plan.commit_hash).absolute(),
            files=len(plan.files),
            size=plan.size,
            bytes_fetched=outcome.bytes_fetched,
            bytes_reused=max(0, plan.size - failed_bytes - outcome.bytes_fetched),
            endpoints=outcome.endpoints,
            retries=outcome.retries,
            seconds=time.monotonic() - self.started_at,
            failed=outcome.failed,
            waits=outcome.waits,
            listing_trust=catalogue.trust,
            listing_endpoint=catalogue.listed_by,
        )


def _announcement(plan: Plan, filesystem: Filesystem, catalogue: Catalogue) -> str:
    """Say at once what will be fetched, from where, and that it fits."""
    spec = plan.spec
    files = count(len(plan.files), "file")
    lines = [f"{spec.label} at {spec.revision}, commit {plan.commit_hash[:12]}"]
    if plan.transfers:
        staged = f", {format_size(plan.partial_bytes)} staged" if plan.partial_bytes else ""
        lines.append(
            f"{files}, {format_size(plan.size)}: fetching {format_size(plan.bytes_to_fetch)} from "
            f"{catalogue.sources or catalogue.endpoint.host}{staged}"
        )
        lines.append(f"{format_size(filesystem.free_bytes)} free at the destination")
    else:
        lines.append(f"{files}, {format_size(plan.size)}: all of it is on this disk")
    return "\n".join(lines)


def refusal(what: str, problems: tuple[str, ...]) -> PreflightFailed:
    """Return the error of a preflight that found something."""
    if len(problems) == 1:
        return PreflightFailed(problems[0], problems, hint=_preflight_hint(problems))
    return PreflightFailed(
        f"`{what}` can't be pulled here, for {len(problems)} reasons",
        problems,
        hint=_preflight_hint(problems),
    )


def _preflight_hint(problems: tuple[str, ...]) -> str | None:
    if any("not enough space" in problem for problem in problems):
        return "nothing was fetched; make room, take less with `--include`, or lower `--reserve`"
    return "nothing was fetched"


def _failed_bytes(plan: Plan, failed: tuple[FailedFile, ...]) -> int:
    paths = {file.path for file in failed}
    return sum({f.blob_name: f.size for f in plan.files if f.path in paths}.values())


def _incomplete(receipt: Receipt) -> PartialPull:
    failed = receipt.failed
    first = failed[0]
    message = f"{len(failed)} of {receipt.files} files are missing: `{first.path}` ({first.reason})"
    if len(failed) > 1:
        message += ", …"
    if any(file.is_integrity for file in failed):
        return CorruptPull(message, receipt)
    return PartialPull(message, receipt)
