"""What a bundle is asked to carry: repos by name, from a manifest, or from a lock."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.errors import UsageError
from hfaria.rules.manifest import title_of
from hfaria.rules.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hfaria.rules.lock import Lock, LockedRepo
    from hfaria.rules.manifest import WantedRepo
    from hfaria.rules.spec import RepoSpec

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class CarriedRepo:
    """One repo that a bundle is asked to hold, and what of it.

    ``commit_hash`` is what is carried whatever the revision names now, which is carried as its
    name. With ``locked`` its listing has to be the one that was locked. ``endpoints`` are as a
    manifest spells them; none means those of the settings.
    """

    spec: RepoSpec
    selection: Selection = field(default_factory=Selection)
    commit_hash: str | None = None
    locked: LockedRepo | None = None
    endpoints: tuple[str, ...] = ()


def of_lock(lock: Lock) -> tuple[CarriedRepo, ...]:
    """Return exactly what is locked."""
    return tuple(
        CarriedRepo(
            locked.spec,
            locked.selection,
            commit_hash=locked.commit_hash,
            locked=locked,
        )
        for locked in lock.repos
    )


def of_manifest(wanted: Iterable[WantedRepo], lock: Lock) -> tuple[CarriedRepo, ...]:
    """Return what a manifest wants, at the commits that are locked already, as a preload does.

    What was locked with another selection is taken at its commit, and not compared.
    """
    carried = []
    for repo in wanted:
        locked = lock.find(repo.spec)
        is_exact = locked is not None and locked.has_selection_of(repo)
        carried.append(
            CarriedRepo(
                repo.spec,
                repo.selection,
                commit_hash=None if locked is None else locked.commit_hash,
                locked=locked if is_exact else None,
                endpoints=repo.endpoints,
            )
        )
    return tuple(carried)


def joined(
    named: Sequence[CarriedRepo], listed: Sequence[CarriedRepo], *, listed_in: str
) -> tuple[CarriedRepo, ...]:
    """Return both, each repo at a revision once; what is named and listed is held to the list.

    Raises `UsageError` if they differ about which files of one are to be carried.
    """
    known = {repo.spec: repo for repo in listed}
    for repo in named:
        other = known.setdefault(repo.spec, repo)
        if other.selection != repo.selection:
            raise UsageError(
                f"`{title_of(repo.spec)}` is named, and `{listed_in}` selects other files of it",
                hint="leave it out of one of them",
            )
    return tuple(known.values())


def request_name(repos: Iterable[CarriedRepo], *, base_kind: str, base_id: str | None) -> str:
    """Name a request, so that the same command is known again; order does not matter."""
    rows = sorted(
        [
            f"{repo.spec.label}@{repo.spec.revision}",
            repo.commit_hash or "",
            list(repo.selection.include),
            list(repo.selection.exclude),
            repo.selection.variant or "",
        ]
        for repo in repos
    )
    return json.dumps([rows, base_kind, base_id])


def patterns_of(selections: Sequence[Selection], paths: Iterable[str]) -> dict[str, list[str]]:
    """Return include and exclude patterns by which a repo's files give these paths.

    What patterns alone can't tell, a variant or several selections, is told path by path.
    """
    if len(selections) == 1 and selections[0].variant is None and not selections[0].names:
        (selection,) = selections
        return {"include": list(selection.include), "exclude": list(selection.exclude)}
    return {"include": [_MAGIC.sub(r"[\g<0>]", path) for path in sorted(paths)], "exclude": []}
