"""Verify: compare what the cache holds with its own listings, without any request."""

from __future__ import annotations

import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hfaria.cache import records
from hfaria.cache.digest import file_digest
from hfaria.cache.inventory import read_cache, read_repo
from hfaria.errors import RepoNotFound, UsageError
from hfaria.project.lock_file import load_lock
from hfaria.rules.findings import Content, Finding, RepoFindings, contents, judge
from hfaria.rules.held import hold_to_lock
from hfaria.rules.layout import RepoLayout
from hfaria.rules.listing import is_blob_name
from hfaria.rules.progress import Progress, RateMeter
from hfaria.rules.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hfaria.report.reporter import Reporter
    from hfaria.rules.inventory import RepoOnDisk
    from hfaria.rules.lock import LockedRepo
    from hfaria.rules.spec import RepoSpec

_SHOW_SECONDS = 0.2
_RECORDS_AT_ONCE = 64


def verify(
    specs: Sequence[RepoSpec], *, cache_dir: Path, full: bool, reporter: Reporter
) -> tuple[RepoFindings, ...]:
    """Verify repos of a cache, all of them if none is named.

    A file that is in the state in which it was verified before isn't read again, unless ``full``.
    What was found right is recorded, and nothing else is written. Raises `RepoNotFound`.
    """
    repos = find_repos(specs, cache_dir)
    return verify_repos(repos, full=full, reporter=reporter)


def verify_lock(
    lock_path: Path,
    specs: Sequence[RepoSpec],
    *,
    cache_dir: Path,
    full: bool,
    reporter: Reporter,
) -> tuple[RepoFindings, ...]:
    """Verify what a lock holds, or the named repos of it; nothing else of the cache counts.

    Raises `UsageError` if there is no lock, or nothing in it of a repo that is named.
    """
    lock = load_lock(lock_path)
    if lock is None:
        raise UsageError(f"there is no lock at `{lock_path}`", hint="`hfaria lock` writes one")
    named = {spec.folder_name for spec in specs}
    groups: dict[str, list[LockedRepo]] = {}
    for locked in lock.repos:
        if not named or locked.spec.folder_name in named:
            groups.setdefault(locked.spec.folder_name, []).append(locked)
    for spec in specs:
        if spec.folder_name not in groups:
            raise UsageError(f"`{spec.label}` is not in the lock `{lock_path}`")
    repos = []
    amiss: dict[Path, tuple[Finding, ...]] = {}
    for locked_repos in groups.values():
        repo, found = hold_to_lock(
            read_repo(cache_dir, locked_repos[0].spec), locked_repos, cache_dir=cache_dir
        )
        repos.append(repo)
        amiss[repo.folder] = found
    return tuple(
        replace(each, findings=(*amiss[each.repo.folder], *each.findings))
        for each in verify_repos(repos, full=full, reporter=reporter)
    )


def find_repos(specs: Sequence[RepoSpec], cache_dir: Path) -> tuple[RepoOnDisk, ...]:
    """Return repos of a cache, all of them if none is named; raises `RepoNotFound`."""
    if not specs:
        return tuple(read_cache(cache_dir))
    found = []
    for spec in specs:
        repo = read_repo(cache_dir, spec)
        if repo is None:
            raise RepoNotFound(
                f"`{spec.label}` is not in the cache `{cache_dir}`",
                hint="`hfaria ls` shows what is; `--dest` names another cache",
            )
        found.append(repo)
    return tuple(found)


def verify_repos(
    repos: Iterable[RepoOnDisk], *, full: bool, reporter: Reporter
) -> tuple[RepoFindings, ...]:
    """Verify repos that were read just now, all at once."""
    checks = [_Check(repo, contents(repo), full=full) for repo in repos]
    hashing = _Hashing([(check, content) for check in checks for content in check.to_hash])
    hashing.run(reporter)
    return tuple(check.findings() for check in checks)


