"""Which part of a commit was asked for, so that a part that is whole isn't called incomplete.

Kept per commit as the selections of all pulls of it. Of a commit without any, nobody knows: it was
another tool that fetched it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hfaria.errors import HfariaError
from hfaria.rules.selection import Selection
from hfaria.rules.spec import is_commit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfaria.rules.listing import Listing

Wishes = dict[str, tuple[Selection, ...]]


def add_wish(wishes: Mapping[str, tuple[Selection, ...]], commit: str, wish: Selection) -> Wishes:
    """Return the wishes with one more; everything swallows every part."""
    known = wishes.get(commit, ())
    if any(each == wish or each.is_everything for each in known):
        return dict(wishes)
    return {**wishes, commit: (wish,) if wish.is_everything else (*known, wish)}


def wanted_paths(
    wishes: Mapping[str, tuple[Selection, ...]], listing: Listing
) -> frozenset[str] | None:
    """Return the paths that were asked for, or None if that is all, or nobody knows."""
    selections = wishes.get(listing.commit_hash, ())
    if not selections or selections[0].is_everything:
        return None
    try:
        return frozenset(file.path for wish in selections for file in wish.apply(listing))
    except HfariaError:
        return None  # they were applied when they were made: a listing that refuses is another


def serialize(wishes: Mapping[str, tuple[Selection, ...]]) -> str:
    """Return the text that keeps them."""
    return json.dumps(
        {
            commit: [
                {
                    "include": wish.include,
                    "exclude": wish.exclude,
                    "names": wish.names,
                    "variant": wish.variant,
                }
                for wish in selections
            ]
            for commit, selections in sorted(wishes.items())
        },
        indent=1,
    )


def parse(text: str) -> Wishes:
    """Read what was kept; whatever is not as it was written counts for nothing."""
    try:
        document: Any = json.loads(text)
        return {
            commit: tuple(_wish(each) for each in selections)
            for commit, selections in document.items()
            if is_commit(commit)
        }
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def _wish(value: Any) -> Selection:  # noqa: ANN401 - JSON
    variant = value["variant"]
    return Selection(
        include=_texts(value["include"]),
        exclude=_texts(value["exclude"]),
        names=_texts(value["names"]),
        variant=None if variant is None else str(variant),
    )


def _texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    return tuple(str(each) for each in value)
