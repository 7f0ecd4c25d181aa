"""What an import has to bring, and whether it can: the checks before the first byte."""

from __future__ import annotations

from hfaria.bundle.importer.console import size_text
from hfaria.bundle.importer.errors import DESTINATION, POLICY, BundleError
from hfaria.bundle.importer.filesystem import disk_space
from hfaria.bundle.importer.format import FAT32_LARGEST_FILE, MOST_INT
from hfaria.bundle.importer.holdings import cached_files
from hfaria.bundle.importer.store import RepoStore
from hfaria.bundle.importer.taking import is_right_at
from hfaria.bundle.importer.values import FileEntry, Repo, Revision, files_of
from hfaria.bundle.importer.work import Import, Want

REHASHED_BYTES = 16 << 20  # smaller files that lie in a snapshot are compared by content


def survey(work: Import) -> dict[str, list[Want]]:
    """Find what each repo lacks, and what else the cache holds of it."""
    wanted = {file.etag for repo in work.repos for file in files_of(repo)}
    for name in work.cache.repo_names():
        for etag, _, place in cached_files(work.cache, name):
            if etag in wanted:
                work.elsewhere.setdefault(etag, []).append(place)
    return {repo.folder: _lacking(work, repo) for repo in work.repos}


def _lacking(work: Import, repo: Repo) -> list[Want]:
    wants: dict[str, Want] = {}
    with RepoStore(work.cache, repo, make=False) as store:
        for revision in repo.revisions.values():
            for file in revision.files:
                if file.etag not in wants and not _is_here(work, store, revision, file):
                    wants[file.etag] = Want(file.etag, file.sha256, file.size)
    return sorted(wants.values(), key=lambda want: (-want.size, want.sha256))


def _is_here(work: Import, store: RepoStore, revision: Revision, file: FileEntry) -> bool:
    rehash = work.options.rehash
    most = MOST_INT if rehash else REHASHED_BYTES
    is_here = store.is_here(revision.commit, file, rehash_below=most)
    return is_here and (not rehash or _is_sound(work, store, file))


def _is_sound(work: Import, store: RepoStore, file: FileEntry) -> bool:
    """Hash a blob that is in the cache (`--rehash-existing`)."""
    found = store.cache.blob(store.repo.folder, store.blobs, file.etag) if store.blobs else None
    if found is None or found[0] in work.verified:
        return True
    is_sound = is_right_at(work, found[0], Want(file.etag, file.sha256, file.size))
    if not is_sound:
        work.console.say(f"blob {file.etag} of {store.repo.label} is damaged: it is replaced")
    return is_sound


def check_prerequisites(work: Import, plan: dict[str, list[Want]]) -> None:
    """Refuse a bundle that adds to what is not here. Raises `BundleError` E-PREREQ."""
    requires = work.bundle.requires
    lacking = [
        want
        for wants in plan.values()
        for want in wants
        if want.sha256 in requires and work.found_elsewhere(want) is None
    ]
    if lacking:
        base = f" ({work.bundle.base_kind} {work.bundle.base_id})" if work.bundle.base_id else ""
        listed = ", ".join(sorted(want.sha256[:12] for want in lacking)[:5])
        raise BundleError(
            "E-PREREQ",
            POLICY,
            f"this bundle adds to files that are not in {work.options.cache}: {len(lacking)} "
            f"missing ({listed}{', ...' if len(lacking) > 5 else ''}); it was made against "
            f"what this machine was said to have{base}",
            "ask for a bundle made with --base none, or import the earlier one first",
        )


def check_space(work: Import, plan: dict[str, list[Want]]) -> None:
    """Count what will be written. Raises `BundleError` where the disk can't hold it."""
    filesystem = work.cache.filesystem
    needed, seen = 0, set()
    for repo in work.repos:
        uses: dict[str, int] = {}
        for file in files_of(repo):
            uses[file.etag] = uses.get(file.etag, 0) + 1
        with RepoStore(work.cache, repo, make=False) as store:
            for want in plan[repo.folder]:
                is_free = _costs_no_space(work, want) or want.sha256 in seen
                copies = 0 if is_free and filesystem.has_hardlinks else 1
                if not filesystem.has_symlinks and not filesystem.has_hardlinks:
                    copies += uses[want.etag] - 1
                seen.add(want.sha256)
                needed += copies * want.size - min(copies, 1) * store.staged_bytes(want)
    total, free = disk_space(work.options.cache)
    reserve = work.options.reserve
    reserve = max(1 << 30, total // 100) if reserve is None else reserve
    work.bytes_needed = needed
    if needed and needed + reserve > free:
        raise BundleError(
            "E-SPACE",
            DESTINATION,
            f"{work.options.cache} needs {size_text(needed)} + {size_text(reserve)} reserve, "
            f"has {size_text(free)}; nothing was copied",
            "free space, name one --repo, or import with --mode move",
        )
    if work.cache.filesystem.kind in ("vfat", "msdos"):
        for wants in plan.values():
            for want in wants:
                if want.size > FAT32_LARGEST_FILE:
                    message = f"{work.options.cache} is on FAT32, which holds no file of 4 GiB"
                    raise BundleError("E-FAT4G", DESTINATION, message, "use another filesystem")


def _costs_no_space(work: Import, want: Want) -> bool:
    sources = work.sources.get(want.sha256, [])
    is_whole = any(held.length == want.size for _, held in sources)
    if work.found_elsewhere(want) is not None:
        return True
    same = [bag for bag, _ in sources if work.is_beside(bag)]
    return work.options.mode in ("move", "link") and is_whole and bool(same)
