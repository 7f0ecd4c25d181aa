"""One digest over the files that were selected of a listing, and one over a set of repos.

The canonical form is documented in docs/reference/manifest.md, so that anybody can compute it
again: it may never change without a new name for it.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfaria.rules.listing import RemoteFile
    from hfaria.rules.spec import RepoSpec

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Tell whether ``text`` has the form of a digest made here."""
    return _DIGEST.fullmatch(text) is not None


def digest_of_files(files: Iterable[RemoteFile]) -> str:
    """Return the digest over paths, sizes and contents of files, in whatever order they come.

    Each file is its digest, its size in decimal and its path, with a space between and a NUL after
    it; sorted by path. A path can hold everything but a NUL.
    """
    whole = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        whole.update(f"{file.blob_name} {file.size} {file.path}\0".encode())
    return f"sha256:{whole.hexdigest()}"


def digest_of_set(repos: Iterable[tuple[RepoSpec, str, str]]) -> str:
    """Return the digest over repos, each with its commit and the digest over its files.

    Each repo is its type and id, its commit and that digest, with a space between and a newline
    after it; sorted, and what is the same in all of it once. What a revision is called is no part.
    """
    lines = {
        f"{spec.plural}/{spec.repo_id} {commit_hash} {digest}\n"
        for spec, commit_hash, digest in repos
    }
    return f"sha256:{hashlib.sha256(''.join(sorted(lines)).encode()).hexdigest()}"
