"""Read values out of a TOML document, and say which key is at fault."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value is in a document: keys of tables, and places in arrays."""


class KeyFault(Exception):
    """What is wrong with the value at ``path``; whoever read the file adds where that is."""

    def __init__(self, path: KeyPath, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a document, with its place; each method raises `KeyFault`."""

    path: KeyPath
    values: Mapping[str, Any]

    @classmethod
    def of(cls, path: KeyPath, value: object) -> Table:
        """Return the table that ``value`` is."""
        if not isinstance(value, dict):
            raise KeyFault(path, "must be a table")
        return cls(path, value)

    def check_keys(self, known: Iterable[str]) -> None:
        """Refuse a key that means nothing here, with the one that may have been meant."""
        names = list(known)
        for key in self.values:
            if key not in names:
                close = difflib.get_close_matches(key, names, n=1)
                raise KeyFault(
                    (*self.path, key),
                    "is not a key that is known here",
                    hint=f"did you mean `{close[0]}`?" if close else f"keys: {', '.join(names)}",
                )

    def text(self, key: str) -> str | None:
        """Return a text that is not empty."""
        value = self.values.get(key)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        raise KeyFault((*self.path, key), "must be a text, and not an empty one")

    def needed_text(self, key: str) -> str:
        """Return a text that has to be there."""
        value = self.text(key)
        if value is None:
            raise KeyFault(self.path, f"has no `{key}`")
        return value

    def number(self, key: str) -> int | None:
        """Return a whole number."""
        value = self.values.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise KeyFault((*self.path, key), "must be a whole number")

    def needed_number(self, key: str) -> int:
        """Return a whole number that has to be there and is not negative."""
        value = self.number(key)
        if value is None:
            raise KeyFault(self.path, f"has no `{key}`")
        if value < 0:
            raise KeyFault((*self.path, key), "must not be negative")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return an array of texts, none of them empty."""
        values = self.values.get(key)
        if values is None:
            return None
        if not isinstance(values, list):
            raise KeyFault((*self.path, key), 'must be an array of texts, such as `["a", "b"]`')
        for value in values:
            if not isinstance(value, str) or not value.strip():
                raise KeyFault((*self.path, key), "must hold texts alone, and no empty one")
        return tuple(values)

    def tables(self, key: str) -> tuple[Table, ...]:
        """Return an array of tables, which may be absent."""
        values = self.values.get(key, [])
        if not isinstance(values, list):
            raise KeyFault((*self.path, key), f"must be an array of tables: `[[{key}]]`")
        return tuple(
            Table.of((*self.path, key, number), value) for number, value in enumerate(values)
        )


def describe_path(path: KeyPath) -> str:
    """Return how a message names a place: the key, or the header of a table in an array."""
    if not path:
        return "the document"
    last = path[-1]
    return f"`{last}`" if isinstance(last, str) else f"`[[{path[-2]}]]`"
