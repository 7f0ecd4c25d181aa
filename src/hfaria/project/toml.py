"""Read a TOML file, and find the line of a key that is at fault in it."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfaria.errors import InvalidManifest, StoreError
from hfaria.rules.document import KeyFault, describe_path

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - depends on the interpreter
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfaria.rules.document import KeyPath


def read_text(path: Path) -> str | None:
    """Return the text of a file, or None if there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise InvalidManifest(f"`{path}` can't be read: {reason}") from exc


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, with the mode of the one that it replaces.

    A link is followed: the file that it leads to is replaced.
    """
    target = path.resolve()
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        staged = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            staged.chmod(_mode(target))
            os.replace(staged, target)  # noqa: PTH105 - the atomic one, by its name
        finally:
            with suppress(FileNotFoundError):
                staged.unlink()
    except OSError as exc:
        raise StoreError(
            f"`{path}` can't be written: {exc.strerror or exc}", hint="make its folder writable"
        ) from exc


def _mode(path: Path) -> int:
    with suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def parse(text: str, path: Path) -> dict[str, Any]:
    """Parse the text of ``path``; the parser's own message names line and column."""
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidManifest(f"`{path}` is not TOML: {exc}") from exc
    return document


@contextmanager
def faults_of(text: str, path: Path) -> Iterator[None]:
    """Say of a fault in a document in which file and line it is, and at which key."""
    try:
        yield
    except KeyFault as exc:
        line = line_of(text, exc.path)
        raise InvalidManifest(
            f"{path}:{line}: {describe_path(exc.path)} {exc.message}", hint=exc.hint
        ) from exc


def line_of(text: str, path: KeyPath) -> int:
    """Return the line, counted from 1, at which the key or table at ``path`` begins."""
    return span_of(text, path)[0]


def span_of(text: str, path: KeyPath) -> tuple[int, int]:
    """Return the first and last line of the key, or of the table's header, at ``path``.

    The parser is asked of every beginning of the text whether the key is there: it is what knows
    where a value over several lines ends. What can't be found is on the first line.
    """
    lines = text.split("\n")
    parsed_to = 0
    for number in range(1, len(lines) + 1):
        try:
            document: Any = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value
        if _has(document, path):
            return parsed_to + 1, number
        parsed_to = number
    return 1, 1


def _has(document: Any, path: KeyPath) -> bool:  # noqa: ANN401 - whatever TOML can say
    for step in path:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True
