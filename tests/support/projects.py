"""A project as users have it: a folder with a manifest and, once it is locked, a lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Run, User


@dataclass(frozen=True)
class Project:
    """The folder, and whose project it is."""

    folder: Path
    user: User

    @property
    def manifest(self) -> Path:
        return self.folder / "hfaria.toml"

    @property
    def lock(self) -> Path:
        return self.folder / "hfaria.lock"

    def locked(self, *arguments: str) -> Run:
        run = self.user.run("lock", "--manifest", str(self.manifest), *arguments)
        assert run.code == 0, run.stderr
        return run
