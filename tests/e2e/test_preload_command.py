"""`hfaria lock` and `hfaria preload`: a set of repos, pinned, on whatever machine and line."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.rules.listing import RemoteFile, git_blob_digest
from hfaria.rules.listing_digest import digest_of_files, digest_of_set
from hfaria.rules.spec import RepoSpec as Spec
from hfaria.rules.spec import RepoType
from loopback_hub import (
    AlterListing,
    Close,
    Fault,
    Generated,
    Hangup,
    Lacks,
    Reset,
    Shape,
    Status,
    repo,
)
from loopback_hub.repos import stored_file
from support.cli import refused, user_of, wait_until
from support.projects import Project
from support.trees import assert_clean, assert_holds, assert_nothing_left, tree_of

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub, RepoSpec
    from loopback_hub.effects import Effect
    from loopback_hub.faults import MatchKind
    from support.cli import Run, User

pytestmark = pytest.mark.aria2

MB = 1_000_000
SHARED = Generated(77, 5 * MB)
TTS = repo(
    "org/tts",
    {
        "config.json": b'{"model_type": "tts"}',
        "model.safetensors": Generated(1, 6 * MB),
        "tokenizer.model": SHARED,
        **{f"voices/{number:03}.json": b'{"voice": %d}' % number for number in range(100)},
    },
)
VOCODER = repo(
    "org/vocoder", {"vocoder.safetensors": Generated(2, 5 * MB), "tokenizer.model": SHARED}
)
SPEECH = repo(
    "org/speech",
    {f"audio/{number:04}.txt": b"%d" % number for number in range(300)},
    repo_type="dataset",
)
SET = (TTS, VOCODER, SPEECH)
MANIFEST = """\
[[repo]]
id = "org/vocoder"

[[repo]]
id = "org/tts"
priority = 1
groups = ["serve"]

