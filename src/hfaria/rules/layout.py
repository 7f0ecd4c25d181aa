"""Where everything goes in a Hugging Face cache. Paths are computed here and nowhere else.

The format is huggingface_hub's (its page "Understand caching", and file_download.py 2.4.0);
``.hfaria`` inside a repo folder is ours: cache scanners ignore unknown entries there, and it lies
on the filesystem of the blobs, so that `os.replace` into ``blobs/`` is atomic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag created by huggingface_hub.\n"
    "# For information about cache directory tags, see:\n"
    "#\thttps://bford.info/cachedir/\n"
)
"""Contents of CACHEDIR.TAG; the first line is prescribed by the Cache Directory Tagging spec."""


def pointer_target(path: str, blob_name: str) -> str:
    """Return the text of the symlink that a snapshot holds at ``path``."""
    return "../" * (2 + path.count("/")) + f"blobs/{blob_name}"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Our own folder beside what is published: partials, quarantine, staging."""

    root: Path

    @property
    def partials(self) -> Path:
        """Folder of the staged bytes, one file for each blob, with the engine's control files."""
        return self.root / "partial"

    @property
    def quarantine(self) -> Path:
        """Folder where bytes that failed verification wait for a look; pruned by later pulls."""
        return self.root / "quarantine"

    @property
    def staging(self) -> Path:
        """Folder for the temporary name that a link or small file has before it is replaced in."""
        return self.root / "stage"

    @property
    def mending(self) -> Path:
        """Folder of blobs that were wrong and are being mended; kept until they are right."""
        return self.root / "mending"

    @property
    def records(self) -> Path:
        """What was verified, and in which state it was then."""
        return self.root / "verified.jsonl"

    @property
    def wishes(self) -> Path:
        """Which parts of which commits were asked for."""
        return self.root / "wanted.json"

    def partial(self, blob_name: str) -> Path:
        """Staged bytes of one blob, written by the engine, possibly with holes."""
        return self.partials / blob_name

    def direct(self, blob_name: str) -> Path:
        """Staged bytes of one blob, written in order by our own client."""
        return self.partials / f"{blob_name}.direct"


@dataclass(frozen=True, slots=True)
class RepoLayout:
    """The paths of one repo in one cache."""

    cache_dir: Path
    folder_name: str

    @property
    def repo(self) -> Path:
        """The repo's folder."""
        return self.cache_dir / self.folder_name

    @property
    def blobs(self) -> Path:
        """Folder of the repo's contents, named by ETag."""
        return self.repo / "blobs"

    @property
    def snapshots(self) -> Path:
        """Folder of all snapshots."""
        return self.repo / "snapshots"

    @property
    def refs(self) -> Path:
        """Folder of the files that name a commit for a branch, tag or PR ref."""
        return self.repo / "refs"

    @property
    def workspace(self) -> Workspace:
        """Our folder in the repo's."""
        return Workspace(self.repo / ".hfaria")

    def blob(self, blob_name: str) -> Path:
        """The published bytes of one content."""
        return self.blobs / blob_name

    def snapshot(self, commit_hash: str) -> Path:
        """Folder of one snapshot."""
        return self.snapshots / commit_hash

    def pointer(self, commit_hash: str, path: str) -> Path:
        """Place of one file in a snapshot."""
        return self.snapshots / commit_hash / path

    def tree_file(self, commit_hash: str) -> Path:
        """The stored listing of one commit."""
        return self.repo / "trees" / f"{commit_hash}.json"

    def ref(self, revision: str) -> Path:
        """File that names the commit of a revision; its text has no newline."""
        return self.refs / revision

    @property
    def pull_lock(self) -> Path:
        """Held by a pull for as long as it may write partials of this repo.

        It lies with huggingface_hub's locks, which nobody deletes: a lock file that is deleted by
        its holder would let two others in.
        """
        return self.cache_dir / ".locks" / self.folder_name / "hfaria-pull.lock"

    def blob_lock(self, blob_name: str) -> Path:
        """Lock file that huggingface_hub takes too; never removed."""
        return self.cache_dir / ".locks" / self.folder_name / f"{blob_name}.lock"


@dataclass(frozen=True, slots=True)
class LocalDirLayout:
    """The paths of a plain folder with huggingface_hub's local-dir bookkeeping."""

    local_dir: Path

    @property
    def bookkeeping(self) -> Path:
        """huggingface_hub's own folder in the plain one."""
        return self.local_dir / ".cache" / "huggingface"

    @property
    def workspace(self) -> Workspace:
        """Our folder, below huggingface_hub's, so that nothing else shows in the plain one."""
        return Workspace(self.bookkeeping / "hfaria")

    @property
    def pull_lock(self) -> Path:
        """Held by a pull for as long as it may write partials here; never deleted."""
        return self.bookkeeping / "hfaria.lock"

    def file(self, path: str) -> Path:
        """The published file."""
        return self.local_dir / path

    def tree_file(self, commit_hash: str) -> Path:
        """The stored listing of one commit."""
        return self.bookkeeping / "trees" / f"{commit_hash}.json"

    def file_record(self, path: str) -> Path:
        """Three lines: commit, ETag, Unix time of writing."""
        return self.bookkeeping / "download" / f"{path}.metadata"
