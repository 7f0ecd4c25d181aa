"""Edit `hfaria.toml`; what its author wrote around the values stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.items import AoT, Table

from hfaria.errors import InvalidManifest, ManifestNotFound, UsageError
from hfaria.project.manifest_file import understand
from hfaria.project.toml import line_of, parse, read_text, span_of, write_text
from hfaria.rules.manifest import REPO_TABLE, Manifest
from hfaria.rules.spec import DEFAULT_REVISION, RepoType

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hfaria.rules.manifest import WantedRepo
    from hfaria.rules.spec import RepoSpec

_HEAD = "# What this project needs from the Hub. `hfaria preload` fetches it.\n\n"


@dataclass(frozen=True, slots=True)
class RepoEdit:
    """What is said of a repo that is added or changed; None leaves a key as it is."""

    repo_id: str
    repo_type: RepoType = RepoType.MODEL
    revision: str | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    variant: str | None = None
    priority: int | None = None
    groups: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None

    def keys(self) -> dict[str, Any]:
        """Return the keys to set, but the id, in the order in which they are written."""
        is_model = self.repo_type is RepoType.MODEL
        said: dict[str, Any] = {
            "type": None if is_model else self.repo_type.value,
            "revision": self.revision,
            "include": self.include,
            "exclude": self.exclude,
            "variant": self.variant,
            "priority": self.priority,
            "groups": self.groups,
            "endpoints": self.endpoints,
        }
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in said.items()
            if value is not None
        }


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of an edit, and on which line."""

    spec: RepoSpec
    line: int
    is_new: bool
    is_changed: bool


def add_repo(path: Path, edit: RepoEdit) -> Edited:
    """Add a repo, or change the one that is there; the file is made if it does not exist."""
    text = read_text(path)
    before = Manifest() if text is None else understand(text, path)
    number = _place_of(before, edit, path)
    document = tomlkit.parse(_HEAD if text is None else text)
    repos = document.get(REPO_TABLE)
    if repos is None:
        repos = tomlkit.aot()
        document[REPO_TABLE] = repos
    if not isinstance(repos, AoT):
        raise InvalidManifest(f"`{path}`: `repo` is written on one line: edit it by hand")
    if number is None:
        number = len(repos)
        table = tomlkit.table()
        table["id"] = edit.repo_id
        for key, value in edit.keys().items():
            table[key] = value
        if number:
            _end_with_empty_line(repos[-1])
        repos.append(table)
    else:
        _change(repos[number], edit)
    changed = tomlkit.dumps(document)
    after = understand(changed, path)
    if changed != text:
        write_text(path, changed)
    line = line_of(changed, (REPO_TABLE, number))
    return Edited(
        after.repos[number].spec,
        line,
        is_new=len(after.repos) > len(before.repos),
        is_changed=changed != text,
    )


def remove_repo(path: Path, name: str) -> tuple[WantedRepo, ...]:
    """Remove the repo that ``name`` means, with the comment right above it; returns it."""
    text = read_text(path)
    if text is None:
        raise ManifestNotFound(f"there is no manifest `{path}`")
    manifest = understand(text, path)
    found = manifest.named(name)
    if not found:
        known = ", ".join(repo.spec.label for repo in manifest.repos)
        raise UsageError(
            f"`{path}` names no `{name}`", hint=f"it names {known}" if known else "it is empty"
        )
    if len({(repo.spec.repo_type, repo.spec.repo_id) for repo in found}) > 1:
        choices = ", ".join(f"`hf://{repo.spec.plural}/{repo.spec.repo_id}`" for repo in found)
        raise UsageError(f"`{name}` is several repos: {choices}", hint="name one of them in full")
    for number in reversed([manifest.repos.index(repo) for repo in found]):
        text = _without(text, number, path)
    write_text(path, text)
    return found


# --- editing ---------------------------------------------------------------------------------


def _place_of(manifest: Manifest, edit: RepoEdit, path: Path) -> int | None:
    """Return the number of the repo that the edit is about, or None if it is a new one."""
    same = [
        number
        for number, repo in enumerate(manifest.repos)
        if (repo.spec.repo_id, repo.spec.repo_type) == (edit.repo_id, edit.repo_type)
    ]
    if len(same) < 2:  # noqa: PLR2004 - one is the one
        return same[0] if same else None
    revision = edit.revision or DEFAULT_REVISION
    exact = [number for number in same if manifest.repos[number].spec.revision == revision]
    if exact:
        return exact[0]
    raise UsageError(f"`{path}` names `{edit.repo_id}` at {len(same)} revisions: edit it by hand")


def _change(table: Table, edit: RepoEdit) -> None:
    keys = edit.keys()
    if str(table.get("id", "")).startswith("hf://"):  # it says type and revision itself
        keys.pop("type", None)
        if "revision" in keys:
            table["id"] = edit.repo_id
            keys = edit.keys()
    if "endpoints" in keys:
        table.pop("endpoint", None)
    # What follows the last key, such as the comment of the next repo, stays behind a new one.
    body = table.value.body
    end = max((n for n, (key, _) in enumerate(body) if key is not None), default=-1) + 1
    trailing = body[end:]
    del body[end:]
    for key, value in keys.items():
        table[key] = value
    body.extend(trailing)


def _end_with_empty_line(table: Table) -> None:
    if not table.as_string().endswith("\n\n"):
        table.add(tomlkit.nl())


def _without(text: str, number: int, path: Path) -> str:
    """Return the text without a repo's lines and the comment that stands right above them."""
    before = parse(text, path)
    keys: Iterable[str] = before[REPO_TABLE][number]
    spans = [span_of(text, (REPO_TABLE, number, key)) for key in keys]
    start = line_of(text, (REPO_TABLE, number)) - 1
    end = max(last for _, last in spans)
    lines = text.split("\n")
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    while end < len(lines) - 1 and not lines[end].strip():
        end += 1
    after = "\n".join(lines[:start] + lines[end:])
    if not "".join(lines[end:]).strip():
        after = after.rstrip("\n") + "\n"
    del before[REPO_TABLE][number]
    if parse(after, path) != {key: value for key, value in before.items() if value != []}:
        raise InvalidManifest(f"`{path}`: this repo is written in a way to be edited by hand alone")
    return after
