"""Sort a listing into variants, of which one is enough, and what every variant needs besides.

A repo often holds the same model several times: quantisations, precisions, frameworks. Each file
is in one group; a variant is a group of weights, and picking it selects what it needs as well.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import VariantNotFound
from hfaria.rules.weights import ALIASES, Framework, Weight, is_projector, read_weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hfaria.rules.listing import RemoteFile

_LARGEST_COMPANION = 100_000_000
"""Bytes; a larger file that is no weights is nothing that every variant needs."""
_TORCH = (Framework.SAFETENSORS, Framework.PYTORCH)
_MODULE = re.compile(r"\d+_\w+")  # sentence-transformers' folders
_CHECKPOINT = re.compile(r"(?:checkpoint|step|epoch)[-_]?\d+")
_APART = frozenset({"original", "metal"})
"""Folders that hold a whole model in its publisher's own format."""
_PROJECTOR = "mmproj"
_BEST_PROJECTORS = ("F16", "BF16", "F32", "Q8_0")


class Role(enum.Enum):
    """What a group is to the others."""

    WEIGHTS = "weights"
    SHARED = "shared"
    """Needed by every variant, or by those of one folder."""
    OTHER = "other"
    """Needed by none: picked by `--include` only."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files that belong together. Only groups of weights have a framework."""

    name: str
    role: Role
    files: tuple[RemoteFile, ...]
    framework: Framework | None = None
    precision: str | None = None
    part: str = ""
    """Which of several models or formats in one repo; empty for the main one."""

    @property
    def size(self) -> int:
        """Bytes, equal contents counted once."""
        return sum({file.blob_name: file.size for file in self.files}.values())


@dataclass(frozen=True, slots=True)
class Variants:
    """All groups of a listing: the weights in order of name, then what they need, then the rest."""

    groups: tuple[Group, ...]
    is_pipeline: bool = False
    """Whether it is diffusers', where each folder holds a part of the whole."""

    @property
    def choices(self) -> tuple[Group, ...]:
        """What can be picked."""
        return tuple(group for group in self.groups if group.role is Role.WEIGHTS)

    def pick(self, name: str) -> tuple[RemoteFile, ...]:
        """Return the files of the variant with all it needs, sorted by path.

        Raises `VariantNotFound` unless the name fits one variant.
        """
        return self.needed_by(self._find(name))

    def needed_by(self, group: Group) -> tuple[RemoteFile, ...]:
        """Return the files of a variant with all it needs, sorted by path."""
        wanted = {file.path: file for file in group.files}
        for other in self.groups:
            if other.role is Role.SHARED and _is_for(other, group):
                wanted.update((file.path, file) for file in other.files)
        for file in self._from_other_variants(group):
            wanted[file.path] = file
        return tuple(wanted[path] for path in sorted(wanted))

    def _find(self, name: str) -> Group:
        choices = self.choices
        if not choices:
            raise VariantNotFound(f"`{name}`: the repo holds no weights, and so no variants")
        # The nearest meaning first; what a name means there must be one group.
        for meaning in (_by_name, _by_framework, _by_precision, _by_ending):
            found = [group for group in choices if meaning(group, name)]
            if not found:
                continue
            best = _one_of(found)
            if best is not None:
                return best
            raise VariantNotFound(
                f"`{name}` may be {' or '.join(f'`{group.name}`' for group in found)}",
                hint="name one of them in full",
            )
        raise VariantNotFound(
            f"`{name}` is no variant of this repo",
            hint=f"it has {', '.join(group.name for group in choices)}",
        )

    def _from_other_variants(self, group: Group) -> Iterator[RemoteFile]:
        """Yield the parts of a whole that exist in another precision or format only."""
        if group.part:
            return
        held = {_top_folder(file.path) for file in group.files}
        folders = {
            folder
            for other in self.groups
            if other.role is Role.WEIGHTS and other.framework in _TORCH and not other.part
            for file in other.files
            if (folder := _top_folder(file.path)) not in held and self._is_part(folder, group)
        }
        others = sorted(
            (g for g in self.groups if g.framework in _TORCH and not g.part),
            key=lambda other: (
                other.precision != group.precision,
                other.precision is not None,
                other.framework is not group.framework,
                other.framework is not Framework.SAFETENSORS,
            ),
        )
        for folder in sorted(folders):
            for other in others:
                found = [file for file in other.files if _top_folder(file.path) == folder]
                if found:
                    yield from found
                    break

    def _is_part(self, folder: str, group: Group) -> bool:
        if not folder:
            return False
        is_torch = group.framework in _TORCH
        return (self.is_pipeline and is_torch) or _MODULE.fullmatch(folder) is not None


