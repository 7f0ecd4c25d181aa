"""Preload: all repos of a manifest, as they are locked, in one run."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.errors import HfariaError, StoreError
from hfaria.project.lock_file import store_lock
from hfaria.report.naming import NamingReporter
from hfaria.rules.lock import LockMode, LockOutdated, make_lock
from hfaria.rules.manifest import title_of
from hfaria.rules.preflight import (
    joint_bytes_needed,
    joint_bytes_to_fetch,
    space_problem,
)
from hfaria.rules.preload import IncompletePreload, PreloadReceipt, RepoOutcome, RepoState
from hfaria.rules.sizes import count, format_size
from hfaria.workflows.access import open_client
from hfaria.workflows.lanes import Prepared
from hfaria.workflows.lock import check_agreement
from hfaria.workflows.repo_pull import NOTHING_DONE, refusal
from hfaria.workflows.repo_set import RepoSet, as_locked, lock_repo, pull_of, read_repo_set
from hfaria.workflows.tally import Tally
from hfaria.workflows.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from hfaria.hub.client import HubClient
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.lock import LockedRepo
    from hfaria.rules.manifest import WantedRepo
    from hfaria.rules.preflight import Filesystem
    from hfaria.rules.spec import RepoSpec
    from hfaria.settings import Settings

_LISTING_THREADS = 4


@dataclass(frozen=True, slots=True)
class PreloadRequest:
    """What one preload is asked to do.

    ``groups``: only repos in any of them; none means all. ``keeps_endpoints``: those of the
    settings count, whatever the manifest says.
    """

    manifest: Path
    groups: tuple[str, ...] = ()
    lock_mode: LockMode = LockMode.UPDATE
    keeps_endpoints: bool = False
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class PreloadPreview:
    """What a preload would do; nothing was written."""

    plans: tuple[Prepared, ...]
    failed: tuple[RepoOutcome, ...]
    filesystem: Filesystem | None
    bytes_to_fetch: int
    bytes_needed: int
    problems: tuple[str, ...]


def preload(request: PreloadRequest, *, settings: Settings, reporter: Reporter) -> PreloadReceipt:
    """Make every wanted repo complete at its locked commit; continue what an earlier run began.

    Raises `IncompletePreload`, which carries the receipt, if some repos are not in place at the
    end; other errors before any byte, when the whole can't be done.
    """
    repos = read_repo_set(request.manifest)
    with open_client(settings, reporter, request.token) as client:
        run = _Preload(request, repos, settings, reporter, client)
        try:
            return run.run()
        finally:
            run.close()


def preview(request: PreloadRequest, *, settings: Settings, reporter: Reporter) -> PreloadPreview:
    """Return what `preload` would do; fetches listings, writes nothing."""
    repos = read_repo_set(request.manifest)
    with open_client(settings, reporter, request.token) as client:
        run = _Preload(request, repos, settings, reporter, client)
        try:
            return run.preview()
        finally:
            run.close()


@dataclass(slots=True)
class _Preload:
    """One preload with everything it talks to."""

    request: PreloadRequest
    repos: RepoSet
    settings: Settings
    reporter: Reporter
    client: HubClient
    started_at: float = field(default_factory=time.monotonic)
    tally: Tally = field(init=False)
    _locked: dict[RepoSpec, LockedRepo] = field(default_factory=dict)
    _opened: list[Prepared] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tally = Tally(self.reporter)

    def close(self) -> None:
        """Wait for no answer any more."""
        for prepared in self._opened:
            prepared.pull.close()

    def run(self) -> PreloadReceipt:
        wanted = self._wanted()
        todo = self._without_what_is_here(self._prepare(wanted))
        self._write_lock()
        if todo:
            filesystem, todo = self._preflight(todo)
            if todo:
                self.reporter.note(self._announcement(todo, filesystem))
            Traffic(todo, self.tally, self.settings, self.client, self.reporter).run()
        receipt = self._receipt(wanted)
        if not receipt.is_complete:
            raise IncompletePreload(receipt)
        return receipt

    def preview(self) -> PreloadPreview:
        prepared = self._prepare(self._wanted())
        todo = [each for each in prepared if not each.plan.is_complete]
        problems: list[str] = []
        filesystem, needed = None, 0
        for each in todo:
            filesystem, found = each.pull.preflight(each.plan, for_space=False)
            problems += [f"{each.name}: {problem}" for problem in found]
        if filesystem is not None:
            needed = joint_bytes_needed([each.plan for each in todo], filesystem)
            problems += self._space_problem(needed, filesystem)
        return PreloadPreview(
            tuple(prepared),
            tuple(self.tally.outcomes.values()),
            filesystem,
            joint_bytes_to_fetch(each.plan for each in todo),
            needed,
            tuple(dict.fromkeys(problems)),
        )

    # --- before any byte -------------------------------------------------------------------------

    def _wanted(self) -> tuple[WantedRepo, ...]:
        """Return what is to be preloaded, the most urgent first, under the lock's rules."""
        mode = self.request.lock_mode
        wanted = self.repos.manifest.in_groups(self.request.groups)
        if mode is LockMode.LOCKED:
            check_agreement(self.repos)
        if mode is LockMode.FROZEN:
            return tuple(as_locked(each, self._must_be_locked(each)) for each in wanted)
        if not wanted:
            self.reporter.warn(f"`{self.repos.path}` names no repo")
        return wanted

    def _must_be_locked(self, wanted: WantedRepo) -> LockedRepo:
        locked = self.repos.lock.find(wanted.spec)
        if locked is None:
            raise LockOutdated(
                f"`{title_of(wanted.spec)}` is not in `{self.repos.lock_path}`, and `--frozen` "
                "takes what is locked alone"
            )
        return locked

    def _prepare(self, wanted: tuple[WantedRepo, ...]) -> list[Prepared]:
        """List and plan all repos, some at once; those that fail are remembered as failed."""
        settings = {each.spec: self._settings_for(each) for each in wanted}
        prepared: list[Prepared] = []
        pool = ThreadPoolExecutor(_LISTING_THREADS, "hfaria-list")
        try:
            futures = [pool.submit(self._prepare_one, each, settings[each.spec]) for each in wanted]
            for each, future in zip(wanted, futures, strict=True):
                try:
                    prepared.append(future.result())
                except HfariaError as exc:
                    self.tally.note_failure(each.spec, exc)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return prepared

    def _settings_for(self, wanted: WantedRepo) -> Settings:
        if self.request.keeps_endpoints:
            return self.settings
        return self.repos.settings_for(wanted, self.settings)

    def _prepare_one(self, wanted: WantedRepo, settings: Settings) -> Prepared:
        locked = self.repos.lock.find(wanted.spec)
        is_exact = locked is not None and locked.has_selection_of(wanted)
        name = title_of(wanted.spec)
        reporter = NamingReporter(self.reporter, name)
        pull = pull_of(
            wanted,
            commit_hash=None if locked is None else locked.commit_hash,
            locked=locked if is_exact else None,
            token=self.request.token,
            settings=settings,
            reporter=reporter,
            client=self.client,
        )
        catalogue = pull.catalogue()
        plan = pull.plan(catalogue)
        if not pull.is_in_place(plan):
            pull.refuse_offline(plan)
            plan, catalogue = pull.with_sources(plan, catalogue)
        if locked is None or not is_exact:
            self._locked[wanted.spec] = lock_repo(wanted, catalogue, plan.files)
        prepared = Prepared(name, pull, reporter, catalogue, plan)
        self._opened.append(prepared)
        return prepared

    def _without_what_is_here(self, prepared: list[Prepared]) -> list[Prepared]:
        todo: list[Prepared] = []
        for each in prepared:
            self.tally.note(each.spec, each.progress())
            if not each.plan.files:
                each.reporter.warn("no file is asked for: nothing matches")
            if each.pull.is_in_place(each.plan):
                receipt = each.pull.receipt(each.plan, each.catalogue, NOTHING_DONE)
                self.tally.note_end(RepoState.PRESENT, receipt)
            else:
                todo.append(each)
        return todo

    def _write_lock(self) -> None:
        """Lock what was new, and forget what the manifest does not name any more."""
        wanted = {each.spec for each in self.repos.manifest.repos}
        entries = {each.spec: each for each in self.repos.lock.repos if each.spec in wanted}
        entries.update(self._locked)
        made = make_lock(entries.values())
        if self.request.lock_mode is not LockMode.UPDATE or made == self.repos.lock:
            self.repos = self.repos.with_lock(made) if self._locked else self.repos
            return
        self.repos = self.repos.with_lock(made)
        try:
            store_lock(self.repos.lock_path, made)
        except StoreError as exc:
            self.reporter.warn(f"{exc.message}; nothing is pinned for the next run")
            return
        for locked in self._locked.values():
            self.reporter.note(
                f"{title_of(locked.spec)}: locked at commit {locked.commit_hash[:12]}"
            )

    def _preflight(self, todo: list[Prepared]) -> tuple[Filesystem, list[Prepared]]:
        """Look at the destination for all repos; one that can't be there fails by itself.

        Raises `PreflightFailed` if there is no space for all of them together, or no permission.
        """
        found = [(each, *each.pull.preflight(each.plan, for_space=False)) for each in todo]
        for each, _, problems in found:
            if problems:
                self.tally.note_failure(each.spec, refusal(each.name, problems))
        good = [each for each, _, problems in found if not problems]
        filesystem = found[0][1]
        needed = joint_bytes_needed([each.plan for each in good], filesystem)
        problems = self._space_problem(needed, filesystem)
        if problems:
            raise refusal(str(self.repos.path), problems)
        return filesystem, good

    def _space_problem(self, needed: int, filesystem: Filesystem) -> tuple[str, ...]:
        return space_problem(
            needed,
            filesystem,
            reserve=self.settings.reserve,
            folder=str(self.settings.cache_dir),
        )

    def _announcement(self, todo: list[Prepared], filesystem: Filesystem) -> str:
        """Say at once what will be fetched, from where, and that it fits."""
        plans = [each.plan for each in todo]
        to_fetch = joint_bytes_to_fetch(plans)
        shared = sum(plan.bytes_to_fetch for plan in plans) - to_fetch
        sources = dict.fromkeys(
            each.catalogue.sources or each.catalogue.endpoint.host
            for each in todo
            if each.plan.transfers
        )
        files = count(sum(len(plan.to_link) for plan in plans), "file")
        line = f"{count(len(todo), 'repo')} to do of {self.tally.listed}, {files} missing"
        if not to_fetch:
            return f"{line}: all of it is on this disk"
        once = f", {format_size(shared)} shared" if shared else ""
        return (
            f"{line}: fetching {format_size(to_fetch)} from {' and '.join(sources)}{once}\n"
            f"{format_size(filesystem.free_bytes)} free at the destination"
        )

    # --- the end ---------------------------------------------------------------------------------

    def _receipt(self, wanted: tuple[WantedRepo, ...]) -> PreloadReceipt:
        specs = [each.spec for each in wanted]
        outcomes = tuple(self.tally.outcomes[spec] for spec in specs)
        is_complete = all(outcome.is_complete for outcome in outcomes)
        return PreloadReceipt(
            manifest=self.repos.path,
            lock=self.repos.lock_path,
            repos=outcomes,
            digest=self.repos.lock.digest_of(specs) if is_complete else None,
            bytes_fetched=self.tally.bytes_fetched,
            seconds=time.monotonic() - self.started_at,
        )
