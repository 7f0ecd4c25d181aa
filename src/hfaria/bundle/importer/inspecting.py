"""Show what sticks say that they hold."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.bags import Bag, open_bags
from hfaria.bundle.importer.console import Console, size_text
from hfaria.bundle.importer.errors import shown
from hfaria.bundle.importer.folders import is_link
from hfaria.bundle.importer.format import HUB_FOLDER, JOURNAL_NAME, TAG_FILES
from hfaria.bundle.importer.policy import judge_signature
from hfaria.bundle.importer.reading import reading
from hfaria.bundle.importer.values import Bundle, unsafe_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def inspect_bundle(
    paths: Sequence[str], trust: Sequence[str], console: Console, *, with_files: bool = False
) -> dict[str, Any]:
    """Show what sticks say that they hold; nothing but their documents is read."""
    bags = open_bags(paths, is_partial=True)
    bundle = bags[0].bundle
    signature = judge_signature(bags, trust, console, is_required=False)
    carried = {held.sha256: 0 for bag in bags for held in bag.stick.ranges}
    for sha256, held in {(h.sha256, h.offset): h for bag in bags for h in bag.stick.ranges}.items():
        carried[sha256[0]] += held.length
    total = sum(stored.size for stored in bundle.objects.values())
    here = sum(min(size, bundle.objects[sha256].size) for sha256, size in carried.items())
    say = console.result
    say(f"set {bundle.set_id}")
    say(f"made {bundle.created} by {shown(bundle.tool)[1:-1]} from {shown(bundle.endpoint)[1:-1]}")
    for bag in bags:
        number = (
            f"{bag.stick.number} of {bag.stick.of or '?'}" if bag.stick.number else "unfinished"
        )
        say(f"stick {number} at {bag.path}")
    say(f"these sticks carry {size_text(here)} of {size_text(total)}")
    if bundle.requires:
        say(f"and rely on {len(bundle.requires)} contents that the target must have already")
    for repo in bundle.repos:
        licence = shown(repo.license or "unknown")[1:-1]
        say(f"{repo.label}   licence {licence}{', gated' * repo.is_gated}")
        for commit, revision in repo.revisions.items():
            names = ", ".join(name for name, to in repo.refs.items() if to == commit)
            size = size_text(sum(file.size for file in revision.files))
            kind = "complete" if revision.is_complete else "a part"
            say(f"  {commit} {shown(names)[1:-1]}  {len(revision.files)} files, {size}, {kind}")
            for file in revision.files if with_files else ():
                state = "here" if carried.get(file.sha256, -1) >= file.size else "elsewhere"
                say(f"    {size_text(file.size):>9}  {state:<9}  {shown(file.path)[1:-1]}")
        unsafe = unsafe_files([repo])
        if unsafe:
            kinds = sorted({os.path.splitext(path)[1].lower() for path in unsafe})
            say(f"  {len(unsafe)} files can run code when loaded ({', '.join(kinds)})")
    extra = [name for bag in bags for name in extra_files(bag)]
    if extra:
        say(f"{len(extra)} EXTRA files that no list names: {', '.join(map(shown, extra[:5]))}")
    return {
        "set_id": bundle.set_id,
        "created": bundle.created,
        "signature": signature.status,
        "key": signature.key,
        "sticks": [bag.stick.number for bag in bags],
        "of": bags[0].stick.of,
        "size": total,
        "size_here": here,
        "requires": len(bundle.requires),
        "repos": [
            {
                "type": repo.repo_type,
                "id": repo.repo_id,
                "license": repo.license,
                "refs": repo.refs,
                "commits": sorted(repo.revisions),
                "unsafe_files": unsafe_files([repo]),
            }
            for repo in bundle.repos
        ],
        "extra": extra,
    }


def extra_files(bag: Bag) -> list[str]:
    """Return what lies in a stick's folder and no list names: links and devices, too."""
    known = {held.path for held in bag.stick.ranges} | TAG_FILES | {JOURNAL_NAME}
    known.update(hub_files(bag.bundle))
    extra: list[str] = []
    pending = [""]
    while pending and len(extra) < 1000:
        at = pending.pop()
        names = [name for name in at.split("/") if name]
        with reading(bag.path), bag.root.descend(names) as folder:
            for name in folder.names():
                path = f"{at}/{name}" if at else name
                status = folder.status(name)
                if status is not None and stat.S_ISDIR(status.st_mode) and not is_link(status):
                    pending.append(path)
                elif path not in known:
                    extra.append(path)
    return sorted(extra)


def hub_files(bundle: Bundle) -> Iterator[str]:
    """Yield the files of data/hub that are no contents: refs and trees."""
    for repo in bundle.repos:
        for name in repo.refs:
            yield f"{HUB_FOLDER}/{repo.folder}/refs/{name}"
        for commit in repo.revisions:
            yield f"{HUB_FOLDER}/{repo.folder}/trees/{commit}.json"
