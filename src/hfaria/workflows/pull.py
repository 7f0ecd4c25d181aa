"""Pull: from a repo name to verified files in a cache or a plain folder."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hfaria.workflows.access import open_client
from hfaria.workflows.repo_pull import Preview, PullRequest, RepoPull

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfaria.report.reporter import Reporter
    from hfaria.rules.receipt import Receipt
    from hfaria.settings import Settings

__all__ = ["Preview", "PullRequest", "preview", "pull"]


def pull(request: PullRequest, *, settings: Settings, reporter: Reporter) -> Receipt:
    """Fetch, verify and publish what ``request`` names; continue what an earlier run began.

    Raises an `HfariaError`; after any of them, and after a crash, the same call goes on where this
    one stopped. Files that could not be had are told by `PartialPull`, which carries the receipt.
    """
    with _repo_pull(request, settings, reporter) as repo_pull:
        return repo_pull.run()


def preview(request: PullRequest, *, settings: Settings, reporter: Reporter) -> Preview:
    """Return what `pull` would do; fetches the listing, writes nothing."""
    with _repo_pull(request, settings, reporter) as repo_pull:
        return repo_pull.preview()


@contextmanager
def _repo_pull(request: PullRequest, settings: Settings, reporter: Reporter) -> Iterator[RepoPull]:
    with open_client(settings, reporter, request.token) as client:
        repo_pull = RepoPull(request, settings=settings, reporter=reporter, client=client)
        try:
            yield repo_pull
        finally:
            repo_pull.close()