def group_files(files: Sequence[RemoteFile]) -> Variants:
    """Sort the files of a listing into groups, each file into one."""
    paths = frozenset(file.path for file in files)
    is_pipeline = "model_index.json" in paths
    weights: dict[_Key, list[RemoteFile]] = {}
    stems: dict[str, str] = {}
    projectors: list[tuple[Weight, RemoteFile]] = []
    rest: list[RemoteFile] = []
    seen: list[tuple[Weight, RemoteFile]] = []
    for file in files:
        weight = read_weight(file.path, paths)
        if weight is None:
            rest.append(file)
        elif is_projector(file.path):
            projectors.append((weight, file))
        else:
            seen.append((weight, file))
    in_several_forms = _in_several_forms(seen)
    for weight, file in seen:
        part = _part(weight, file.path, is_pipeline=is_pipeline, forms=in_several_forms)
        key = _Key(weight.framework, stems.setdefault(part.lower(), part), weight.precision)
        weights.setdefault(key, []).append(file)
    groups = [
        Group(name, Role.WEIGHTS, tuple(weights[key]), key.framework, key.precision, key.part)
        for key, name in _names(weights).items()
    ]
    groups.sort(key=lambda group: (group.framework is None, _natural(group.name)))
    return Variants(
        (*groups, *_companions(projectors, rest, has_weights=bool(groups))), is_pipeline=is_pipeline
    )


@dataclass(frozen=True, slots=True)
class _Key:
    """What distinguishes a variant. A GGUF file's part is its stem, as long as names need it."""

    framework: Framework
    part: str
    precision: str | None


def _in_several_forms(seen: Iterable[tuple[Weight, RemoteFile]]) -> frozenset[tuple[str, str]]:
    """Return the stems and precisions of GGUF files that exist whole and in shards."""
    forms: dict[tuple[str, str], set[str | None]] = {}
    for weight, _ in seen:
        if weight.framework is Framework.GGUF:
            key = weight.stem.lower(), weight.precision or ""
            forms.setdefault(key, set()).add(weight.shards)
    return frozenset(key for key, shards in forms.items() if len(shards) > 1)


def _part(
    weight: Weight, path: str, *, is_pipeline: bool, forms: frozenset[tuple[str, str]]
) -> str:
    folder = _top_folder(path)
    if weight.framework is Framework.GGUF:
        is_twice = (weight.stem.lower(), weight.precision or "") in forms
        return f"{weight.stem}-of-{weight.shards}" if is_twice and weight.shards else weight.stem
    if folder in _APART or _CHECKPOINT.fullmatch(folder):
        return folder
    if weight.stem == "consolidated":
        return weight.stem
    # A pipeline's parts are in folders; what lies beside them is the whole, in one file.
    return weight.stem if is_pipeline and not folder else ""


def _names(keys: Iterable[_Key]) -> dict[_Key, str]:
    """Give each variant the shortest name that no other has."""
    keys = tuple(keys)
    lengths = dict.fromkeys(keys, 0)
    while True:
        names = {key: _spell(key, lengths[key]) for key in keys}
        counts = Counter(name.lower() for name in names.values())
        clashing = [k for k in keys if counts[names[k].lower()] > 1 and lengths[k] < _LONGEST]
        if not clashing:
            return names
        for key in clashing:
            lengths[key] += 1


_LONGEST = 2


