"""A bundle of what a project's manifest or lock says: the same trees as a preload makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.project.lock_file import load_lock
from hfaria.rules.listing import RemoteFile
from hfaria.rules.listing_digest import digest_of_files, digest_of_set
from loopback_hub import AlterListing, Fault, Generated, repo
from support.bundles import MIB, assert_valid, assert_whole, documents, stick_folders
from support.cli import refused, wait_until
from support.projects import Project
from support.trees import assert_clean

if TYPE_CHECKING:
    from hfaria.bundle.importer.values import Bundle
    from loopback_hub import LoopbackHub
    from support.cli import Run, User

pytestmark = pytest.mark.aria2

CHAT = repo(
    "org/chat-GGUF",
    {
        "README.md": b"---\nlicense: mit\n---\n",
        "chat-Q4_K_M.gguf": Generated(1, 2 * MIB),
        "chat-Q8_0.gguf": Generated(2, 3 * MIB),
    },
)
SPEECH = repo(
    "org/speech",
    {f"{part}/{n:02}.txt": f"{part}{n}".encode() for part in ("clean", "noisy") for n in range(9)},
    repo_type="dataset",
)
TTS = repo(
    "org/tts",
    {
        "config.json": b'{"version": 1}',
        "model.safetensors": Generated(3, 4 * MIB),
        "model.bin": Generated(4, 4 * MIB),
    },
)
MANIFEST = """\
[[repo]]
id = "org/tts"
exclude = ["*.bin"]
groups = ["serve"]

[[repo]]
id = "org/chat-GGUF"
variant = "Q4_K_M"
groups = ["serve"]