class _Check:
    """One repo while it is verified."""

    def __init__(self, repo: RepoOnDisk, found: Sequence[Content], *, full: bool) -> None:
        self.repo = repo
        self.found = found
        self.wrong: dict[str, str] = {}
        self.to_hash: list[Content] = []
        self._new: list[Record] = []
        for content in found:
            record = repo.records.get(content.place)
            if content.has_wrong_size:
                self.wrong[content.place] = f"{content.state.size} bytes instead of {content.size}"
            elif full or record is None or not record.is_about(content.blob_name, content.state):
                self.to_hash.append(content)

    def take_in(self, content: Content, digest: str, marks: Sequence[str]) -> None:
        """Note the digest of one file, or why there is none."""
        if digest != content.blob_name:
            is_digest = is_blob_name(digest)
            name = content.blob_name[:12]
            self.wrong[content.place] = (
                f"expected {name}, got {digest[:12]}" if is_digest else digest
            )
            return
        # The state is the one from before the reading: who writes meanwhile gets no record.
        self._new.append(
            Record(content.place, content.blob_name, content.state, time.time(), tuple(marks))
        )
        if len(self._new) >= _RECORDS_AT_ONCE:
            self._write()

    def findings(self) -> RepoFindings:
        """Return what was found."""
        self._write()
        hashed = sum(content.state.size for content in self.to_hash)
        return RepoFindings(
            repo=self.repo,
            findings=judge(self.repo, self.wrong),
            files=len(self.found),
            bytes_hashed=hashed,
            bytes_unchanged=sum(c.state.size for c in self.found if not c.has_wrong_size) - hashed,
        )

    def _write(self) -> None:
        records.append(
            RepoLayout(self.repo.folder.parent, self.repo.folder.name).workspace, self._new
        )
        self._new = []


@dataclass(slots=True)
class _Hashing:
    """Hashes files on all cores, the largest first, so that none is left alone at the end."""

    work: list[tuple[_Check, Content]]
    _bytes_done: dict[int, int] = field(default_factory=dict)
    """By thread, so that none waits for a lock."""
    _answers: queue.SimpleQueue[tuple[_Check, Content, str, list[str]] | BaseException] = field(
        default_factory=queue.SimpleQueue
    )
    _is_cancelled: bool = False

    def run(self, reporter: Reporter) -> None:
        """Hash everything; raises what isn't about one file."""
        if not self.work:
            return
        self.work.sort(key=lambda pair: -pair[1].state.size)
        size = sum(content.state.size for _, content in self.work)
        rate = RateMeter()
        done = 0
        with ThreadPoolExecutor(min(len(self.work), _cores()), "hfaria-hash") as pool:
            for number, (check, content) in enumerate(self.work):
                pool.submit(self._hash, number, check, content)
            try:
                while done < len(self.work):
                    try:
                        answer = self._answers.get(timeout=_SHOW_SECONDS)
                    except queue.Empty:
                        held = sum(list(self._bytes_done.values()))
                        now = rate.add(time.monotonic(), held)
                        reporter.show(Progress(done, len(self.work), held, size, now))
                        continue
                    if isinstance(answer, BaseException):
                        raise answer
                    check, content, digest, marks = answer
                    check.take_in(content, digest, marks)
                    done += 1
            finally:
                self._is_cancelled = True
                pool.shutdown(wait=True, cancel_futures=True)

    def _hash(self, number: int, check: _Check, content: Content) -> None:
        marks: list[str] = []

        def on_bytes(count: int) -> None:
            self._bytes_done[number] = self._bytes_done.get(number, 0) + count

        try:
            digest = file_digest(
                check.repo.folder / content.place,
                blob_name=content.blob_name,
                is_cancelled=lambda: self._is_cancelled,
                on_bytes=on_bytes,
                marks=marks,
            )
        except InterruptedError:
            return
        except OSError as exc:
            self._answers.put((check, content, f"unreadable: {exc.strerror}", []))
        except BaseException as exc:  # noqa: BLE001 - raised again by the loop
            self._answers.put(exc)
        else:
            self._answers.put((check, content, digest, marks))


def _cores() -> int:
    """Return how many cores this process may use, which in a container are not all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
