"""The manifest and the lock on a disk: read, found fault with, and edited with care."""

from __future__ import annotations

import stat
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from hfaria.errors import InvalidManifest, ManifestNotFound, StoreError, UsageError
from hfaria.project.lock_file import load_lock, lock_path_of, store_lock
from hfaria.project.manifest_edit import RepoEdit, add_repo, remove_repo
from hfaria.project.manifest_file import load_manifest
from hfaria.rules.lock import LockedRepo, make_lock
from hfaria.rules.spec import RepoSpec, RepoType

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN = """\
# Our application.

[defaults]
priority = 1  # sooner than others

# The voice.
[[repo]]
id = "org/tts"  # by us
include = [
  "*.json",  # all of them
  "*.safetensors",
]

# The vocoder; not the large one.
[[repo]]
id = "org/vocoder"

# The end.
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "hfaria.toml"
    path.write_text(WRITTEN, encoding="utf-8")
    return path


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("priority = 1 ", "priority = 'x' ", 4, "`priority` must be a whole number"),
        ("[defaults]", "[default]", 3, "`default` is not a key that is known here"),
        ("include = [", "inclde = [", 9, "`inclde` is not a key"),
        ('"*.safetensors",', "3,", 9, "`include` must hold texts alone"),
        ('id = "org/vocoder"', "", 15, "`[[repo]]` has no `id`"),
        ('id = "org/vocoder"', 'id = "org/tts"', 16, "`id` `org/tts` at `main` is there twice"),
    ],
)
def test_a_fault_names_line_and_key(
    manifest: Path, old: str, new: str, line: int, said: str
) -> None:
    manifest.write_text(WRITTEN.replace(old, new), encoding="utf-8")
    with pytest.raises(InvalidManifest) as caught:
        load_manifest(manifest)
    assert caught.value.message.startswith(f"{manifest}:{line}: {said}")


def test_what_is_no_toml_is_told_with_its_line(manifest: Path) -> None:
    manifest.write_text(WRITTEN.replace("[defaults]", "[defaults"), encoding="utf-8")
    with pytest.raises(InvalidManifest, match=r"is not TOML: .*line 3"):
        load_manifest(manifest)


def test_no_manifest_and_one_that_is_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestNotFound):
        load_manifest(tmp_path / "hfaria.toml")
    (tmp_path / "hfaria.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidManifest, match="not UTF-8"):
        load_manifest(tmp_path / "hfaria.toml")


# --- adding --------------------------------------------------------------------------------------


def test_the_first_repo_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "hfaria.toml"
    edited = add_repo(path, RepoEdit("org/data", RepoType.DATASET, groups=("train",)))
    assert edited.is_new
    assert path.read_text().splitlines()[edited.line - 1] == "[[repo]]"
    assert path.read_text().splitlines()[1:] == [
        "",
        "[[repo]]",
        'id = "org/data"',
        'type = "dataset"',
        'groups = ["train"]',
    ]
    assert load_manifest(path).repos[0].spec == RepoSpec("org/data", RepoType.DATASET)


def test_a_new_repo_comes_last_and_all_else_stays(manifest: Path) -> None:
    edited = add_repo(manifest, RepoEdit("org/new", revision="v1"))
    text = manifest.read_text(encoding="utf-8")
    assert text == f'{WRITTEN}\n[[repo]]\nid = "org/new"\nrevision = "v1"\n'
    assert edited.line == 20


def test_a_repo_that_is_there_is_changed_and_all_else_stays(manifest: Path) -> None:
    edited = add_repo(manifest, RepoEdit("org/tts", revision="v2", include=("*.bin",)))
    assert not edited.is_new
    changed = manifest.read_text(encoding="utf-8")
    old = '  "*.json",  # all of them\n  "*.safetensors",\n]\n'
    assert changed == WRITTEN.replace(
        f"include = [\n{old}", 'include = ["*.bin"]\nrevision = "v2"\n'
    )


def test_adding_what_is_there_changes_nothing(manifest: Path) -> None:
    manifest.chmod(0o600)
    before = manifest.stat()
    add_repo(manifest, RepoEdit("org/vocoder"))
    assert manifest.stat().st_mtime_ns == before.st_mtime_ns


def test_an_edit_that_would_make_an_invalid_manifest_is_not_written(manifest: Path) -> None:
    with pytest.raises(InvalidManifest, match="`include`"):
        add_repo(manifest, RepoEdit("org/new", include=("",)))
    assert manifest.read_text(encoding="utf-8") == WRITTEN


def test_an_edited_file_keeps_its_mode_and_a_link_its_target(manifest: Path) -> None:
    manifest.chmod(0o640)
    link = manifest.with_name("link.toml")
    link.symlink_to(manifest)
    add_repo(link, RepoEdit("org/new"))
    assert link.is_symlink()
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o640
    assert "org/new" in manifest.read_text(encoding="utf-8")


# --- removing ------------------------------------------------------------------------------------


def test_a_removed_repo_takes_its_own_comment_along_and_no_other(manifest: Path) -> None:
    (removed,) = remove_repo(manifest, "org/tts")
    assert removed.spec.repo_id == "org/tts"
    start, end = WRITTEN.index("# The voice."), WRITTEN.index("# The vocoder")
    assert manifest.read_text(encoding="utf-8") == WRITTEN[:start] + WRITTEN[end:]


def test_the_last_repo_can_go_too(manifest: Path) -> None:
    remove_repo(manifest, "hf://org/vocoder")
    start, end = WRITTEN.index("# The vocoder"), WRITTEN.index("# The end.")
    assert manifest.read_text(encoding="utf-8") == WRITTEN[:start] + WRITTEN[end:]
    remove_repo(manifest, "org/tts")
    assert load_manifest(manifest).repos == ()


def test_all_revisions_go_unless_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hfaria.toml"
    entries = [f'[[repo]]\nid = "org/a"\nrevision = "{name}"\n' for name in ("v1", "v2", "v3")]
    path.write_text("\n".join(entries), encoding="utf-8")
    remove_repo(path, "org/a@v2")
    assert [repo.spec.revision for repo in load_manifest(path).repos] == ["v1", "v3"]
    remove_repo(path, "org/a")
    assert load_manifest(path).repos == ()


def test_an_unknown_or_ambiguous_name_removes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hfaria.toml"
    text = '[[repo]]\nid = "org/a"\n\n[[repo]]\nid = "org/a"\ntype = "dataset"\n'
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="names no `org/b`") as caught:
        remove_repo(path, "org/b")
    assert caught.value.hint == "it names org/a, datasets/org/a"
    with pytest.raises(UsageError, match="is several repos"):
        remove_repo(path, "org/a")
    assert path.read_text(encoding="utf-8") == text


def test_a_form_that_can_not_be_edited_with_care_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hfaria.toml"
    text = 'repo = [{ id = "org/a" }, { id = "org/b" }]\n'
    path.write_text(text, encoding="utf-8")
    assert len(load_manifest(path).repos) == 2
    with pytest.raises(InvalidManifest, match="by hand"):
        remove_repo(path, "org/a")
    with pytest.raises(InvalidManifest, match="by hand"):
        add_repo(path, RepoEdit("org/c"))
    assert path.read_text(encoding="utf-8") == text


# --- the lock ------------------------------------------------------------------------------------


def test_a_lock_is_written_once_and_lies_beside_its_manifest(manifest: Path) -> None:
    path = lock_path_of(manifest)
    assert path.name == "hfaria.lock"
    assert load_lock(path) is None
    now = datetime(2026, 1, 31, tzinfo=timezone.utc)
    repo = LockedRepo(
        RepoSpec("org/a"), "0" * 40, f"sha256:{'0' * 64}", 1, 2, "https://hub.test", now
    )
    assert store_lock(path, make_lock([repo]))
    assert not store_lock(path, make_lock([repo]))
    assert load_lock(path) == make_lock([repo])


def test_a_fault_of_a_lock_names_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "hfaria.lock"
    path.write_text('version = 1\n\n[[repo]]\nid = "org/a"\ntype = "x"\n', encoding="utf-8")
    with pytest.raises(InvalidManifest, match=r"hfaria.lock:3: `\[\[repo\]\]` "):
        load_lock(path)


def test_a_lock_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be written"):
        store_lock(tmp_path / "absent" / "hfaria.lock", make_lock([]))
