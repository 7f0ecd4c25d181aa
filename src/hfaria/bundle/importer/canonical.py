"""JSON from strangers: one spelling, within bounds, with exactly the keys expected."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

from hfaria.bundle.importer.errors import USAGE, BundleError, malformed, shown
from hfaria.bundle.importer.format import BUNDLE_NAME, CONTROL, MOST_INT

if TYPE_CHECKING:
    from collections.abc import Callable

JSON_MOST_BYTES = 64 << 20
JSON_MOST_VALUES = 2000000
# A value of a real document takes 20 bytes and more, and no text is longer than a path. Only bombs
# differ: a list that is nothing but brackets takes 60 times its length in memory.
JSON_LEAST_BYTES_A_VALUE = 16
JSON_MOST_BYTES_A_TEXT = 4096
JSON_SLACK = 4096

T = TypeVar("T")


def canonical(document: object) -> bytes:
    """Return the one spelling of a document: ASCII, sorted keys, no spaces, no NaN."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def parse_canonical(content: bytes, name: str) -> Any:
    """Read JSON that must be in its canonical spelling, within bounds of size, values and depth.

    That refuses duplicate keys, floats, NaN and huge numbers, too. Depth is bounded by the
    interpreter here, and by the form of the document afterwards: unknown keys are refused.
    """
    if len(content) > JSON_MOST_BYTES:
        raise malformed(f"{name} is larger than {JSON_MOST_BYTES} bytes")
    values = content.count(b",") + content.count(b"[") + content.count(b"{")
    most = len(content) // JSON_LEAST_BYTES_A_VALUE + JSON_SLACK
    if values > min(most, JSON_MOST_VALUES):
        raise malformed(f"{name} holds more values than its size allows for")
    if (content.count(b'"') + 1) * JSON_MOST_BYTES_A_TEXT < len(content):
        raise malformed(f"{name} holds longer values than any that belong there")
    try:
        document = json.loads(
            content.decode("ascii"), parse_int=_whole, parse_float=_refuse, parse_constant=_refuse
        )
        spelling = canonical(document)
    except (ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else "not canonical JSON"
        raise malformed(f"{name} is {reason}") from exc
    if spelling != content:
        raise malformed(f"{name} is not in its canonical spelling")
    return document


def _whole(text: str) -> int:
    if len(text) > 19 or text.startswith("-") or int(text) > MOST_INT:
        raise ValueError(text[:20])
    return int(text)


def _refuse(text: str) -> None:
    raise ValueError(text[:20])


def set_id_of(document: dict[str, Any]) -> str:
    """Return the set's id: it depends on content alone, not on sticks, day or signer."""
    return hashlib.sha256(
        canonical({key: document[key] for key in ("repos", "objects", "requires")})
    ).hexdigest()


class Fields:
    """Takes a JSON object apart; what has the wrong type or was not expected is refused."""

    def __init__(self, value: object, where: str, keys: str) -> None:
        self.where = where
        if type(value) is not dict or sorted(value) != sorted(keys.split()):
            raise malformed(f"{where} has not exactly the keys {keys}")
        self.value: dict[str, Any] = value

    def take(self, key: str, kind: Callable[..., T]) -> T:
        """Return a value that must be of exactly this type: a bool is no number."""
        value = self.value[key]
        if type(value) is not kind:
            raise malformed(f"{self.where}: `{key}` is not of type {kind.__name__}")
        return value  # type: ignore[no-any-return]

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object."""
        value: dict[str, Any] = self.take(key, dict)
        return value

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        value: list[Any] = self.take(key, list)
        return value

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        """Return a text, which must match the whole pattern or be short and without controls."""
        value = self.take(key, str)
        is_fit = len(value) <= 500 and not CONTROL.search(value)
        if not (pattern.fullmatch(value) if pattern else is_fit):
            raise malformed(f"{self.where}: `{key}` is {shown(value[:80])}")
        return value

    def optional_text(self, key: str, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return a text or None."""
        return None if self.value[key] is None else self.text(key, pattern)


def check_format(document: object, expected: str, name: str) -> None:
    """Refuse a document of another format; a later one of the same kind is E-NEWER."""
    found = document.get("format") if isinstance(document, dict) else None
    if found == expected:
        return
    kind, _, _ = expected.partition("/")
    if isinstance(found, str) and re.fullmatch(kind + r"/\d{1,4}", found):
        raise BundleError(
            "E-NEWER",
            USAGE,
            f"format {found} needs a newer hfaria (this: {expected})",
            "use the importer of a newer hfaria",
        )
    raise malformed(f"{name} is not of format {expected}")


def matched(pattern: re.Pattern[str], value: object, what: str) -> str:
    """Return a text of bundle.json that matches the whole pattern, or refuse it."""
    if type(value) is not str or not pattern.fullmatch(value):
        raise malformed(f"{BUNDLE_NAME}: {what} is {shown(str(value)[:80])}")
    return value
