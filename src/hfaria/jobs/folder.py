"""A job's folder: the command, the state, the wishes of others, the lock.

`job.json` is written once, before the process begins. `state.json` is written by whoever holds the
lock. `wish` and `limit` are what others ask of the job, one file for each, so that nobody has to
read what he replaces; the job looks at them. No signal is sent: a pid may be another's by then.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from hfaria.errors import JobBusy, StoreError, UsageError
from hfaria.rules.job_file import (
    parse_command,
    parse_report,
    serialize_command,
    serialize_report,
)
from hfaria.rules.jobs import Wish

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfaria.rules.jobs import JobCommand, JobReport

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike
_ID_LENGTH = 4
_LOCK_SECONDS = 5.0  # others look whether it is held, for a moment
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job."""

    path: Path

    @property
    def job_id(self) -> str:
        """The job's name is the folder's."""
        return self.path.name

    @property
    def log(self) -> Path:
        """What the job says."""
        return self.path / "log"

    def read_command(self) -> JobCommand | None:
        """Return what the job does; None if that can't be understood."""
        text = _read(self.path / "job.json")
        return None if text is None else parse_command(text, self.job_id)

    def read_report(self) -> JobReport | None:
        """Return what the job told last; None if that can't be understood."""
        text = _read(self.path / "state.json")
        return None if text is None else parse_report(text)

    def write_report(self, report: JobReport) -> None:
        """Tell it; for whoever holds the lock. Raises `OSError`."""
        self._write("state.json", serialize_report(report))

    def read_wish(self) -> Wish | None:
        """Return what the job is asked for."""
        text = _read(self.path / "wish")
        with contextlib.suppress(ValueError):
            return None if text is None else Wish(text.strip())
        return None

    def write_wish(self, wish: Wish | None) -> None:
        """Ask for it, or for nothing any more."""
        with _refusals(self.path):
            if wish is None:
                (self.path / "wish").unlink(missing_ok=True)
            else:
                self._write("wish", wish.value)

    def read_limit(self) -> str | None:
        """Return the rate that was asked for, as it was written."""
        text = _read(self.path / "limit")
        return None if text is None else text.strip() or None

    def write_limit(self, text: str) -> None:
        """Ask for a rate."""
        with _refusals(self.path):
            self._write("limit", text)

    def is_locked(self) -> bool:
        """Tell whether the job's process, or whoever resumes it, holds the lock.

        A shared lock asks: those who look at the same time don't take each other for the holder.
        """
        if sys.platform == "win32":
            return False
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return False

    @contextmanager
    def hold(self, *, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
        """Be the one who writes the state; raises `JobBusy` if somebody else is."""
        lock = FileLock(str(self.path / "lock"), mode=0o600)
        with _refusals(self.path):
            try:
                with _quietly():
                    lock.acquire(timeout=seconds, poll_interval=0.02)
            except Timeout as exc:
                raise JobBusy(f"job {self.job_id} runs already") from exc
        try:
            yield
        finally:
            lock.release()

    def remove(self) -> None:
        """Forget the job."""
        with _refusals(self.path):
            shutil.rmtree(self.path)

    def _write(self, name: str, text: str, *, to_disk: bool = False) -> None:
        staged = self.path / f".{name}.{secrets.token_hex(4)}"
        try:
            with staged.open("w", encoding="utf-8") as file:
                file.write(text)
                if to_disk:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(staged, self.path / name)  # noqa: PTH105 - the atomic one, by its name
        finally:
            staged.unlink(missing_ok=True)

    def begin(self, command: JobCommand) -> None:
        """Write down what the job does, so that it outlives a power cut."""
        with _refusals(self.path):
            self._write("job.json", serialize_command(command), to_disk=True)


def make_folder(state_dir: Path) -> JobFolder:
    """Make a folder with a new name, for this user alone."""
    parent = _parent(state_dir)
    with _refusals(parent):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            name = "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))
            with contextlib.suppress(FileExistsError):
                (parent / name).mkdir(mode=0o700)
                return JobFolder(parent / name)


def all_folders(state_dir: Path, *, owner: int | None = None) -> tuple[JobFolder, ...]:
    """Return the jobs of ``owner``, this user; what others left there is no command to us."""
    parent = _parent(state_dir)
    found = []
    with _refusals(parent, doing="reading"):
        try:
            entries = sorted(parent.iterdir())
        except FileNotFoundError:
            return ()
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.lstat()
                is_ours = status.st_uid == (_uid() if owner is None else owner)
                if is_ours and entry.is_dir() and not entry.is_symlink():
                    found.append(JobFolder(entry))
    return tuple(found)


def find_folder(state_dir: Path, job_id: str) -> JobFolder:
    """Return a job's folder; raises `UsageError` if there is none of that name."""
    for folder in all_folders(state_dir):
        if folder.job_id == job_id:
            return folder
    raise UsageError(f"there is no job `{job_id}`", hint="`hfaria status` lists them")


def _uid() -> int:
    return 0 if sys.platform == "win32" else os.getuid()  # all files are 0's there


def _parent(state_dir: Path) -> Path:
    return state_dir / "jobs"


def _read(path: Path) -> str | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


@contextmanager
def _refusals(path: Path, *, doing: str = "writing") -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        place = exc.filename or path
        raise StoreError(
            f"{doing} the state of jobs failed at `{place}`: {exc.strerror or exc}",
            hint="name another folder with HFARIA_STATE_DIR",
        ) from exc


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep still about a filesystem where a file stands in for the lock."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
