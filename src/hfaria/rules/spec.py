"""What the user asks for: a repo, its type, and a revision."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from urllib.parse import quote

from huggingface_hub.errors import HfUriError, HFValidationError
from huggingface_hub.utils import parse_hf_uri, validate_repo_id

from hfaria.errors import InvalidSpec, UsageError

DEFAULT_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UNFIT_FOR_REVISION = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|~^\ud800-\udfff]')
_URI_PREFIX = "hf://"


class RepoType(enum.Enum):
    """The kinds of repo that the Hub keeps."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"
    KERNEL = "kernel"


def parse_repo_type(text: str) -> RepoType:
    """Read a type's name; raises `InvalidSpec`."""
    try:
        return RepoType(text)
    except ValueError as exc:
        known = ", ".join(kind.value for kind in RepoType)
        raise InvalidSpec(f"`{text}` is not a repo type", hint=f"one of: {known}") from exc


def is_commit(revision: str) -> bool:
    """Tell a full commit id from everything that has to be resolved first."""
    return _COMMIT.fullmatch(revision) is not None


@dataclass(frozen=True, slots=True)
class RepoSpec:
    """A repo at a revision, as asked for.

    Raises `InvalidSpec` when made from a repo id that the Hub could not have, or from a revision
    that could not be a file name under ``refs/``.
    """

    repo_id: str
    repo_type: RepoType = RepoType.MODEL
    revision: str = DEFAULT_REVISION

    def __post_init__(self) -> None:
        try:
            validate_repo_id(self.repo_id)
        except HFValidationError as exc:
            reason = str(exc).splitlines()[0].rstrip(".")
            raise InvalidSpec(f"`{self.repo_id}` is not a repo id: {reason}") from exc
        if not _is_revision(self.revision):
            raise InvalidSpec(
                f"`{self.revision}` is not a revision",
                hint="a revision is a branch, a tag, a ref like `refs/pr/1`, or a commit",
            )

    @property
    def plural(self) -> str:
        """The type as the Hub's API paths spell it, ``models`` and so on."""
        return f"{self.repo_type.value}s"

    @property
    def folder_name(self) -> str:
        """Name of the repo's folder in a cache (huggingface_hub's `repo_folder_name`)."""
        return "--".join([self.plural, *self.repo_id.split("/")])

    @property
    def label(self) -> str:
        """How messages name the repo."""
        if self.repo_type is RepoType.MODEL:
            return self.repo_id
        return f"{self.plural}/{self.repo_id}"

    @property
    def page_path(self) -> str:
        """Path of the repo's web page below its endpoint; `resolve` hangs below it too."""
        prefix = "" if self.repo_type is RepoType.MODEL else f"{self.plural}/"
        return f"{prefix}{self.repo_id}"

    def head_path(self) -> str:
        """API path that answers with the commit of the revision."""
        return f"api/{self.plural}/{self.repo_id}/revision/{quote(self.revision, safe='')}"

    def tree_path(self, commit_hash: str) -> str:
        """API path of the listing of a commit, without its query."""
        return f"api/{self.plural}/{self.repo_id}/tree/{commit_hash}"

    def history_path(self, commit_hash: str) -> str:
        """API path of the commits up to a commit, newest first."""
        return f"api/{self.plural}/{self.repo_id}/commits/{commit_hash}"

    def resolve_path(self, commit_hash: str, path: str) -> str:
        """Path that leads to the bytes of one file."""
        return f"{self.page_path}/resolve/{commit_hash}/{quote(path)}"


def parse_folder_name(name: str) -> RepoSpec | None:
    """Return the repo whose folder in a cache is called ``name``, or None."""
    plural, _, rest = name.partition("--")
    try:
        spec = RepoSpec(rest.replace("--", "/"), RepoType(plural.removesuffix("s")))
    except (ValueError, InvalidSpec):
        return None
    return spec if spec.folder_name == name else None


def _is_revision(revision: str) -> bool:
    # A revision becomes a path below refs/, so git's own rules (git-check-ref-format) matter here.
    segments = revision.split("/")
    return (
        all(segment not in {"", ".", ".."} for segment in segments)
        and _UNFIT_FOR_REVISION.search(revision) is None
        and len(revision.encode()) <= 200  # noqa: PLR2004 - leaves room for the rest of the path
    )


def parse_reference(
    text: str,
    *,
    repo_type: RepoType | None = None,
    revision: str | None = None,
    filenames: tuple[str, ...] = (),
) -> tuple[RepoSpec, tuple[str, ...]]:
    """Read ``namespace/name`` or an ``hf://`` reference, with `hf download`'s rules.

    An ``hf://`` reference says type, revision and path itself: options that say them again are a
    `UsageError`. Returns the spec and the filenames that are asked for (none means all).
    """
    if not text.startswith(_URI_PREFIX):
        spec = RepoSpec(text, repo_type or RepoType.MODEL, revision or DEFAULT_REVISION)
        return spec, filenames
    for name, value in (("--repo-type", repo_type), ("--revision", revision)):
        if value is not None:
            raise UsageError(f"`{name}` can't be used with an `hf://` reference (`{text}`)")
    try:
        uri = parse_hf_uri(text)
    except (HfUriError, HFValidationError) as exc:
        reason = str(exc).splitlines()[0].rstrip(".")
        raise InvalidSpec(f"`{text}` is not a reference to a repo: {reason}") from exc
    if uri.is_bucket:
        raise InvalidSpec(f"`{text}` is a bucket, not a repo", hint="`hf sync` fetches buckets")
    spec = RepoSpec(uri.id, RepoType(uri.type), uri.revision or DEFAULT_REVISION)
    if not uri.path_in_repo:
        return spec, filenames
    if filenames:
        raise UsageError(
            f"the reference names a file (`{uri.path_in_repo}`) and more filenames follow",
            hint="name the repo alone, then all filenames",
        )
    # The parser strips the slash that marks a folder.
    return spec, (uri.path_in_repo + ("/" if text.endswith("/") else ""),)


def parse_pinned(text: str) -> RepoSpec:
    """Read ``[TYPE/]namespace/name[@REVISION]``, as lists of repos name them, or ``hf://…``.

    ``TYPE`` is ``models``, ``datasets``, ``spaces`` or ``kernels``.
    """
    if text.startswith(_URI_PREFIX):
        spec, names = parse_reference(text)
        if names:
            raise InvalidSpec(
                f"`{text}` names a file, not a repo", hint="`--include` chooses files"
            )
        return spec
    name, at, revision = text.partition("@")
    if at and not revision:
        raise InvalidSpec(f"`{text}` ends in @ and names no revision")
    plural, _, rest = name.partition("/")
    for kind in RepoType:
        if plural == f"{kind.value}s" and rest:
            return RepoSpec(rest, kind, revision or DEFAULT_REVISION)
    return RepoSpec(name, revision=revision or DEFAULT_REVISION)
