"""Tell from file names what a stick holds whose lists are not there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hfaria.bundle.importer.format import POOL_FOLDER, POOL_PATH, in_place_path
from hfaria.bundle.importer.values import Bundle, Range, Stick

if TYPE_CHECKING:
    from hfaria.bundle.importer.folders import Folder


def rebuild_stick(root: Folder, bundle: Bundle) -> Stick:
    """Make up a stick.json from file names: without pieces, only whole files can be checked."""
    ranges = []
    for shard in (f"{number:02x}" for number in range(256)):
        with contextlib.suppress(OSError), root.descend([*POOL_FOLDER.split("/"), shard]) as folder:
            for name in sorted(folder.names()):
                match = POOL_PATH.fullmatch(f"{POOL_FOLDER}/{shard}/{name}")
                stored = bundle.objects.get(match.group(2)) if match else None
                size = folder.plain_size(name)
                if match is None or stored is None or size is None:
                    continue
                offset, end = int(match.group(3), 16), int(match.group(3), 16) + size
                is_fit = offset % bundle.piece_size == 0 and end <= stored.size
                if is_fit and (size % bundle.piece_size == 0 or end == stored.size):
                    ranges.append(Range(match.group(2), offset, size, match.group(0), 0, ()))
    for repo in bundle.repos:
        for revision in repo.revisions.values():
            for file in revision.files:
                path = in_place_path(repo.folder, revision.commit, file.path)
                names = path.split("/")
                with contextlib.suppress(OSError), root.descend(names[:-1]) as folder:
                    if file.sha256 in bundle.objects and folder.plain_size(names[-1]) == file.size:
                        ranges.append(Range(file.sha256, 0, file.size, path, 0, ()))
    return Stick(bundle.set_id, 0, None, "", bundle.content_sha256, "", "", tuple(ranges))
