"""The manifest, `hfaria.toml`: which repos an application needs. docs/reference/manifest.md."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfaria.errors import InvalidSpec, UsageError
from hfaria.rules.document import KeyFault, Table
from hfaria.rules.selection import Selection
from hfaria.rules.spec import (
    DEFAULT_REVISION,
    RepoSpec,
    RepoType,
    is_commit,
    parse_reference,
    parse_repo_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from hfaria.rules.document import KeyPath

MANIFEST_NAME = "hfaria.toml"
LOCK_NAME = "hfaria.lock"
"""Of a manifest under its own name."""
REPO_TABLE = "repo"
DEFAULTS_TABLE = "defaults"

_SHARED_KEYS = (
    "type", "revision", "include", "exclude", "priority", "groups", "endpoint", "endpoints",
)  # fmt: skip
REPO_KEYS = ("id", "variant", *_SHARED_KEYS)
"""All keys of a repo, as the reference names them."""
DEFAULTS_KEYS = _SHARED_KEYS


@dataclass(frozen=True, slots=True)
class WantedRepo:
    """One repo of a manifest: what is wanted of it, how soon, and from where.

    ``endpoints`` are names or URLs as they are written; none means those of the settings.
    """

    spec: RepoSpec
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    variant: str | None = None
    priority: int = 0
    groups: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()

    @property
    def selection(self) -> Selection:
        """What is wanted of it."""
        return Selection(self.include, self.exclude, variant=self.variant)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All repos, in the file's order; none twice at one revision."""

    repos: tuple[WantedRepo, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups, sorted."""
        return tuple(sorted({group for repo in self.repos for group in repo.groups}))

    def in_groups(self, groups: Sequence[str]) -> tuple[WantedRepo, ...]:
        """Return the repos in any of ``groups``, the most urgent first; no group means all.

        Raises `UsageError` for a group that no repo is in.
        """
        for group in groups:
            if group not in self.groups:
                known = ", ".join(self.groups)
                raise UsageError(
                    f"no repo of the manifest is in the group `{group}`",
                    hint=f"groups: {known}" if known else "no repo has `groups`",
                )
        wanted = [
            repo for repo in self.repos if not groups or not {*groups}.isdisjoint(repo.groups)
        ]
        return tuple(sorted(wanted, key=lambda repo: -repo.priority))

    def named(self, text: str) -> tuple[WantedRepo, ...]:
        """Return the repos that a user calls ``text``: an id, a label, or an `hf://` reference."""
        return tuple(repo for repo in self.repos if text in names_of(repo.spec))


def title_of(spec: RepoSpec) -> str:
    """Return how a line about several repos names one: with its revision, unless that is main."""
    if spec.revision == DEFAULT_REVISION:
        return spec.label
    revision = spec.revision[:12] if is_commit(spec.revision) else spec.revision
    return f"{spec.label}@{revision}"


def names_of(spec: RepoSpec) -> frozenset[str]:
    """Return what a user may call a repo, with or without its revision."""
    bare = {spec.repo_id, spec.label, f"{spec.plural}/{spec.repo_id}"}
    bare |= {f"hf://{name}" for name in (spec.label, f"{spec.plural}/{spec.repo_id}")}
    return frozenset(bare | {f"{name}@{spec.revision}" for name in bare})


def read_manifest(document: Mapping[str, Any]) -> Manifest:
    """Make the values of a parsed manifest; raises `KeyFault`."""
    top = Table((), document)
    top.check_keys((DEFAULTS_TABLE, REPO_TABLE))
    defaults = Table.of((DEFAULTS_TABLE,), document.get(DEFAULTS_TABLE, {}))
    defaults.check_keys(DEFAULTS_KEYS)
    common = _read_shared(defaults)
    repos: dict[RepoSpec, WantedRepo] = {}
    for table in top.tables(REPO_TABLE):
        repo = _read_repo(table, defaults, common)
        if repo.spec in repos:
            raise KeyFault(
                (*table.path, "id"),
                f"`{repo.spec.label}` at `{repo.spec.revision}` is there twice",
                hint="one `include` can hold all patterns of both",
            )
        repos[repo.spec] = repo
    return Manifest(tuple(repos.values()))


@dataclass(frozen=True, slots=True)
class _Shared:
    """What both a repo and the defaults may say; None says nothing."""

    include: tuple[str, ...] | None
    exclude: tuple[str, ...] | None
    priority: int | None
    groups: tuple[str, ...] | None
    endpoints: tuple[str, ...] | None


def _read_shared(table: Table) -> _Shared:
    single = table.text("endpoint")
    several = table.texts("endpoints")
    if single is not None and several is not None:
        raise KeyFault((*table.path, "endpoint"), "says the same as `endpoints`: keep one of them")
    return _Shared(
        include=table.texts("include"),
        exclude=table.texts("exclude"),
        priority=table.number("priority"),
        groups=table.texts("groups"),
        endpoints=(single,) if single is not None else several,
    )


def _read_repo(table: Table, defaults: Table, common: _Shared) -> WantedRepo:
    table.check_keys(REPO_KEYS)
    own = _read_shared(table)
    return WantedRepo(
        spec=_read_spec(table, defaults),
        include=_first(own.include, common.include, ()),
        exclude=_first(own.exclude, common.exclude, ()),
        variant=table.text("variant"),
        priority=own.priority if own.priority is not None else common.priority or 0,
        groups=_first(own.groups, common.groups, ()),
        endpoints=_first(own.endpoints, common.endpoints, ()),
    )


def _first(*candidates: tuple[str, ...] | None) -> tuple[str, ...]:
    return next(value for value in candidates if value is not None)


def _read_spec(table: Table, defaults: Table) -> RepoSpec:
    reference = table.needed_text("id")
    at = (*table.path, "id")
    if reference.startswith("hf://"):
        for key in ("type", "revision"):
            if key in table.values:
                raise KeyFault(
                    (*table.path, key), f"can't be used with a reference (`{reference}`)"
                )
        with _faults_at(at):
            spec, names = parse_reference(reference)
        if names:
            raise KeyFault(
                at,
                f"names a file (`{names[0]}`)",
                hint=f'name the repo alone, and the file by `include = ["{names[0]}"]`',
            )
        return spec
    repo_type = _read_type(table) or _read_type(defaults) or RepoType.MODEL
    with _faults_at(at):
        spec = RepoSpec(reference, repo_type)
    for source in (table, defaults):
        revision = source.text("revision")
        if revision is not None:
            with _faults_at((*source.path, "revision")):
                return replace(spec, revision=revision)
    return spec


def _read_type(table: Table) -> RepoType | None:
    text = table.text("type")
    if text is None:
        return None
    with _faults_at((*table.path, "type")):
        return parse_repo_type(text)


@contextmanager
def _faults_at(path: KeyPath) -> Iterator[None]:
    """Say of an unfit value which key it stands at."""
    try:
        yield
    except InvalidSpec as exc:
        raise KeyFault(path, exc.message, hint=exc.hint) from exc