def _spell(key: _Key, length: int) -> str:
    framework = key.framework.value
    if key.framework is Framework.GGUF:
        short = key.precision or key.part
        full = ".".join(filter(None, [key.part, key.precision]))
        return (short, full, f"{framework}/{full}")[length]
    short = "/".join(filter(None, [key.part, key.precision]))
    return (short or framework, f"{framework}/{short}".rstrip("/"), f"{framework}/{short or '-'}")[
        length
    ]


def _companions(
    projectors: Sequence[tuple[Weight, RemoteFile]],
    rest: Iterable[RemoteFile],
    *,
    has_weights: bool,
) -> Iterator[Group]:
    shared: dict[str, list[RemoteFile]] = {}
    other: list[RemoteFile] = []
    for file in rest:
        folder = _top_folder(file.path)
        if has_weights and (file.size > _LARGEST_COMPANION or "imatrix" in file.path.lower()):
            other.append(file)
        elif folder in _APART or folder in ALIASES or _CHECKPOINT.fullmatch(folder):
            shared.setdefault(folder, []).append(file)
        else:
            shared.setdefault("", []).append(file)
    if "" in shared:
        yield Group("every variant" if has_weights else "files", Role.SHARED, tuple(shared[""]))
    for folder in sorted(shared.keys() - {""}):
        yield Group(f"in {folder}/", Role.SHARED, tuple(shared[folder]), part=folder)
    by_precision: dict[str, list[RemoteFile]] = {}
    for weight, file in projectors:
        by_precision.setdefault(weight.precision or "", []).append(file)
    best = min(by_precision, key=_projector_rank, default=None)
    for precision in sorted(by_precision, key=_projector_rank):
        name = f"{_PROJECTOR}-{precision}" if precision else _PROJECTOR
        role = Role.SHARED if precision == best else Role.OTHER
        yield Group(name, role, tuple(by_precision[precision]), part=_PROJECTOR)
    if other:
        yield Group("other", Role.OTHER, tuple(other))


def _projector_rank(precision: str) -> tuple[int, str]:
    known = _BEST_PROJECTORS.index(precision) if precision in _BEST_PROJECTORS else 99
    return known, precision


def _is_for(shared: Group, group: Group) -> bool:
    """Tell whether a group that is shared by some is needed by this variant."""
    if not shared.part:
        return True
    if shared.part == _PROJECTOR:
        return group.framework is Framework.GGUF
    return shared.part == group.part or (
        not group.part and ALIASES.get(shared.part) is group.framework
    )


def _by_name(group: Group, name: str) -> bool:
    return group.name.lower() == name.lower()


def _by_framework(group: Group, name: str) -> bool:
    is_main = group.precision is None and not group.part
    return is_main and ALIASES.get(name.lower()) is group.framework


def _by_precision(group: Group, name: str) -> bool:
    return group.precision is not None and _plain(group.precision) == _plain(name)


def _by_ending(group: Group, name: str) -> bool:
    """Take ``Q4_K_XL`` for ``UD-Q4_K_XL``, and a framework's name for its only precision."""
    plain = _plain(name)
    is_framework = ALIASES.get(name.lower()) is group.framework
    has_prefix = group.precision is not None and _plain(group.precision) == f"ud{plain}"
    return is_framework or has_prefix or _plain(group.part) == plain


def _one_of(found: Sequence[Group]) -> Group | None:
    """Return the only one, or the safetensors of a pair: a pickle beside them is the same again."""
    if len(found) == 1:
        return found[0]
    is_pair = (
        all(group.framework in _TORCH for group in found)
        and len({(group.part, group.precision) for group in found}) == 1
    )
    if not is_pair:
        return None
    return next(group for group in found if group.framework is Framework.SAFETENSORS)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower()).replace("fp16", "f16").replace("fp32", "f32")


def _natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    return tuple(
        (not part.isdigit(), int(part) if part.isdigit() else 0, part.lower())
        for part in re.split(r"(\d+)", name)
        if part
    )


def _top_folder(path: str) -> str:
    folder, slash, _ = path.partition("/")
    return folder if slash else ""
