"""Pull: from a repo name to verified files in a cache or a plain folder."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from hfaria.cache.adoption import take_partials
from hfaria.cache.filesystem import probe
from hfaria.cache.store import hold_pull_lock
from hfaria.engine.bridge import Bridge
from hfaria.engine.mover import Mover
from hfaria.errors import EndpointUnreachable, PreflightFailed, UnsafePath
from hfaria.hub.access import check_access
from hfaria.rules.plan import Plan, make_plan
from hfaria.rules.preflight import Filesystem, bytes_needed, device_name, find_problems
from hfaria.rules.receipt import CorruptPull, FailedFile, PartialPull, Receipt
from hfaria.rules.retry import RetryPolicy
from hfaria.rules.selection import Selection
from hfaria.rules.sizes import count, format_size
from hfaria.rules.spec import is_commit
from hfaria.rules.window import Window
from hfaria.workflows.access import find_catalogue, open_cataloguer, open_client, open_store
from hfaria.workflows.bandwidth import Bandwidth
from hfaria.workflows.engine_holder import EngineHolder
from hfaria.workflows.patience import patiently
from hfaria.workflows.transfer import Outcome, TransferRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfaria.cache.store import Store
    from hfaria.hub.client import HubClient
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.adoption import Folder
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings
    from hfaria.workflows.catalogue import Catalogue, Cataloguer


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What one pull is asked to do."""

    spec: RepoSpec
    selection: Selection = field(default_factory=Selection)
    local_dir: Path | None = None
    refetch: bool = False
    """Fetch also what is published already, and replace it."""
    token: Secret | None = None
    is_wish: bool = True
    """Whether the selection is what the user wants of the commit, which is remembered."""
    folder: Folder | None = None
    """A folder of another tool's, of which is taken what is right."""
    ref: str | None = None
    """The ref to write, where the spec names a commit."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan that was not carried out, with what the destination would say to it."""

    plan: Plan
    path: Path
    endpoint: str
    filesystem: Filesystem
    bytes_needed: int
    problems: tuple[str, ...]


def pull(request: PullRequest, *, settings: Settings, reporter: Reporter) -> Receipt:
    """Fetch, verify and publish what ``request`` names; continue what an earlier run began.

    Raises an `HfariaError`; after any of them, and after a crash, the same call goes on where this
    one stopped. Files that could not be had are told by `PartialPull`, which carries the receipt.
    """
    with _session(request, settings, reporter) as session:
        return session.pull()


def preview(request: PullRequest, *, settings: Settings, reporter: Reporter) -> Preview:
    """Return what `pull` would do; fetches the listing, writes nothing."""
    with _session(request, settings, reporter) as session:
        return session.preview()


@contextmanager
def _session(request: PullRequest, settings: Settings, reporter: Reporter) -> Iterator[_Session]:
    may_link_hard = request.folder is None or request.folder.can_link
    store = open_store(request.spec, settings, request.local_dir, may_link_hard=may_link_hard)
    with (
        open_client(settings, reporter, request.token) as client,
        open_cataloguer(
            request.spec, store=store, client=client, settings=settings, reporter=reporter
        ) as cataloguer,
    ):
        policy = RetryPolicy.for_patience(settings.patience_seconds)
        yield _Session(request, settings, reporter, client, store, cataloguer, policy)


