"""What goes into a bundle: resolve, pull what the cache lacks, and read it out of the cache."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.bundle.document import NO_BASE, Base, base_of_bundle, in_place_obstacle, read_card
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.inventory import parse_inventory
from hfaria.bundle.importer.names import ref_problem
from hfaria.bundle.importer.values import FileEntry, Repo
from hfaria.bundle.importer.values import Revision as BundleRevision
from hfaria.bundle.source import CacheReader, chunks, digests_of, opened
from hfaria.errors import CorruptCache, EndpointUnreachable, UnknownBase, UsageError
from hfaria.rules.bundle_plan import Entry, Revision
from hfaria.rules.carried import CarriedRepo, patterns_of
from hfaria.rules.selection import Selection
from hfaria.rules.spec import RepoSpec, RepoType, is_commit
from hfaria.workflows.pull import PullRequest, preview, pull

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hfaria.bundle.importer.values import Bundle
    from hfaria.bundle.ledger import Ledger
    from hfaria.redact import Secret
    from hfaria.report.reporter import Reporter
    from hfaria.rules.listing import RemoteFile
    from hfaria.settings import Settings

_LARGEST_CARD = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Wanted:
    """One repo at one commit, as far as it is known before its bytes are here."""

    carried: CarriedRepo
    commit: str
    files: tuple[RemoteFile, ...]
    to_fetch: int
    is_cached: bool
    problems: tuple[str, ...]

    @property
    def spec(self) -> RepoSpec:
        """The repo, at the revision that was asked for."""
        return self.carried.spec

    @property
    def size(self) -> int:
        """Bytes, each content once."""
        return sum({file.blob_name: file.size for file in self.files}.values())


@dataclass(frozen=True, slots=True)
class _WantedCommit:
    """All that is wanted of one commit, under however many names: a bundle has it once."""

    wanted: tuple[Wanted, ...]

    @property
    def first(self) -> Wanted:
        """One of them, for what they have in common."""
        return self.wanted[0]

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """What any of them selects, sorted by path."""
        files = {file.path: file for one in self.wanted for file in one.files}
        return tuple(files[path] for path in sorted(files))

    @property
    def is_everything(self) -> bool:
        """Whether the whole commit is wanted."""
        return any(one.carried.selection.is_everything for one in self.wanted)

    @property
    def patterns(self) -> dict[str, list[str]] | None:
        """Patterns by which the commit's files give these; None for all."""
        if self.is_everything:
            return None
        selections = list(dict.fromkeys(one.carried.selection for one in self.wanted))
        return patterns_of(selections, [file.path for file in self.files])


def _by_commit(wanted: Iterable[Wanted]) -> tuple[_WantedCommit, ...]:
    found: dict[tuple[str, str], list[Wanted]] = {}
    for one in wanted:
        found.setdefault((one.spec.folder_name, one.commit), []).append(one)
    return tuple(_WantedCommit(tuple(group)) for group in found.values())


@dataclass(frozen=True, slots=True)
class Sources:
    """Gets repos for one bundle."""

    settings: Settings
    reporter: Reporter
    repos: tuple[CarriedRepo, ...] = ()
    token: Secret | None = None

    @property
    def reader(self) -> CacheReader:
        """Reads the cache that pulls go to."""
        return CacheReader(self.settings.cache_dir)

    def survey(self) -> tuple[Wanted, ...]:
        """Ask what the repos hold and how much of it is cached; fetches listings alone."""
        return tuple(self._wanted(carried) for carried in self.repos)

    def _wanted(self, carried: CarriedRepo) -> Wanted:
        spec = carried.spec
        try:
            seen = preview(
                self._request(carried), settings=self._settings(carried), reporter=self.reporter
            )
        except EndpointUnreachable as exc:
            if self.settings.is_offline:
                raise
            hint = f"{exc.hint}; HF_HUB_OFFLINE=1 bundles what the cache has"
            raise EndpointUnreachable(exc.message, hint=hint) from exc
        plan = seen.plan
        if not plan.files:
            raise UsageError(f"no file of `{spec.label}` at {spec.revision} is asked for")
        return Wanted(
            carried,
            plan.commit_hash,
            plan.files,
            to_fetch=plan.bytes_to_fetch,
            is_cached=plan.is_complete,
            problems=() if plan.is_complete else seen.problems,
        )

    def fetch(self, wanted: Sequence[Wanted]) -> tuple[Wanted, ...]:
        """Pull what is not cached; a branch that moved meanwhile is taken as it is now."""
        fetched = []
        for one in wanted:
            if one.is_cached:
                fetched.append(one)
                continue
            receipt = pull(
                self._request(one.carried),
                settings=self._settings(one.carried),
                reporter=self.reporter,
            )
            if receipt.commit_hash == one.commit:
                fetched.append(replace(one, is_cached=True, to_fetch=0))
            else:
                fetched.append(self._wanted(one.carried))
        return tuple(fetched)

    def fetch_again(self, bundle: Bundle) -> None:
        """Pull what a set needs, by commit: the cache may have lost it since."""
        for repo in bundle.repos:
            known = [each for each in self.repos if each.spec.folder_name == repo.folder]
            settings = self._settings(known[0]) if known else self.settings
            for revision in repo.revisions.values():
                spec = RepoSpec(repo.repo_id, RepoType(repo.repo_type), revision.commit)
                names = () if revision.is_complete else tuple(file.path for file in revision.files)
                pull(
                    PullRequest(spec, Selection(names=names), token=self.token),
                    settings=settings,
                    reporter=self.reporter,
                )

    def _request(self, carried: CarriedRepo) -> PullRequest:
        return PullRequest(
            carried.spec,
            carried.selection,
            token=self.token,
            commit_hash=carried.commit_hash,
            locked=carried.locked,
        )

    def _settings(self, carried: CarriedRepo) -> Settings:
        if not carried.endpoints:
            return self.settings
        named_by = f"the manifest's endpoints of `{carried.spec.label}`"
        named = [(text, named_by) for text in carried.endpoints]
        return replace(self.settings, endpoints=self.settings.endpoints_named(named))

    def read(self, wanted: Sequence[Wanted]) -> tuple[Repo, ...]:
        """Turn what is cached into the repos of a bundle; small files are hashed for it."""
        repos: dict[str, Repo] = {}
        for group in _by_commit(wanted):
            spec, commit = group.first.spec, group.first.commit
            card = read_card(self._card_text(group))
            new = Repo(spec.repo_type.value, spec.repo_id, card.license, card.is_gated, {}, {})
            repo = repos.setdefault(spec.folder_name, new)
            repo.revisions[commit] = BundleRevision(
                commit,
                group.is_everything,
                group.patterns,
                tuple(self._entry(group.first, file) for file in group.files),
            )
            for one in group.wanted:
                self._carry_name(repo, one)
        return tuple(repos[folder] for folder in sorted(repos))

    def _carry_name(self, repo: Repo, wanted: Wanted) -> None:
        revision = wanted.spec.revision
        if is_commit(revision):
            return
        problem = ref_problem(revision)
        if problem:
            self.reporter.warn(f"`{revision}` is not carried as a name, only its commit: {problem}")
        else:
            repo.refs[revision] = wanted.commit

    def _entry(self, wanted: Wanted, file: RemoteFile) -> FileEntry:
        if file.sha256 is not None:
            return FileEntry(file.path, file.sha256, file.sha256, file.size)
        digests = digests_of(self._find(wanted, file), file.size)
        if not digests.match(file.blob_name):
            raise CorruptCache(
                f"`{file.path}` of `{wanted.spec.label}` has other content in the cache than its "
                "name says"
            )
        return FileEntry(file.path, file.blob_name, digests.sha256, file.size)

    def _find(self, wanted: Wanted, file: RemoteFile) -> Path:
        return self.reader.find(
            wanted.spec.folder_name,
            wanted.commit,
            file.path,
            blob_name=file.blob_name,
            size=file.size,
        )

    def _card_text(self, group: _WantedCommit) -> str:
        for file in group.files:
            if file.path == "README.md" and file.size <= _LARGEST_CARD:
                with opened(self._find(group.first, file)) as card:
                    return b"".join(chunks(card, file.size)).decode("utf-8", "replace")
        return ""


