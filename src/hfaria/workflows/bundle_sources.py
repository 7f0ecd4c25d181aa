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

    spec: RepoSpec
    commit: str
    files: tuple[RemoteFile, ...]
    to_fetch: int
    is_cached: bool
    problems: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes, each content once."""
        return sum({file.blob_name: file.size for file in self.files}.values())


@dataclass(frozen=True, slots=True)
class Sources:
    """Gets repos for one bundle."""

    settings: Settings
    reporter: Reporter
    selection: Selection
    token: Secret | None = None

    @property
    def reader(self) -> CacheReader:
        """Reads the cache that pulls go to."""
        return CacheReader(self.settings.cache_dir)

    def survey(self, specs: Sequence[RepoSpec]) -> tuple[Wanted, ...]:
        """Ask what the repos hold and how much of it is cached; fetches listings alone."""
        return tuple(self._wanted(spec) for spec in specs)

    def _wanted(self, spec: RepoSpec) -> Wanted:
        try:
            seen = preview(self._request(spec), settings=self.settings, reporter=self.reporter)
        except EndpointUnreachable as exc:
            if self.settings.is_offline:
                raise
            hint = f"{exc.hint}; HF_HUB_OFFLINE=1 bundles what the cache has"
            raise EndpointUnreachable(exc.message, hint=hint) from exc
        plan = seen.plan
        if not plan.files:
            raise UsageError(f"no file of `{spec.label}` at {spec.revision} is asked for")
        return Wanted(
            spec,
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
            receipt = pull(self._request(one.spec), settings=self.settings, reporter=self.reporter)
            if receipt.commit_hash == one.commit:
                fetched.append(replace(one, is_cached=True, to_fetch=0))
            else:
                fetched.append(self._wanted(one.spec))
        return tuple(fetched)

    def fetch_again(self, bundle: Bundle) -> None:
        """Pull what a set needs, by commit: the cache may have lost it since."""
        for repo in bundle.repos:
            for revision in repo.revisions.values():
                spec = RepoSpec(repo.repo_id, RepoType(repo.repo_type), revision.commit)
                patterns = revision.patterns or {}
                selection = Selection(
                    tuple(patterns.get("include", ())), tuple(patterns.get("exclude", ()))
                )
                pull(
                    PullRequest(spec, selection, token=self.token),
                    settings=self.settings,
                    reporter=self.reporter,
                )

    def _request(self, spec: RepoSpec) -> PullRequest:
        return PullRequest(spec, self.selection, token=self.token)

    def read(self, wanted: Sequence[Wanted]) -> tuple[Repo, ...]:
        """Turn what is cached into the repos of a bundle; small files are hashed for it."""
        repos: dict[str, Repo] = {}
        for one in wanted:
            spec = one.spec
            revision = BundleRevision(
                one.commit,
                self.selection.is_everything,
                self._patterns(),
                tuple(self._entry(one, file) for file in one.files),
            )
            card = read_card(self._card_text(one))
            new = Repo(spec.repo_type.value, spec.repo_id, card.license, card.is_gated, {}, {})
            repo = repos.setdefault(spec.folder_name, new)
            repo.revisions[one.commit] = revision
            if is_commit(spec.revision):
                continue
            problem = ref_problem(spec.revision)
            if problem:
                self.reporter.warn(
                    f"`{spec.revision}` is not carried as a name, only its commit: {problem}"
                )
            else:
                repo.refs[spec.revision] = one.commit
        return tuple(repos[folder] for folder in sorted(repos))

    def _patterns(self) -> dict[str, list[str]] | None:
        if self.selection.is_everything:
            return None
        return {"include": list(self.selection.include), "exclude": list(self.selection.exclude)}

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

    def _card_text(self, wanted: Wanted) -> str:
        for file in wanted.files:
            if file.path == "README.md" and file.size <= _LARGEST_CARD:
                with opened(self._find(wanted, file)) as card:
                    return b"".join(chunks(card, file.size)).decode("utf-8", "replace")
        return ""


def draft_revisions(wanted: Iterable[Wanted]) -> tuple[Revision, ...]:
    """Return revisions for a first plan, contents named by blob: more is not known before a pull.

    Two blob names may stand for one content, so that this errs on the large side.
    """
    seen: dict[str, Revision] = {}
    for one in wanted:
        folder = one.spec.folder_name
        revision = Revision(
            folder,
            one.commit,
            f"{one.spec.label} at {one.commit[:12]}",
            tuple(Entry(file.path, file.blob_name, file.size) for file in one.files),
            is_default=one.spec.revision == "main" or is_commit(one.spec.revision),
            obstacle=in_place_obstacle(folder, [file.path for file in one.files], ()),
        )
        known = seen.get(revision.key)
        if known is None or revision.is_default:
            seen[revision.key] = revision
    return tuple(seen.values())


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
