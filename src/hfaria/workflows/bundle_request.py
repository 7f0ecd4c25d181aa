"""What a bundle is asked to hold, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hfaria.bundle.probe import probe as probe_stick
from hfaria.errors import UsageError
from hfaria.project.lock_file import load_lock
from hfaria.rules.bundle_plan import InPlace
from hfaria.rules.carried import CarriedRepo, joined, of_lock, of_manifest
from hfaria.rules.selection import Selection
from hfaria.workflows.repo_set import read_repo_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfaria.redact import Secret
    from hfaria.rules.bundle_plan import Stick
    from hfaria.rules.spec import RepoSpec


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What a bundle is asked to hold, and where it goes.

    ``selection`` is about ``specs``; a manifest and a lock have their own. ``groups``: only repos
    of the manifest in any of them. ``keeps_endpoints``: those of the settings count, whatever the
    manifest says.
    """

    specs: tuple[RepoSpec, ...]
    places: tuple[Path, ...]
    stick_sizes: tuple[int, ...] = ()
    """Sizes of sticks that are not at hand yet."""
    selection: Selection = field(default_factory=Selection)
    manifest: Path | None = None
    lock: Path | None = None
    groups: tuple[str, ...] = ()
    keeps_endpoints: bool = False
    base: str | None = None
    in_place: InPlace = InPlace.AUTO
    part_size: int | None = None
    ssh_key: Path | None = None
    minisign_key: Path | None = None
    read_back: bool = True
    recheck: bool = False
    token: Secret | None = None
    probe: Callable[[Path], Stick] = field(default=probe_stick)


@dataclass(frozen=True, slots=True)
class StickWanted:
    """A stick that is asked for while a bundle is made, since it is not at hand.

    ``size`` is what was said of it, or the least that it needs. ``trouble`` says why the folder
    that was named before can't be used.
    """

    number: int
    of: int
    size: str
    is_begun: bool = False
    trouble: str | None = None


def carried_repos(request: BundleRequest) -> tuple[CarriedRepo, ...]:
    """Return every repo that is asked for, by name or in a file; raises `UsageError`."""
    named = tuple(CarriedRepo(spec, request.selection) for spec in request.specs)
    if request.lock is not None:
        return joined(named, _locked(request.lock), listed_in=str(request.lock))
    if request.manifest is not None:
        return joined(named, _wanted(request.manifest, request), listed_in=str(request.manifest))
    return named


def _locked(path: Path) -> tuple[CarriedRepo, ...]:
    lock = load_lock(path)
    if lock is None:
        raise UsageError(f"there is no lock at `{path}`", hint="`hfaria lock` writes one")
    if not lock.repos:
        raise UsageError(f"`{path}` holds no repo")
    return of_lock(lock)


def _wanted(path: Path, request: BundleRequest) -> tuple[CarriedRepo, ...]:
    repos = read_repo_set(path)
    wanted = repos.manifest.in_groups(request.groups)
    if not wanted:
        raise UsageError(f"`{path}` names no repo", hint="`hfaria add REPO_ID` adds one")
    carried = of_manifest(wanted, repos.lock)
    if request.keeps_endpoints:
        return tuple(replace(repo, endpoints=()) for repo in carried)
    return carried
