"""The lock, `hfaria.lock`: which commit each repo of a manifest is held at, and what is in it.

It is what a listing has to agree with, whoever lists it. docs/reference/manifest.md describes it.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hfaria.errors import ExitCode, IntegrityError, InvalidSpec, UsageError
from hfaria.rules.document import KeyFault, Table
from hfaria.rules.listing_digest import digest_of_files, digest_of_set, is_digest
from hfaria.rules.selection import Selection
from hfaria.rules.spec import RepoSpec, is_commit, parse_repo_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.manifest import WantedRepo


class LockMode(enum.Enum):
    """What a preload does where manifest and lock don't agree.

    ``UPDATE``: lock what is new, and write it. ``LOCKED``: refuse. ``FROZEN``: take what is locked,
    whatever the manifest selects by now.
    """

    UPDATE = "update"
    LOCKED = "locked"
    FROZEN = "frozen"


LOCK_VERSION = 1
_TIME_FORM = "%Y-%m-%dT%H:%M:%SZ"
LOCK_KEYS = (
    "id", "type", "revision", "include", "exclude", "variant", "commit", "digest", "files",
    "size", "endpoint", "locked_at",
)  # fmt: skip
_HEAD = (
    "# Which commit each repo of the manifest is held at, and a digest over its selected files.\n"
    "# Written by `hfaria lock`; keep it with the manifest, under version control.\n"
)


class LockOutdated(UsageError):
    """The manifest asks for what the lock does not hold, and the lock may not be changed."""

    hint = "`hfaria lock` brings the lock up to date with the manifest"


class LockViolated(IntegrityError):
    """What is listed for a locked commit is not what was locked."""

    exit_code = ExitCode.INTEGRITY
    hint = (
        "nothing was fetched; the endpoint's listing was altered or is not whole: ask another one "
        "with `--endpoint`"
    )


@dataclass(frozen=True, slots=True)
class LockedRepo:
    """One repo as it was found when it was locked.

    ``include``, ``exclude`` and ``variant`` are those of the manifest then: ``digest`` is over what
    they selected. ``files`` and ``size`` are of the same; equal contents are counted each time.
    """

    spec: RepoSpec
    commit_hash: str
    digest: str
    files: int
    size: int
    endpoint: str
    locked_at: datetime
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    variant: str | None = None

    @property
    def selection(self) -> Selection:
        """What was selected when it was locked."""
        return Selection(self.include, self.exclude, variant=self.variant)

    def has_selection_of(self, wanted: WantedRepo) -> bool:
        """Tell whether it was locked with what the manifest selects now."""
        return self.selection == wanted.selection

    def holds_the_same_as(self, other: LockedRepo) -> bool:
        """Tell whether both are the same commit and selection, wherever and whenever found."""
        return self == replace(other, endpoint=self.endpoint, locked_at=self.locked_at)

    def check(
        self, files: Sequence[RemoteFile], *, listed_by: str, hint: str | None = None
    ) -> None:
        """Refuse a listing whose selected files are not those that were locked."""
        digest = digest_of_files(files)
        if digest == self.digest:
            return
        size = sum(file.size for file in files)
        raise LockViolated(
            f"{listed_by} lists other files of `{self.spec.label}` at commit "
            f"{self.commit_hash[:12]} than the lock holds ({len(files)} files of {size} bytes, "
            f"locked: {self.files} of {self.size})",
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """All locked repos, sorted by type, id and revision."""

    repos: tuple[LockedRepo, ...] = ()

    def find(self, spec: RepoSpec) -> LockedRepo | None:
        """Return what is locked for a repo at a revision."""
        return next((repo for repo in self.repos if repo.spec == spec), None)

    def disagreements(self, wanted: Iterable[WantedRepo]) -> tuple[str, ...]:
        """Return, a line each, where a manifest's repos are not as they were locked.

        What is locked and no longer wanted is one, too.
        """
        return tuple(self._disagreements(list(wanted)))

    def _disagreements(self, wanted: Sequence[WantedRepo]) -> Iterator[str]:
        for repo in wanted:
            locked = self.find(repo.spec)
            name = f"`{repo.spec.label}` at `{repo.spec.revision}`"
            if locked is None:
                yield f"{name} is not locked"
            elif not locked.has_selection_of(repo):
                yield f"{name} was locked with other `include`, `exclude` or `variant`"
        specs = {repo.spec for repo in wanted}
        for locked in self.repos:
            if locked.spec not in specs:
                yield f"`{locked.spec.label}` at `{locked.spec.revision}` is locked, not wanted"

    def digest_of(self, specs: Iterable[RepoSpec]) -> str:
        """Return the one digest over some of the repos."""
        chosen = set(specs)
        return digest_of_set(
            (repo.spec, repo.commit_hash, repo.digest) for repo in self.repos if repo.spec in chosen
        )


def make_lock(repos: Iterable[LockedRepo]) -> Lock:
    """Sort what is locked, so that two locks of the same are the same text."""
    return Lock(tuple(sorted(repos, key=lambda repo: _order(repo.spec))))


def _order(spec: RepoSpec) -> tuple[str, str, str]:
    return spec.repo_type.value, spec.repo_id, spec.revision


# --- as text ---------------------------------------------------------------------------------


def serialize(lock: Lock) -> str:
    """Return the lock file's text: one key a line, so that a difference reads well."""
    tables = [_HEAD, f"version = {LOCK_VERSION}\n"]
    for repo in lock.repos:
        lines = [
            "[[repo]]",
            f"id = {_quote(repo.spec.repo_id)}",
            f"type = {_quote(repo.spec.repo_type.value)}",
            f"revision = {_quote(repo.spec.revision)}",
        ]
        for key, patterns in (("include", repo.include), ("exclude", repo.exclude)):
            if patterns:
                lines.append(f"{key} = [{', '.join(map(_quote, patterns))}]")
        if repo.variant is not None:
            lines.append(f"variant = {_quote(repo.variant)}")
        lines += [
            f"commit = {_quote(repo.commit_hash)}",
            f"digest = {_quote(repo.digest)}",
            f"files = {repo.files}",
            f"size = {repo.size}",
            f"endpoint = {_quote(repo.endpoint)}",
            f"locked_at = {repo.locked_at.astimezone(timezone.utc).strftime(_TIME_FORM)}",
        ]
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def _quote(text: str) -> str:
    # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def read_lock(document: Mapping[str, Any]) -> Lock:
    """Make the values of a parsed lock file; raises `KeyFault`."""
    top = Table((), document)
    version = top.number("version")
    if version != LOCK_VERSION:
        raise KeyFault(
            ("version",) if version is not None else (),
            f"is {version}, and this hfaria reads {LOCK_VERSION}",
            hint="another hfaria wrote it; `hfaria lock` writes it anew once it is deleted",
        )
    top.check_keys(("version", "repo"))
    repos: dict[RepoSpec, LockedRepo] = {}
    for table in top.tables("repo"):
        repo = _read_repo(table)
        if repo.spec in repos:
            raise KeyFault((*table.path, "id"), f"`{repo.spec.label}` is locked twice")
        repos[repo.spec] = repo
    return make_lock(repos.values())