[[repo]]
id = "org/speech"
type = "dataset"
"""


class PreloadedProject(Project):
    """A project whose repos are preloaded."""

    def preload(self, *arguments: str) -> Run:
        return self.user.run("preload", str(self.manifest), *arguments)

    def preloaded(self, *arguments: str) -> Run:
        run = self.preload(*arguments)
        assert run.code == 0, run.stderr
        return run

    def snapshot(self, spec: RepoSpec) -> Path:
        name = spec.repo_id.replace("/", "--")
        return self.user.cache / f"{spec.repo_type}s--{name}" / "snapshots" / spec.commit_id


@pytest.fixture
def project(hub: LoopbackHub, user: User, tmp_path: Path) -> PreloadedProject:
    for spec in SET:
        hub.put_repo(spec)
    made = PreloadedProject(tmp_path, user)
    made.manifest.write_text(MANIFEST, encoding="utf-8")
    return made


def second_machine(project: PreloadedProject, hub: LoopbackHub, folder: Path) -> PreloadedProject:
    """Return a project with the same two files, and nothing else, somewhere else."""
    folder.mkdir()
    other = PreloadedProject(folder, user_of(hub, folder / "home"))
    other.manifest.write_bytes(project.manifest.read_bytes())
    other.lock.write_bytes(project.lock.read_bytes())
    return other


def digest_on_disk(project: PreloadedProject, specs: tuple[RepoSpec, ...]) -> str:
    """Compute the set's digest from the bytes that readers see, as the reference describes it."""
    entries = []
    for spec in specs:
        snapshot = project.snapshot(spec)
        files = []
        for path in sorted(snapshot.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                name = path.relative_to(snapshot).as_posix()
                is_lfs = spec.head.by_path[name].is_lfs
                sha256 = hashlib.sha256(content).hexdigest() if is_lfs else None
                files.append(RemoteFile(name, len(content), git_blob_digest(content), sha256))
        kind = RepoType(spec.repo_type)
        entries.append((Spec(spec.repo_id, kind), spec.commit_id, digest_of_files(files)))
    return digest_of_set(entries)


def sent(hub: LoopbackHub, *, blob: str | None = None, repo_id: str | None = None) -> int:
    """Sum up the bytes of files that were sent, of one content or of one repo."""
    return sum(
        record.bytes_sent
        for record in hub.records
        if record.blob is not None
        and blob in {None, record.blob}
        and repo_id in {None, record.repo_id}
    )


def moved_on(spec: RepoSpec, number: int) -> RepoSpec:
    """Return a repo after so many commits that change, add and remove files."""
    files = {file.path: file.content for file in spec.head.files}
    for step in range(number):
        files["config.json"] = repo("x/y", {"a": b"%d" % step}).head.files[0].content
        files[f"new/{step}.txt"] = files["config.json"]
        spec = spec.with_commit(files)
    return spec


# --- one command, one run ------------------------------------------------------------------------


def test_one_run_brings_every_repo_and_what_they_share_once(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    run = project.preloaded("--json")
    document = run.document
    assert document["is_complete"]
    assert [each["repo_id"] for each in document["repos"]] == [
        "org/tts",
        "org/vocoder",
        "org/speech",
    ]
    assert {each["state"] for each in document["repos"]} == {"fetched"}
    for spec in SET:
        assert_holds(project.snapshot(spec), spec)
    assert SHARED.size <= sent(hub, blob=SHARED.sha256) < 1.5 * SHARED.size
    assert document["bytes_fetched"] == document["size"] - SHARED.size
    assert_clean(project.user.cache)
    assert_nothing_left(project.user.cache)
    assert project.lock.exists()


def test_a_flaky_line_changes_nothing(project: PreloadedProject, hub: LoopbackHub) -> None:
    hub.faults.add(
        Fault(Reset(after=400_000), kind="bytes", every=3, first=12),
        Fault(Close(after=20), kind="bytes", path="*voices*", every=5, first=10),
        Fault(Status(503), kind="resolve", every=7, first=20),
        Fault(Status(502), kind="api", every=2, first=3),
    )
    document = project.preloaded("--json").document
    for spec in SET:
        assert_holds(project.snapshot(spec), spec)
    assert document["digest"] == digest_on_disk(project, SET)


def test_the_summary_has_a_line_for_each_repo_and_one_digest(project: PreloadedProject) -> None:
    run = project.preloaded()
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "repo",
        "org/tts",
        "org/vocoder",
        "datasets/org/speech",
        "digest",
    ]
    assert max(map(len, run.stdout.splitlines())) <= 80
    assert project.locked("--digest").stdout.split() == [lines[-1].split()[1]]


def test_what_is_in_place_costs_no_request_and_with_q_no_word(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    project.preloaded()
    before = tree_of(project.user.cache)
    hub.reset_records()
    for arguments in (["--frozen", "-q"], ["--locked", "-q"], ["-q"]):
        run = project.preloaded(*arguments)
        assert (run.stdout, run.stderr) == ("", "")
    assert hub.records == ()
    assert tree_of(project.user.cache) == before


def test_quiet_says_what_changed_and_no_more(project: PreloadedProject) -> None:
    run = project.preloaded("-q")
    assert [line.split(":")[0] for line in run.stdout.splitlines()] == [
        "org/tts",
        "org/vocoder",
        "datasets/org/speech",
    ]
    assert run.stderr == ""


def test_a_dry_run_writes_nothing(project: PreloadedProject, hub: LoopbackHub) -> None:
    document = project.preloaded("--dry-run", "--json").document
    assert document["bytes_to_fetch"] == document["disk_needed"]
    total = sum(each["size"] for each in document["repos"])
    assert document["bytes_to_fetch"] == total - SHARED.size
    assert not project.user.cache.exists()
    assert not project.lock.exists()
    assert hub.file_bytes_sent() == 0


def test_a_group_is_a_part_of_the_set(project: PreloadedProject) -> None:
    document = project.preloaded("--group", "serve", "--json").document
    assert [each["repo_id"] for each in document["repos"]] == ["org/tts"]
    assert_holds(project.snapshot(TTS), TTS)
    assert not project.snapshot(VOCODER).exists()


def test_a_killed_run_is_continued_by_the_next(project: PreloadedProject, hub: LoopbackHub) -> None:
    hub.shape("cdn", Shape(rate_total=8e6))
    running = project.user.start("preload", str(project.manifest))
    wait_until(lambda: hub.file_bytes_sent(site="cdn") > 7 * MB, running)
    running.kill()
    hub.shape("cdn", Shape())
    project.preloaded()
    for spec in SET:
        assert_holds(project.snapshot(spec), spec)
    total = sum(file.size for spec in SET for file in spec.head.files)
    # Less than half of what the killed run had; benchmarks measure it at sizes that tell more.
    assert sent(hub) - (total - SHARED.size) < 3.5 * MB


def test_an_interrupted_run_says_so_and_leaves_no_engine(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    hub.shape("cdn", Shape(rate_total=4e6))
    running = project.user.start("preload", str(project.manifest))
    wait_until(lambda: hub.file_bytes_sent(site="cdn") > 2 * MB, running)
    engines = running.engines()
    running.send(signal.SIGTERM)
    run = running.wait()
    assert run.code == 130
    assert engines
    assert not any(engine.is_running() for engine in engines)


# --- one repo's failure is its own ---------------------------------------------------------------


def test_a_repo_that_fails_does_not_stop_the_others(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    with project.manifest.open("a", encoding="utf-8") as file:
        file.write('\n[[repo]]\nid = "org/absent"\npriority = 9\n')
    run = project.preload("--json")
    assert run.code == 5
    assert run.error == "1 of 4 repos is not in place"
    for spec in SET:
        assert_holds(project.snapshot(spec), spec)
    (failed,) = [each for each in run.document["repos"] if each["error"] is not None]
    assert failed["repo_id"] == "org/absent"
    assert failed["state"] == "failed"
    assert run.document["digest"] is None
    assert "org/absent" not in project.lock.read_text(encoding="utf-8")


def test_a_file_that_can_not_be_had_leaves_its_repo_incomplete(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    hub.faults.add(Fault(Status(404), kind="resolve", path="*vocoder.safetensors"))
    run = project.preload("--json")
    assert run.code == 3
    states = {each["repo_id"]: each["state"] for each in run.document["repos"]}
    assert states == {"org/tts": "fetched", "org/vocoder": "incomplete", "org/speech": "fetched"}
    hub.faults.clear()
    hub.reset_records()
    document = project.preloaded("--json").document
    assert [each["state"] for each in document["repos"]] == ["present", "fetched", "present"]
    assert sent(hub) < 1.5 * 5 * MB


def test_two_runs_at_once_share_the_work_and_both_end_well(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    hub.shape("cdn", Shape(rate_total=2e6))
    first = project.user.start("preload", str(project.manifest), "--json")
    wait_until(lambda: hub.file_bytes_sent(site="cdn") > 1 * MB, first)
    second = project.preloaded("--json")
    assert first.wait().code == 0
    assert "another pull is fetching it" in second.stderr
    # No file of a repo twice; what two repos share may come once by each of the runs.
    assert sent(hub) - sum(file.size for spec in SET for file in spec.head.files) < 3.5 * MB
    for spec in SET:
        assert_holds(project.snapshot(spec), spec)


def test_too_little_space_for_all_together_is_refused_before_any_byte(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    line = refused(project.preload("--reserve", "9000TB"), 7)
    assert "not enough space" in line
    assert "needs 16.0 MB and a reserve" in line  # of all repos, what they share once
    assert hub.file_bytes_sent() == 0


def test_a_repo_whose_source_is_out_of_reach_does_not_hold_up_the_others(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    text = project.manifest.read_text(encoding="utf-8")
    endpoint = f'priority = 1\nendpoint = "{hub.url("mirror")}"'
    project.manifest.write_text(text.replace("priority = 1", endpoint), encoding="utf-8")
    outage = Fault(Hangup(), site="mirror", kind="resolve")  # its listing is known, no more
    hub.faults.add(outage)
    running = project.user.start(
        "preload", str(project.manifest), "--no-origin", "--patience", "forever"
    )
    speech = project.user.cache / "datasets--org--speech" / "refs" / "main"
    wait_until(speech.exists, running)
    assert not (project.user.cache / "models--org--tts" / "refs").exists()
    hub.faults.remove(outage)
    run = running.wait()
    assert run.code == 0, run.stderr
    for spec in SET:
        assert_holds(project.snapshot(spec), spec)


# --- the lock ------------------------------------------------------------------------------------


def test_the_same_lock_makes_the_same_trees_a_month_of_commits_later(
    project: PreloadedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    here = project.preloaded("--json").document
    for spec in SET:
        hub.put_repo(moved_on(spec, 30))
    other = second_machine(project, hub, tmp_path / "other")
    there = other.preloaded("--locked", "--json").document
    assert there["digest"] == here["digest"] == digest_on_disk(other, SET)
    assert digest_on_disk(project, SET) == here["digest"]
    assert tree_of(other.user.cache, without=(".locks", ".hfaria")) == tree_of(
        project.user.cache, without=(".locks", ".hfaria")
    )


def other_content(path: str, content: Generated) -> AlterListing:
    """Return a lie that is true in itself: another content under a file's name."""
    lie = stored_file(path, content)
    lfs = {"oid": content.sha256, "size": content.size, "pointerSize": len(lie.lfs_pointer or b"")}
    fields = {"oid": lie.git_oid, "size": content.size, "lfs": lfs}
    texts = tuple((name, json.dumps(value)) for name, value in fields.items())
    return AlterListing(path, field_name="fields", fields=texts)


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (Lacks(paths=("config.json",)), "*"),
        (other_content("model.safetensors", Generated(99, 6 * MB)), "tree"),
    ],
    ids=["lacks a file", "another content"],
)
def test_a_mirror_that_lists_anything_else_for_a_locked_commit_is_refused(
    lie: Effect, kind: MatchKind, project: PreloadedProject, hub: LoopbackHub, tmp_path: Path
) -> None:
    project.locked()
    hub.faults.add(Fault(lie, site="mirror", kind=kind))
    other = second_machine(project, hub, tmp_path / "other")
    run = other.preload("--locked", "--endpoint", hub.url("mirror"), "--no-origin", "--json")
    assert run.code == 4
    (failed,) = [each for each in run.document["repos"] if each["error"] is not None]
    assert failed["repo_id"] == "org/tts"
    assert failed["error"]["message"].startswith(f"{hub.url('mirror')} lists other files")
    assert failed["error"]["exit_code"] == 4
    assert not other.snapshot(TTS).exists()
    assert sent(hub, repo_id="org/tts") == 0


def test_a_stored_listing_that_was_tampered_with_is_refused(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    project.preloaded()
    (tree,) = (project.user.cache / "models--org--tts" / "trees").iterdir()
    text = tree.read_text(encoding="utf-8")
    tree.write_text(text.replace('"config.json"', '"confog.json"'), encoding="utf-8")
    hub.reset_records()
    run = project.preload("--frozen")
    assert run.code == 4
    assert "the listing stored in" in run.stderr
    assert hub.records == ()


def test_locked_refuses_a_manifest_that_moved_on_before_any_request(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    assert "there is no" in refused(project.preload("--locked"), 2)
    project.locked()
    text = project.manifest.read_text(encoding="utf-8")
    project.manifest.write_text(f'{text}\n[[repo]]\nid = "org/more"\n', encoding="utf-8")
    hub.reset_records()
    assert "`org/more` at `main` is not locked" in refused(project.preload("--locked"), 2)
    assert "org/more" in refused(project.preload("--frozen"), 2)
    refused(project.user.run("lock", "--check", "--manifest", str(project.manifest)), 2)
    assert hub.records == ()


def test_what_is_locked_stays_until_it_is_upgraded(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    project.preloaded()
    before = project.lock.read_text(encoding="utf-8")
    hub.put_repo(moved_on(TTS, 2))
    project.locked()
    assert project.lock.read_text(encoding="utf-8") == before
    run = project.locked("--upgrade", "org/tts", "--json")
    (change,) = [each for each in run.document["repos"] if each["is_changed"]]
    assert change["repo_id"] == "org/tts"
    assert change["added"] == ["new/0.txt", "new/1.txt"]
    assert change["altered"] == ["config.json"]
    assert change["removed"] == []
    after = project.lock.read_text(encoding="utf-8")
    changed = [
        new.split(" ")[0]
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
        if old != new
    ]
    assert set(changed) <= {"commit", "digest", "files", "size", "locked_at"}
    assert project.preloaded("--json").document["bytes_fetched"] == change["bytes_to_fetch"]


def test_another_selection_keeps_the_commit(project: PreloadedProject, hub: LoopbackHub) -> None:
    project.locked()
    hub.put_repo(moved_on(TTS, 1))
    text = project.manifest.read_text(encoding="utf-8")
    project.manifest.write_text(
        text.replace("priority = 1", 'include = ["voices/*"]'), encoding="utf-8"
    )
    run = project.locked()
    assert "stays at commit" in run.stderr
    assert "2 removed" not in run.stderr.split("stays at")[0]
    assert f'commit = "{TTS.commit_id}"' in project.lock.read_text(encoding="utf-8")
    project.preloaded()
    assert len(list(project.snapshot(TTS).rglob("*.json"))) == 100


def test_frozen_takes_what_is_locked_whatever_is_selected_by_now(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    project.preloaded()
    text = project.manifest.read_text(encoding="utf-8")
    project.manifest.write_text(
        text.replace("priority = 1", 'include = ["voices/*"]'), encoding="utf-8"
    )
    hub.reset_records()
    assert project.preloaded("--frozen", "--json").document["files"] == 405
    assert hub.records == ()


def test_the_branch_names_the_locked_commit_for_readers(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    project.preloaded()
    hub.put_repo(moved_on(TTS, 1))
    project.user.pulled("org/tts", "-q")
    ref = project.user.cache / "models--org--tts" / "refs" / "main"
    assert ref.read_text(encoding="utf-8") != TTS.commit_id
    project.preloaded("--frozen")
    assert ref.read_text(encoding="utf-8") == TTS.commit_id


# --- what the manifest says of each repo ---------------------------------------------------------


def test_a_repo_may_have_its_own_endpoint(project: PreloadedProject, hub: LoopbackHub) -> None:
    text = project.manifest.read_text(encoding="utf-8")
    project.manifest.write_text(
        text.replace("priority = 1", f'endpoint = "{hub.url("mirror")}"'), encoding="utf-8"
    )
    document = project.preloaded("--json", "--no-origin").document
    by_id = {each["repo_id"]: each["endpoints"] for each in document["repos"]}
    assert by_id["org/tts"] == [hub.url("mirror")]
    assert by_id["org/speech"] == [hub.url("origin")]


def test_a_variant_is_picked_and_locked_as_such(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    quantised = {
        f"chat-{name}.gguf": Generated(seed, 50_000)
        for seed, name in enumerate(("Q4_K_M", "Q8_0"), start=30)
    }
    hub.put_repo(repo("org/chat-GGUF", {"config.json": b"{}", **quantised}))
    project.manifest.write_text(
        '[[repo]]\nid = "org/chat-GGUF"\nvariant = "Q4_K_M"\n', encoding="utf-8"
    )
    document = project.preloaded("--json").document
    snapshot = Path(document["repos"][0]["path"])
    assert sorted(path.name for path in snapshot.iterdir()) == ["chat-Q4_K_M.gguf", "config.json"]
    assert 'variant = "Q4_K_M"' in project.lock.read_text(encoding="utf-8")
    hub.reset_records()
    assert project.preloaded("--frozen", "--json").document["digest"] == document["digest"]
    assert hub.records == ()


def test_without_symlinks_each_repo_holds_what_it_shares(
    project: PreloadedProject, hub: LoopbackHub
) -> None:
    somebody = PreloadedProject(project.folder, project.user.having(HF_HUB_DISABLE_SYMLINKS="1"))
    somebody.preloaded()
    for spec in SET:
        assert_holds(somebody.snapshot(spec), spec)
    hub.reset_records()
    assert somebody.preloaded("-q").stdout == ""
    assert hub.records == ()


def test_a_fault_of_the_manifest_is_one_line_with_its_place(project: PreloadedProject) -> None:
    text = project.manifest.read_text(encoding="utf-8")
    project.manifest.write_text(text.replace("priority = 1", "prioritty = 1"), encoding="utf-8")
    run = project.preload()
    assert refused(run, 2) == f"{project.manifest}:6: `prioritty` is not a key that is known here"
    assert run.hint == "did you mean `priority`?"


def test_add_and_remove_edit_the_manifest_and_its_lock(project: PreloadedProject) -> None:
    project.locked()
    named = ("--manifest", str(project.manifest))
    assert project.user.run("add", "org/tts", "--include", "*.json", *named).code == 0
    assert 'include = ["*.json"]' in project.manifest.read_text(encoding="utf-8")
    assert project.user.run("remove", "datasets/org/speech", *named).code == 0
    assert "org/speech" not in project.manifest.read_text(encoding="utf-8")
    assert "org/speech" not in project.lock.read_text(encoding="utf-8")
    assert "names no `org/none`" in refused(project.user.run("remove", "org/none", *named), 2)