[[repo]]
id = "org/speech"
type = "dataset"
include = ["clean/*"]
"""
EXPECTED = {
    "org/tts": ["config.json", "model.safetensors"],
    "org/chat-GGUF": ["README.md", "chat-Q4_K_M.gguf"],
    "org/speech": [f"clean/{n:02}.txt" for n in range(9)],
}


class CarriedProject(Project):
    """A project whose repos are carried away."""

    def digest(self, *arguments: str) -> str:
        """Lock it; return the digest over all of it."""
        return self.locked("--digest", *arguments).stdout.strip()

    def create(self, *arguments: str) -> Run:
        return self.user.run("bundle", "create", *arguments)

    def created(self, *arguments: str) -> Path:
        """Make a bundle of one stick; return its folder."""
        run = self.create(*arguments, "-q")
        assert run.code == 0, run.stderr
        return Path(run.stdout.strip())


@pytest.fixture
def project(hub: LoopbackHub, user: User, tmp_path: Path) -> CarriedProject:
    for spec in (CHAT, SPEECH, TTS):
        hub.put_repo(spec)
    made = CarriedProject(tmp_path / "project", user)
    made.folder.mkdir()
    made.manifest.write_text(MANIFEST, encoding="utf-8")
    return made


def paths_of(bundle: Bundle) -> dict[str, list[str]]:
    """Return the files that are carried of each repo."""
    return {
        carried.repo_id: [file.path for file in revision.files]
        for carried in bundle.repos
        for revision in carried.revisions.values()
    }


def imported(user: User, bag: Path, cache: Path) -> None:
    run = user.run("bundle", "import", str(bag), "--cache", str(cache), "--reserve", "0")
    assert run.code == 0, run.stderr
    assert_clean(cache)


def digest_of_cache(cache: Path, lock: Path) -> str:
    """Compute the set's digest from what a target's refs lead to, and the bytes that are there."""
    entries = []
    held = load_lock(lock)
    assert held is not None
    for locked in held.repos:
        folder = cache / locked.spec.folder_name
        commit = (folder / "refs" / locked.spec.revision).read_text()
        snapshot = folder / "snapshots" / commit
        files = []
        for path in (path for path in snapshot.rglob("*") if path.is_file()):
            blob = path.resolve().name
            sha256 = blob if len(blob) == 64 else None
            name = path.relative_to(snapshot).as_posix()
            files.append(RemoteFile(name, path.stat().st_size, blob, sha256))
        entries.append((locked.spec, commit, digest_of_files(files)))
    return digest_of_set(entries)


def test_a_locks_bundle_gives_the_digest_that_a_preload_gives(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    digest = project.digest()
    # What the branches name by now is of no interest, and nobody is asked about it.
    hub.put_repo(TTS.with_commit({"config.json": b'{"version": 2}'}))
    hub.reset_records()
    bag = project.created("--lock", str(project.lock), "--to", str(place))
    assert_valid(bag)
    assert_whole([bag])
    bundle, _ = documents(bag)
    assert paths_of(bundle) == EXPECTED
    assert {carried.repo_id: carried.refs for carried in bundle.repos} == {
        spec.repo_id: {"main": spec.commit_id} for spec in (CHAT, SPEECH, TTS)
    }
    assert [record.path for record in hub.records if record.path.endswith("/revision/main")] == []
    filters = {
        carried.repo_id: revision.patterns
        for carried in bundle.repos
        for revision in carried.revisions.values()
    }
    assert filters == {
        "org/tts": {"include": [], "exclude": ["*.bin"]},
        "org/chat-GGUF": {"include": ["README.md", "chat-Q4_K_M.gguf"], "exclude": []},
        "org/speech": {"include": ["clean/*"], "exclude": []},
    }
    imported(project.user, bag, tmp_path / "target")
    assert digest_of_cache(tmp_path / "target", project.lock) == digest
    preload = project.user.run("preload", str(project.manifest), "--frozen", "--json")
    assert preload.document["digest"] == digest


def test_the_target_proves_without_a_network_that_it_holds_what_is_locked(
    project: CarriedProject, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    target = tmp_path / "target"
    digest = project.digest()
    imported(project.user, project.created("--lock", str(project.lock), "--to", str(place)), target)
    offline = project.user.having(HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(target))
    verified = offline.run("verify", "--lock", str(project.lock))
    assert verified.code == 0, verified.stdout + verified.stderr
    preloaded = offline.run("preload", str(project.manifest), "--frozen", "--json")
    assert preloaded.document["digest"] == digest
    # What is a part has no listing there: readers would take it for all that there is.
    assert [path.parent.parent.name for path in target.glob("*/trees/*")] == []
    (blob,) = (target / "datasets--org--speech/snapshots").glob("*/clean/03.txt")
    blob.resolve().write_bytes(b"cleanX")
    assert offline.run("verify", "--lock", str(project.lock)).code == 4
    blob.unlink()
    assert offline.run("verify", "--lock", str(project.lock)).code == 3


def test_the_next_month_brings_only_what_the_lock_moved_on_to(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    first, second = stick_folders(tmp_path, 2)
    target, inventory = tmp_path / "target", tmp_path / "inventory.json"
    project.digest()
    lock = str(project.lock)
    imported(project.user, project.created("--lock", lock, "--to", str(first)), target)
    written = project.user.run("inventory", "--cache", str(target), "-o", str(inventory))
    assert written.code == 0, written.stderr
    files = {file.path: file.content for file in TTS.head.files}
    hub.put_repo(TTS.with_commit({**files, "config.json": b'{"version": 2}'}))
    digest = project.digest("--upgrade")
    bag = project.created("--lock", lock, "--to", str(second), "--base", str(inventory))
    bundle, _ = documents(bag)
    assert [item.size for item in bundle.objects.values()] == [len(b'{"version": 2}')]
    assert len(bundle.requires) == sum(map(len, EXPECTED.values())) - 1
    run = project.user.run(
        "bundle", "import", str(bag), "--cache", str(target), "--reserve", "0", "--update-refs"
    )
    assert run.code == 0, run.stderr
    assert digest_of_cache(target, project.lock) == digest


def test_a_listing_that_is_not_the_locked_one_stops_before_any_byte(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    project.digest()
    text = project.lock.read_text(encoding="utf-8")
    good = load_lock(project.lock)
    assert good is not None
    lie = good.repos[-1].digest
    project.lock.write_text(text.replace(lie, f"sha256:{'0' * 64}"), encoding="utf-8")
    hub.reset_records()
    run = project.create("--lock", str(project.lock), "--to", str(place))
    assert "lists other files of `org/tts`" in refused(run, 4)
    assert hub.file_bytes_sent() == 0
    assert list(place.iterdir()) == []


def test_a_hub_that_lies_about_a_locked_commit_is_refused(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    project.digest()
    lie = AlterListing("config.json", field_name="path", value="evil.json")
    hub.faults.add(Fault(lie, kind="tree", path="*org/tts*"))
    for flags in (("--lock", str(project.lock)), ("--manifest", str(project.manifest))):
        run = project.create(*flags, "--to", str(place))
        assert "lists other files of `org/tts`" in refused(run, 4)
    assert list(place.iterdir()) == []


def test_a_manifest_is_taken_as_a_preload_takes_it(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    project.digest()
    locked = project.lock.read_bytes()
    newer = TTS.with_commit({"config.json": b'{"version": 2}', "model.safetensors": b"new"})
    hub.put_repo(newer)
    # One repo is not locked: it is taken as it is now, the others as they are locked.
    more = repo("org/more", {"a.txt": b"1"}).with_commit({"a.txt": b"2"})
    hub.put_repo(more)
    project.manifest.write_text(f'{MANIFEST}\n[[repo]]\nid = "org/more"\n', encoding="utf-8")
    run = project.create("--manifest", str(project.manifest), "--to", str(place))
    assert run.code == 0, run.stderr
    assert "not locked, taken as the revision is now: org/more\n" in run.stderr
    bundle, _ = documents(Path(run.stdout.strip()))
    assert paths_of(bundle) == {**EXPECTED, "org/more": ["a.txt"]}
    refs = {carried.repo_id: carried.refs["main"] for carried in bundle.repos}
    assert (refs["org/tts"], refs["org/more"]) == (TTS.commit_id, more.commit_id)
    assert project.lock.read_bytes() == locked


def test_groups_and_endpoints_of_a_manifest_count(project: CarriedProject, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    bag = project.created(
        "--manifest", str(project.manifest), "--group", "serve", "--to", str(place)
    )
    assert set(paths_of(documents(bag)[0])) == {"org/tts", "org/chat-GGUF"}
    away = f'{MANIFEST}endpoints = ["http://127.0.0.1:9"]\n'
    project.manifest.write_text(away, encoding="utf-8")
    flags = ["--manifest", str(project.manifest), "--to", str(place), "--no-origin"]
    impatient = [*flags, "--patience", "1s", "--plan-only"]
    assert "127.0.0.1:9" in project.create(*impatient).error
    named = project.create(*flags, "--endpoint", project.user.origin, "--plan-only", "--json")
    assert len(named.document["repos"]) == 3


def test_the_names_of_the_files_need_not_be_given(project: CarriedProject, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    project.digest()
    command = ["-m", "hfaria", "bundle", "create"]
    program = (
        "import os, subprocess, sys\n"
        f"os.chdir({str(project.folder)!r})\n"
        "for flag in ('--lock', '--manifest'):\n"
        f"    subprocess.run([sys.executable, *{command!r}, flag, '--plan-only', '--json',"
        f" '--to', {str(place)!r}], check=True)\n"
    )
    texts = project.user.python(program).splitlines()
    for text in "".join(texts).replace("}{", "}\n{").splitlines():
        assert len(json.loads(text)["repos"]) == 3


def test_an_interrupted_run_of_a_lock_goes_on_with_its_own_journal(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    big = repo("org/big", {"model.safetensors": Generated(9, 48 * MIB), "b.txt": b"1"})
    hub.put_repo(big)
    project.manifest.write_text(f'{MANIFEST}\n[[repo]]\nid = "org/big"\n', encoding="utf-8")
    project.digest()
    project.user.run("preload", str(project.manifest), "-q")
    command = ["bundle", "create", "--lock", str(project.lock), "--to", str(place)]
    running = project.user.start(*command)
    wait_until(lambda: bool(list(place.glob("hfb-*/data/**/*.tmp"))) or running.has_ended)
    running.kill()
    shutil.rmtree(project.user.cache / "models--org--chat-GGUF")  # and the cache lost something
    again = project.user.run(*command)
    assert again.code == 0, again.stderr
    assert "going on with set" in again.stderr
    blobs = {path.name for path in project.user.cache.glob("models--org--chat-GGUF/blobs/*")}
    assert len(blobs) == len(EXPECTED["org/chat-GGUF"])
    bag = Path(again.stdout.strip())
    assert_valid(bag)
    # The same lock under another name, and named by a manifest: the same set, and it is done.
    copy = tmp_path / "other.lock"
    copy.write_bytes(project.lock.read_bytes())
    for flags in (("--lock", str(copy)), ("--manifest", str(project.manifest))):
        assert project.created(*flags, "--to", str(place)) == bag


def test_repos_may_be_named_beside_a_lock(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    extra = repo("org/extra", {"a.json": b"{}", "b.bin": b"1"})
    hub.put_repo(extra)
    project.digest()
    lock = ["--lock", str(project.lock), "--to", str(place)]
    bag = project.created("org/extra", *lock, "--include", "*.json")
    assert paths_of(documents(bag)[0]) == {**EXPECTED, "org/extra": ["a.json"]}
    run = project.create("org/tts", *lock)
    assert refused(run, 2) == (
        f"`org/tts` is named, and `{project.lock}` selects other files of it"
    )


def test_one_commit_under_two_names_is_carried_once_with_the_files_of_both(
    project: CarriedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    spec = repo("org/two", {"a[1].txt": b"1", "b.txt": b"2", "c.txt": b"3"}, pull_requests={1: 0})
    hub.put_repo(spec)
    project.manifest.write_text(
        '[[repo]]\nid = "org/two"\ninclude = ["a*"]\n\n'
        '[[repo]]\nid = "org/two"\nrevision = "refs/pr/1"\ninclude = ["b*"]\n',
        encoding="utf-8",
    )
    digest = project.digest()
    bag = project.created("--lock", str(project.lock), "--to", str(place))
    bundle, _ = documents(bag)
    (carried,) = bundle.repos
    assert sorted(carried.refs) == ["main", "refs/pr/1"]
    (revision,) = carried.revisions.values()
    assert [file.path for file in revision.files] == ["a[1].txt", "b.txt"]
    assert revision.patterns == {"include": ["a[[]1].txt", "b.txt"], "exclude": []}
    assert digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--manifest", "m", "--lock", "l"), "`--manifest` and `--lock` can't be used together"),
        (("--lock", "none.lock"), "there is no lock at `none.lock`"),
        (("--manifest", "none.toml"), "there is no manifest `none.toml`"),
        (("--lock", "empty"), "`empty` holds no repo"),
        (("--manifest", "blank"), "`blank` names no repo"),
        (("--lock", "bad"), "`bad` is not TOML: "),
        (("--manifest", "bad"), "`bad` is not TOML: "),
        (("--lock", "empty", "--group", "a"), "`--group` makes sense with `--manifest` alone"),
        (("--lock", "empty", "--include", "*"), "`--include` and `--exclude` are about the repos"),
    ],
)
def test_wrong_usage_is_one_line(
    flags: tuple[str, ...], text: str, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("version = 1\n", encoding="utf-8")
    Path("blank").write_text("", encoding="utf-8")
    Path("bad").write_text("[[repo\n", encoding="utf-8")
    run = user.run("bundle", "create", *flags, "--to", str(tmp_path))
    assert text in refused(run, 2)