def _read_repo(table: Table) -> LockedRepo:
    table.check_keys(LOCK_KEYS)
    try:
        spec = RepoSpec(
            table.needed_text("id"),
            parse_repo_type(table.needed_text("type")),
            table.needed_text("revision"),
        )
    except InvalidSpec as exc:
        raise KeyFault(table.path, exc.message, hint=exc.hint) from exc
    commit_hash, digest = table.needed_text("commit"), table.needed_text("digest")
    if not is_commit(commit_hash):
        raise KeyFault((*table.path, "commit"), "must be 40 hex digits")
    if not is_digest(digest):
        raise KeyFault((*table.path, "digest"), "must be `sha256:` and 64 hex digits")
    locked_at = table.values.get("locked_at")
    if not isinstance(locked_at, datetime):
        raise KeyFault((*table.path, "locked_at"), "must be a time, such as 2026-01-31T12:00:00Z")
    if locked_at.tzinfo is None:
        locked_at = locked_at.replace(tzinfo=timezone.utc)
    return LockedRepo(
        spec=spec,
        commit_hash=commit_hash,
        digest=digest,
        files=table.needed_number("files"),
        size=table.needed_number("size"),
        endpoint=table.needed_text("endpoint"),
        locked_at=locked_at,
        include=table.texts("include") or (),
        exclude=table.texts("exclude") or (),
        variant=table.text("variant"),
    )
