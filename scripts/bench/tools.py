"""The tools that are compared: how each is told to pull a repo, and where it puts the files."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aria2c import ARIA2C

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopback_hub import RepoSpec

CONNECTIONS = 8
JOBS = 4
_SCRIPT = Path(__file__).with_name("aria2_script.py")


@dataclass(frozen=True, slots=True)
class Job:
    """One pull that a tool is asked for."""

    repo_id: str
    endpoint: str
    dest: Path
    others: tuple[str, ...] = ()
    """Further endpoints, for a tool that takes several."""
    origin: str | None = None
    """The authoritative endpoint, where ``endpoint`` is a mirror of it."""
    revision: str | None = None
    token: str | None = None
    connections: int = CONNECTIONS
    jobs: int = JOBS


@dataclass(frozen=True, slots=True)
class Tool:
    """A way to pull a repo."""

    name: str
    command: Callable[[Job], list[str]]
    is_cache: bool

    def path_of(self, job: Job, spec: RepoSpec, path: str) -> Path:
        """Return where a file of the repo ends up."""
        if not self.is_cache:
            return job.dest / path
        folder = f"models--{job.repo_id.replace('/', '--')}"
        return job.dest / folder / "snapshots" / spec.commit_id / path

    def count_wrong_files(self, job: Job, spec: RepoSpec, *, only_present: bool = False) -> int:
        """Count files that don't have the content they should have, or are missing."""
        paths = {file: self.path_of(job, spec, file.path) for file in spec.head.files}
        return sum(
            not _has_digest(path, file.content.sha256)
            for file, path in paths.items()
            if path.is_file() or not only_present
        )


def environment(job: Job, home: Path) -> dict[str, str]:
    """Return an environment without the user's settings: no token, no telemetry, plain HTTP."""
    programs = home / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    engine = programs / "aria2c"
    if not engine.exists():
        # The program itself: the wheel's wrapper would outlive its own death.
        engine.symlink_to(ARIA2C)
    folders = [str(programs), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    environ = {
        "PATH": os.pathsep.join(folders),
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "LANG": "C.UTF-8",
        "HF_ENDPOINT": job.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HFARIA_ORIGIN": job.origin or job.endpoint,
        "HFARIA_RESERVE": "1GB",
        "NO_PROXY": "*",
    }
    if job.token is not None:
        environ["HF_TOKEN"] = job.token
    return environ


def select(names: Sequence[str]) -> list[Tool]:
    """Return the tools of these names, in the order in which they are compared."""
    return [tool for tool in TOOLS if tool.name in names]


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _revision(job: Job) -> list[str]:
    return [] if job.revision is None else ["--revision", job.revision]


def _hfaria(job: Job) -> list[str]:
    endpoints = (job.endpoint, *job.others) if job.others else ()
    return [
        *(_program("hfaria"), "pull", job.repo_id, "--dest", str(job.dest)),
        *(word for url in endpoints for word in ("--endpoint", url)),
        *("-x", str(job.connections), "-j", str(job.jobs), *_revision(job)),
    ]


def _hf(job: Job) -> list[str]:
    command = [_program("hf"), "download", job.repo_id, "--cache-dir", str(job.dest)]
    return [*command, *_revision(job)]


def _hubdl(job: Job) -> list[str]:
    return [
        *(_program("hubdl"), "hf", job.repo_id, "--local-dir", str(job.dest)),
        *("--endpoint", job.endpoint, "--allow-http", "--progress", "none"),
        *("-x", str(job.connections), "-j", str(job.jobs), *_revision(job)),
    ]


def _script(job: Job) -> list[str]:
    return [
        *(sys.executable, str(_SCRIPT), job.endpoint, job.repo_id, job.revision or "main"),
        *(str(job.dest), str(job.connections), str(job.jobs)),
    ]


TOOLS = (
    Tool("hfaria", _hfaria, is_cache=True),
    Tool("hf download", _hf, is_cache=True),
    Tool("hubdl", _hubdl, is_cache=False),
    Tool("aria2c script", _script, is_cache=False),
)


def _has_digest(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == sha256
