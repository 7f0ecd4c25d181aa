"""Repair: fetch what is wrong or missing in the cache, and nothing else."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from hfaria.cache.files import store_errors
from hfaria.cache.inventory import read_repo
from hfaria.cache.pull_lock import hold_pull_lock
from hfaria.errors import EndpointUnreachable
from hfaria.rules.receipt import PartialPull
from hfaria.rules.repairs import Repair, missing_paths, wrong_blobs
from hfaria.rules.selection import Selection
from hfaria.workflows.access import open_cache, open_cataloguer, open_client
from hfaria.workflows.mending import Mender, describe
from hfaria.workflows.pull import PullRequest, pull
from hfaria.workflows.verify import find_repos, verify_repos

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hfaria.cache.hub_cache import HubCache
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.findings import RepoFindings
    from hfaria.rules.receipt import FailedFile
    from hfaria.rules.repairs import Mended, WrongBlob
    from hfaria.rules.spec import RepoSpec
    from hfaria.rules.transfers import Route
    from hfaria.settings import Settings


def repair(
    specs: Sequence[RepoSpec],
    *,
    settings: Settings,
    reporter: Reporter,
    token: Secret | None = None,
    full: bool = False,
) -> tuple[Repair, ...]:
    """Verify repos, all of the cache if none is named, and put right what can be.

    Wrong bytes are set aside before anything else is done about them. Raises `RepoNotFound`, and
    what a pull raises; after any error the same call goes on.
    """
    found = verify_repos(find_repos(specs, settings.cache_dir), full=full, reporter=reporter)
    return tuple(
        _RepoRepair(each, settings, reporter, token).run()
        if each.is_wrong or each.is_incomplete
        else Repair(each.repo, each)
        for each in found
    )


class _RepoRepair:
    """One repo with everything its repair needs."""

    def __init__(
        self, found: RepoFindings, settings: Settings, reporter: Reporter, token: Secret | None
    ) -> None:
        self.found = found
        self.spec = found.repo.spec
        self.settings = settings
        self.reporter = reporter
        self.token = token
        self.store = open_cache(self.spec, settings)

    def run(self) -> Repair:
        """Mend, then pull what is missing, then look again."""
        paths, unasked = missing_paths(self.found)
        mended = self._mend()
        files, fetched, failed = self._pull(paths, {each.path for each in mended})
        repo = read_repo(self.settings.cache_dir, self.spec)
        if repo is None:
            raise AssertionError(self.spec)
        (after,) = verify_repos([repo], full=False, reporter=self.reporter)
        return Repair(
            repo=repo,
            before=self.found,
            mended=mended,
            files_fetched=files,
            bytes_fetched=fetched + sum(each.bytes_fetched for each in mended),
            failed=failed,
            unasked=unasked,
            after=after,
        )

    # --- wrong bytes -----------------------------------------------------------------------------

    def _mend(self) -> tuple[Mended, ...]:
        with ExitStack() as stack:
            client = stack.enter_context(open_client(self.settings, self.reporter, self.token))
            mender = Mender(self.spec, self.store, client, self.reporter)
            blobs = wrong_blobs(self.found, mender.waiting(), use_symlinks=self.store.use_symlinks)
            if not blobs:
                return ()
            if self.settings.is_offline:
                raise EndpointUnreachable(
                    f"offline, and `{self.spec.label}` has wrong bytes",
                    hint="unset HF_HUB_OFFLINE to put them right",
                )
            # Who can help is found out first: without anybody nothing is changed.
            routes = {
                commit: self._routes(stack, mender, commit)
                for commit in dict.fromkeys(blob.files[0][0] for blob in blobs if blob.files)
            }
            stack.enter_context(hold_pull_lock(self.store))
            done = [self._mend_one(mender, blob, routes) for blob in blobs]
            mender.tidy()
            return tuple(mended for mended in done if mended is not None)

    def _routes(self, stack: ExitStack, mender: Mender, commit: str) -> tuple[Route, ...]:
        cataloguer = stack.enter_context(
            open_cataloguer(
                replace(self.spec, revision=commit),
                store=self.store,
                client=mender.client,
                settings=self.settings,
                reporter=self.reporter,
            )
        )
        return cataloguer.routes(cataloguer.ask())

    def _mend_one(
        self, mender: Mender, blob: WrongBlob, routes: dict[str, tuple[Route, ...]]
    ) -> Mended | None:
        aside = mender.set_aside(blob)
        mended = None
        if blob.files:
            with store_errors("mending"):
                mended = mender.mend(blob, aside, routes[blob.files[0][0]])
        if mended is None:
            _quarantine(self.store, aside)
            what = "fetching it anew" if blob.files else "no listing knows it"
            self.reporter.note(f"`{blob.label}`: set aside; {what}")
        else:
            self.reporter.note(describe(mended))
        return mended

    # --- missing files ---------------------------------------------------------------------------

    def _pull(
        self, paths: dict[str, tuple[str, ...]], mended: set[str]
    ) -> tuple[int, int, tuple[FailedFile, ...]]:
        files = fetched = 0
        failed: list[FailedFile] = []
        for commit, names in paths.items():
            wanted = tuple(name for name in names if name not in mended)
            if not wanted:
                continue
            request = PullRequest(
                replace(self.spec, revision=commit),
                Selection(names=wanted),
                token=self.token,
                is_wish=False,
            )
            try:
                receipt = pull(request, settings=self.settings, reporter=self.reporter)
            except PartialPull as exc:
                receipt = exc.receipt
                failed += receipt.failed
            files += receipt.files - len(receipt.failed)
            fetched += receipt.bytes_fetched
        return files, fetched, tuple(failed)


def _quarantine(store: HubCache, aside: Path) -> None:
    """Give up on what was set aside; the next pull that ends well deletes it."""
    folder = store.workspace.quarantine
    with store_errors("setting aside"):
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(aside, folder / aside.name)  # noqa: PTH105 - the atomic one, by its name
