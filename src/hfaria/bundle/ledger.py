"""The connected side's ledger: which sets were made, how far they are, what was confirmed."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.format import SHA256, receipt_code
from hfaria.errors import AlreadyRunning, StoreError, UnknownBase, UsageError
from hfaria.rules.bundle_plan_file import RecordedPlan, from_document, to_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfaria.bundle.importer.values import Bundle

PLAN = "plan.json"
"""File of the plan of a set's own sticks."""
_BUNDLE, _RECEIPT = "bundle.json", "acknowledged"
_SHORTEST_ID = 8


class Signature(NamedTuple):
    """A detached signature of bundle.json: the name of its file, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Ledger:
    """A folder with one folder for each set."""

    folder: Path

    def set_ids(self) -> list[str]:
        """Return every set, the newest last."""
        with suppress(OSError):
            folders = [path for path in self.folder.iterdir() if SHA256.fullmatch(path.name)]
            return [path.name for path in sorted(folders, key=lambda path: path.stat().st_mtime)]
        return []

    def find(self, short_id: str) -> str:
        """Return the set whose id begins so; raises `UnknownBase` or `UsageError`."""
        if len(short_id) < _SHORTEST_ID:
            raise UsageError(f"`{short_id}` is too short for a set id: 8 digits at least")
        found = [set_id for set_id in self.set_ids() if set_id.startswith(short_id.lower())]
        if len(found) != 1:
            known = ", ".join(set_id[:8] for set_id in self.set_ids()[-5:]) or "none"
            raise UnknownBase(
                f"no set `{short_id}` was made on this machine",
                hint=f"sets that were made here lately: {known}",
            )
        return found[0]

    def bundle_text(self, set_id: str) -> bytes | None:
        """Return a set's bundle.json."""
        try:
            return (self.folder / set_id / _BUNDLE).read_bytes()
        except OSError:
            return None

    def bundle(self, set_id: str) -> Bundle:
        """Return a set's content; raises `UnknownBase` if the ledger's copy is damaged."""
        text = self.bundle_text(set_id)
        try:
            bundle = None if text is None else parse_bundle(text)
        except BundleError as exc:
            raise UnknownBase(f"the ledger's copy of set {set_id[:8]} is damaged") from exc
        if bundle is None or bundle.set_id != set_id:
            raise UnknownBase(f"the ledger has lost set {set_id[:8]}")
        return bundle

    def add(self, set_id: str, text: bytes) -> None:
        """Keep a set's bundle.json."""
        self._write(set_id, _BUNDLE, text)

    def signatures(self, set_id: str) -> tuple[Signature, ...]:
        """Return the signatures that were made of a set."""
        with suppress(OSError):
            paths = sorted((self.folder / set_id).glob(f"{_BUNDLE}.*sig"))
            return tuple(Signature(path.name, path.read_bytes()) for path in paths)
        return ()

    def add_signature(self, set_id: str, signature: Signature) -> None:
        """Keep a signature, so that every stick gets the same one."""
        self._write(set_id, signature.name, signature.content)

    def plan(self, set_id: str, name: str = PLAN) -> RecordedPlan | None:
        """Return a set's plan, if one was begun; repairs have plans of their own."""
        with suppress(OSError, ValueError):
            return from_document(json.loads((self.folder / set_id / name).read_bytes()))
        return None

    def save_plan(self, plan: RecordedPlan, name: str = PLAN) -> None:
        """Keep a plan in place of the one before."""
        self._write(plan.set_id, name, json.dumps(to_document(plan)).encode())

    def forget_plan(self, set_id: str) -> bool:
        """Drop a set's plans; tell whether there were any."""
        plans = [self.folder / set_id / PLAN, *(self.folder / set_id).glob("repair-*.json")]
        there = [path for path in plans if path.is_file()]
        for path in there:
            path.unlink(missing_ok=True)
        return bool(there)

    def begun(self, request: str) -> RecordedPlan | None:
        """Return the newest plan that was begun for the same request and is not finished."""
        for set_id in reversed(self.set_ids()):
            plan = self.plan(set_id)
            if plan is not None and plan.request == request and plan.begun:
                return None if plan.is_finished else plan
        return None

    def acknowledge(self, code: str) -> str:
        """Believe that a set arrived; returns its id. Raises `UsageError` for a wrong code."""
        text = code.strip().upper()
        for set_id in self.set_ids():
            if receipt_code(set_id).upper() == text:
                self._write(set_id, _RECEIPT, f"{receipt_code(set_id)}\n".encode())
                return set_id
        raise UsageError(
            f"`{code}` is not the receipt of a set that was made on this machine",
            hint="the import prints it: HFR1-, 8 digits and 6 letters, 20 characters in all",
        )

    def is_acknowledged(self, set_id: str) -> bool:
        """Tell whether the receipt of a set was typed in here."""
        return (self.folder / set_id / _RECEIPT).is_file()

    @contextmanager
    def lock(self, set_id: str) -> Iterator[None]:
        """Keep two processes from writing the same set."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(str(self.folder / f"{set_id[:16]}.lock"))
            lock.acquire(timeout=0)
        except Timeout as exc:
            raise AlreadyRunning(
                f"another process is writing sticks of set {set_id[:8]}",
                hint="wait for it to end, or stop it",
            ) from exc
        except OSError as exc:
            raise _unwritable(exc) from exc
        try:
            yield
        finally:
            lock.release()

    def _write(self, set_id: str, name: str, content: bytes) -> None:
        path = self.folder / set_id / name
        staged = path.with_name(f"{name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with staged.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(staged, path)  # noqa: PTH105 - the atomic one, by its name
        except OSError as exc:
            raise _unwritable(exc) from exc


def _unwritable(exc: OSError) -> StoreError:
    return StoreError(
        f"the ledger of bundles can't be written: `{exc.filename}`: {exc.strerror}",
        hint="HFARIA_STATE_DIR names another folder for it",
    )