@dataclass(frozen=True, slots=True)
class _Session:
    """One pull with everything it talks to."""

    request: PullRequest
    settings: Settings
    reporter: Reporter
    client: HubClient
    store: Store
    cataloguer: Cataloguer
    policy: RetryPolicy
    started_at: float = field(default_factory=time.monotonic)

    def preview(self) -> Preview:
        catalogue = find_catalogue(self.cataloguer, self.settings)
        plan = self._plan(catalogue)
        filesystem, problems = self._preflight(plan)
        return Preview(
            plan,
            self.store.snapshot_path(plan.commit_hash).absolute(),
            catalogue.endpoint.url,
            filesystem,
            bytes_needed(plan, filesystem),
            problems,
        )

    def pull(self) -> Receipt:
        catalogue = find_catalogue(self.cataloguer, self.settings)
        plan = self._plan(catalogue)
        if not plan.files:
            self.reporter.warn(f"no file of `{plan.spec.label}` is asked for: nothing matches")
        if plan.is_complete and self._ref_is_right(plan):
            return self._receipt(plan, catalogue, Outcome((), 0, 0, ()))
        if self.settings.is_offline:
            raise EndpointUnreachable(
                f"offline, and {count(len(plan.to_link), 'file')} of `{plan.spec.label}` not here",
                hint="unset HF_HUB_OFFLINE to fetch what is missing",
            )
        filesystem, problems = self._preflight(plan)
        if problems:
            raise _refusal(plan, problems)
        self.reporter.note(_announcement(plan, filesystem, catalogue))
        with hold_pull_lock(self.store):
            if self.request.folder is not None:
                take_partials(self.request.folder.begun(plan.files), self.store.workspace)
            plan = self._plan(catalogue)  # another pull may just have ended
            if plan.transfers and catalogue.head is None:
                catalogue = self.cataloguer.ask()
                plan = self._plan(catalogue)  # its listing may be more than the one kept here
            return self._carry_out(plan, catalogue)

    def _carry_out(self, plan: Plan, catalogue: Catalogue) -> Receipt:
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
        window = Window(jobs=self.settings.jobs, connections=self.settings.connections)
        engine = EngineHolder(self.settings, self.reporter, self.store)
        if any(map(window.is_large, plan.transfers)):
            engine.check()
        needs_bytes = plan.transfers or plan.reused  # a copy may turn out to be no good
        routes = self.cataloguer.routes(catalogue) if needs_bytes else ()
        self.store.prepare(
            catalogue.listing, self.request.selection if self.request.is_wish else None
        )
        with ExitStack() as stack:
            stack.callback(engine.close)
            bridge = Bridge(ca_bundle=self.settings.engine_ca_bundle)
            stack.callback(bridge.close)
            mover = Mover(
                partials=self.store.workspace.partials.absolute(),
                start=engine.start,
                connections=self.settings.connections,
                scope=str(self.store.workspace.root.absolute()),
                bridge=bridge if self.settings.proxies.need_bridge else None,
            )
            run = TransferRun(
                plan=plan,
                routes=routes,
                store=self.store,
                client=self.client,
                mover=mover,
                bandwidth=Bandwidth(
                    self.settings.rate_schedule, mover, self.client.pace, self.reporter
                ),
                reporter=self.reporter,
                policy=self.policy,
                window=window,
                replace=self.request.refetch,
            )
            outcome = run.run()
            engine.close(is_idle=True)
        receipt = self._receipt(plan, catalogue, outcome)
        if not receipt.is_complete:
            raise _incomplete(receipt)
        self.store.finish(plan.commit_hash, plan.ref)
        return receipt

    def _plan(self, catalogue: Catalogue) -> Plan:
        spec = self.request.spec
        listing = catalogue.listing
        files = self.request.selection.apply(listing)
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
            ref=self.request.ref if is_commit(spec.revision) else spec.revision,
            refetch=self.request.refetch,
        )

    def _ref_is_right(self, plan: Plan) -> bool:
        if plan.ref is None or self.request.local_dir is not None:
            return True
        return self.store.read_ref(plan.ref) == plan.commit_hash

    def _preflight(self, plan: Plan) -> tuple[Filesystem, tuple[str, ...]]:
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
        problems = find_problems(plan, filesystem, reserve=self.settings.reserve, folder=str(root))
        return filesystem, problems

    def _receipt(self, plan: Plan, catalogue: Catalogue, outcome: Outcome) -> Receipt:
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


def _refusal(plan: Plan, problems: tuple[str, ...]) -> PreflightFailed:
    if len(problems) == 1:
        return PreflightFailed(problems[0], problems, hint=_preflight_hint(problems))
    return PreflightFailed(
        f"`{plan.spec.label}` can't be pulled here, for {len(problems)} reasons",
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
