"""Which files of a listing are wanted: patterns with exactly `hf download`'s meaning, a variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from huggingface_hub.utils import filter_repo_objects

from hfaria.errors import EntryNotFound, UsageError

if TYPE_CHECKING:
    from hfaria.rules.listing import Listing, RemoteFile


@dataclass(frozen=True, slots=True)
class Selection:
    """Include and exclude patterns, or files and folders by name.

    ``names`` must each be in the listing; patterns may match nothing. A ``variant`` is picked
    first, and the patterns choose among its files.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    variant: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing was left out on purpose."""
        return not (self.include or self.exclude or self.names or self.variant)

    def apply(self, listing: Listing) -> tuple[RemoteFile, ...]:
        """Return the wanted files in the listing's order.

        Raises `EntryNotFound` for a name that the listing lacks, and `VariantNotFound`.
        """
        if self.is_everything:
            return listing.files
        if self.names:
            return self._by_name(listing)
        files = listing.files
        if self.variant is not None:
            from hfaria.rules.variants import group_files  # noqa: PLC0415 - slow, rarely needed

            files = group_files(files).pick(self.variant)
        return tuple(
            filter_repo_objects(
                files,
                allow_patterns=list(self.include) or None,
                ignore_patterns=list(self.exclude) or None,
                key=lambda file: file.path,
            )
        )

    def _by_name(self, listing: Listing) -> tuple[RemoteFile, ...]:
        # `hf download` takes one name literally and several as patterns. A literal match always
        # counts here, so that `a[1].txt` means the same alone and in company.
        wanted: set[str] = set()
        paths = [file.path for file in listing.files]
        literal = set(paths)
        for name in self.names:
            pattern = f"{name.rstrip('/')}/**" if name.endswith("/") else name
            found = {name} & literal or set(filter_repo_objects(paths, allow_patterns=[pattern]))
            if not found:
                raise EntryNotFound(
                    f"`{name}` is not in the repo at commit {listing.commit_hash[:12]}",
                    hint="`--dry-run` without filenames lists what is there",
                )
            wanted |= found
        return tuple(file for file in listing.files if file.path in wanted)


def make_selection(
    *,
    names: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    variant: str | None = None,
) -> tuple[Selection, str | None]:
    """Combine what the user gave; the second value is a warning to show.

    As in `hf download`: filenames win over patterns, with a warning; a folder (``art/``) together
    with patterns is a `UsageError`, and so are filenames together with a variant.
    """
    if names and variant is not None:
        raise UsageError(
            f"filenames (`{names[0]}`) can't be combined with `--variant`",
            hint="`--include` and `--exclude` choose among the files of a variant",
        )
    folders = [name for name in names if name.endswith("/")]
    for flag, patterns in (("--include", include), ("--exclude", exclude)):
        if folders and patterns:
            raise UsageError(
                f"a folder (`{folders[0]}`) can't be combined with `{flag}`",
                hint=f"use `--include '{folders[0]}*'` instead",
            )
    if names and (include or exclude):
        given = " and ".join(
            flag for flag, used in (("--include", include), ("--exclude", exclude)) if used
        )
        return Selection(names=names), f"{given} ignored, since filenames are given"
    return Selection(include, exclude, names, variant), None
