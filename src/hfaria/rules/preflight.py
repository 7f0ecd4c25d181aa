"""Everything about the destination that can be known to fail before the first byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hfaria.rules.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hfaria.rules.plan import Plan

LARGEST_OVER_HTTP = 400 * 10**9
"""Bytes; beyond about this size the Hub's CDN answers ranged requests with 400.

huggingface_hub issue 4330 and xet-core issue 592.
"""

LARGEST_WHOLE_ANSWER = 50 * 10**9
"""Bytes; the Hub's CDN refuses a larger file to a request without a range.

huggingface_hub's `MAX_HTTP_DOWNLOAD_SIZE`.
"""

_FORBIDDEN_ON_WINDOWS = frozenset('<>:"|?*\\')
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10)]
)


@dataclass(frozen=True, slots=True)
class Filesystem:
    """What the destination's filesystem was found to allow; sizes in bytes.

    ``refusals`` are messages about places that can't be written.
    """

    free_bytes: int
    kind: str = ""
    largest_file: int | None = None
    longest_name: int = 255
    longest_path: int = 4096
    has_windows_names: bool = False
    ignores_case: bool = False
    has_symlinks: bool = True
    has_hard_links: bool = True
    """Whether what lies elsewhere on this machine can be had without a copy."""
    refusals: tuple[str, ...] = ()


def device_name(path: str) -> str | None:
    """Return the segment of ``path`` that names a device on Windows, if there is one."""
    for segment in path.split("/"):
        if segment.split(".")[0].rstrip(" ").lower() in _DEVICES:
            return segment
    return None


def bytes_needed(plan: Plan, filesystem: Filesystem) -> int:
    """Return how much disk the plan will take; the reserve is not part of it."""
    reused = sum(transfer.size for transfer, _ in plan.reused)
    if filesystem.has_symlinks:
        return plan.bytes_to_fetch + (0 if filesystem.has_hard_links else reused)
    # Without links each path holds the bytes itself.
    needed = plan.bytes_to_fetch + reused
    fetched = {transfer.blob_name for transfer in plan.transfers}
    fetched |= {transfer.blob_name for transfer, _ in plan.reused}
    extra = 0
    for file in plan.to_link:
        if file.blob_name in fetched:
            fetched.discard(file.blob_name)
        else:
            extra += file.size
    return needed + extra


def joint_bytes_to_fetch(plans: Iterable[Plan]) -> int:
    """Return what several plans fetch together: what they share once."""
    plans = list(plans)
    return sum(plan.bytes_to_fetch for plan in plans) - sum(map(sum, _shared_sizes(plans)))


def joint_bytes_needed(plans: Iterable[Plan], filesystem: Filesystem) -> int:
    """Return how much disk several plans will take, all of them in one cache."""
    plans = list(plans)
    needed = sum(bytes_needed(plan, filesystem) for plan in plans)
    if not filesystem.has_symlinks:
        return needed  # without links each repo holds the bytes itself
    return needed - sum(map(sum, _shared_sizes(plans)))


def _shared_sizes(plans: Iterable[Plan]) -> Iterator[list[int]]:
    """Yield for each plan the sizes of the contents that an earlier one fetches already."""
    fetched: set[str] = set()
    for plan in plans:
        yield [each.size for each in plan.transfers if each.blob_name in fetched]
        fetched |= {each.blob_name for each in plan.transfers}


def space_problem(
    needed: int, filesystem: Filesystem, *, reserve: int, folder: str
) -> tuple[str, ...]:
    """Return that there is not enough space, if so."""
    if not needed or needed + reserve <= filesystem.free_bytes:
        return ()
    problem = (
        f"not enough space at `{folder}`: needs {format_size(needed)} and a reserve of "
        f"{format_size(reserve)}, has {format_size(filesystem.free_bytes)}"
    )
    return (problem,)


def find_problems(
    plan: Plan, filesystem: Filesystem, *, reserve: int, folder: str
) -> tuple[str, ...]:
    """Return every reason, a line each, why the plan can't be carried out at ``folder``."""
    needed = bytes_needed(plan, filesystem)
    return (
        *filesystem.refusals,
        *space_problem(needed, filesystem, reserve=reserve, folder=folder),
        *find_other_problems(plan, filesystem),
    )


def find_other_problems(plan: Plan, filesystem: Filesystem) -> tuple[str, ...]:
    """Return the reasons that have to do with neither space nor permissions."""
    return tuple(_problems(plan, filesystem))


def _problems(plan: Plan, filesystem: Filesystem) -> Iterator[str]:
    for transfer in plan.transfers:
        if transfer.size > LARGEST_OVER_HTTP:
            yield (
                f"`{transfer.path}` is {format_size(transfer.size)}: more than the Hub serves over "
                "plain HTTPS; only `hf download` with hf_xet can fetch it"
            )
    for file in plan.to_link:
        if filesystem.largest_file is not None and file.size > filesystem.largest_file:
            yield (
                f"`{file.path}` is {format_size(file.size)}: {filesystem.kind} stops at "
                f"{format_size(filesystem.largest_file)} a file"
            )
        yield from _name_problems(file.path, filesystem)
    if filesystem.ignores_case:
        yield from _case_problems([file.path for file in plan.files])


def _name_problems(path: str, filesystem: Filesystem) -> Iterator[str]:
    for segment in PurePosixPath(path).parts:
        length = len(segment.encode())
        if length > filesystem.longest_name:
            shown = f"{segment[:40]}…"
            yield (
                f"a name in `{shown}` has {length} bytes: the filesystem allows "
                f"{filesystem.longest_name} (`--exclude` can leave the file out)"
            )
        if not filesystem.has_windows_names:
            continue
        forbidden = sorted(_FORBIDDEN_ON_WINDOWS & set(segment))
        if forbidden or any(character < " " for character in segment):
            characters = " ".join(forbidden) or "a control character"
            yield f"`{path}` has {characters} in it, which {filesystem.kind} forbids in names"
        elif segment != segment.rstrip(". "):
            yield f"`{path}` has a name that ends in a dot or space, which Windows can't open"
    if len(path.encode()) > filesystem.longest_path:
        yield f"`{path[:40]}…` has {len(path.encode())} bytes: the path is too long"


def _case_problems(paths: list[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(path.casefold(), path)
        if other != path:
            yield f"`{other}` and `{path}` differ only in case, which the filesystem ignores"