def draft_revisions(wanted: Iterable[Wanted]) -> tuple[Revision, ...]:
    """Return revisions for a first plan, contents named by blob: more is not known before a pull.

    Two blob names may stand for one content, so that this errs on the large side.
    """
    return tuple(
        Revision(
            group.first.spec.folder_name,
            group.first.commit,
            f"{group.first.spec.label} at {group.first.commit[:12]}",
            tuple(Entry(file.path, file.blob_name, file.size) for file in group.files),
            is_default=any(
                one.spec.revision == "main" or is_commit(one.spec.revision) for one in group.wanted
            ),
            obstacle=in_place_obstacle(
                group.first.spec.folder_name, [file.path for file in group.files], ()
            ),
        )
        for group in _by_commit(wanted)
    )


def draft_absent(wanted: Iterable[Wanted], base: Base) -> frozenset[str]:
    """Return the blob names that are at the target already."""
    return frozenset(
        file.blob_name
        for one in wanted
        for file in one.files
        if base.blobs.get(file.blob_name, (None, None))[0] == file.size
    )


def read_base(text: str | None, ledger: Ledger) -> Base:
    """Read ``--base``: an inventory's file, ``set:ID``, or ``none``."""
    if text is None or text == "none":
        return NO_BASE
    if text.startswith("set:"):
        set_id = ledger.find(text.removeprefix("set:"))
        if not ledger.is_acknowledged(set_id):
            raise UnknownBase(
                f"nobody confirmed that set {set_id[:8]} arrived",
                hint="type the receipt that its import printed: hfaria bundle ack HFR1-...",
            )
        return base_of_bundle(ledger.bundle(set_id))
    path = Path(text).expanduser()
    try:
        inventory = parse_inventory(path.read_bytes())
    except OSError as exc:
        raise UsageError(
            f"the inventory `{path}` can't be read: {exc.strerror}",
            hint="--base is an inventory's file, `set:ID`, or `none`",
        ) from exc
    except BundleError as exc:
        raise UsageError(f"`{path}` is no inventory: {exc.message}") from exc
    blobs = {name: (size, None) for name, size in inventory.blobs.items()}
    return Base("inventory", inventory.inventory_id, blobs)


@dataclass(slots=True)
class CachedContents:
    """Where the cache holds the contents of a set."""

    bundle: Bundle
    reader: CacheReader
    _places: dict[str, list[tuple[str, str, FileEntry]]] = field(default_factory=dict)
    _paths: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for repo in self.bundle.repos:
            for revision in repo.revisions.values():
                for file in revision.files:
                    place = (repo.folder, revision.commit, file)
                    self._places.setdefault(file.sha256, []).append(place)

    def path(self, content: str) -> Path:
        """Return the file that holds a content; raises `NotCached`."""
        found = self._paths.get(content)
        if found is None:
            folder, commit, file = self._places[content][0]
            found = self.reader.find(folder, commit, file.path, blob_name=file.etag, size=file.size)
            self._paths[content] = found
        return found

    def size(self, content: str) -> int:
        """Return a content's size."""
        return self.bundle.objects[content].size

    def label(self, content: str) -> str:
        """Return how messages name it."""
        folder, _, file = self._places[content][0]
        return f"`{file.path}` of {folder}"
