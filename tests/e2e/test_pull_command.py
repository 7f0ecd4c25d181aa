"""`hfaria pull` as its user meets it: streams, documents, previews, references, and from Python."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import snapshot_download

import hfaria
from loopback_hub import Shape, generated_repo, real_model
from support.cli import wait_until
from support.repos import ENGINE_SIZE, model, one_file
from support.trees import assert_clean, assert_holds, tree_of

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = pytest.mark.aria2

SPEC = model()
SIZE = sum({file.blob_name: file.size for file in SPEC.head.files}.values())


@pytest.fixture(autouse=True)
def _has_a_repo(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)


def test_a_pull_prints_the_path_on_stdout_and_a_summary_on_stderr(
    hub: LoopbackHub, user: User
) -> None:
    run = user.pulled("org/model")
    assert run.stdout == f"{run.path}\n"
    assert f"done: 6 files, 5.30 MB at commit {SPEC.commit_id[:12]}" in run.stderr
    assert "fetched and verified 5.30 MB" in run.stderr
    assert_holds(run.path, SPEC)
    assert hub.requests(kind="resolve", method="HEAD")[0].download_counter == "1"
    asked = [record.path for record in hub.requests(kind="api")]
    assert len(asked) == len({*asked}) == 2  # for the commit and for its listing, each once


def test_quiet_prints_the_path_alone(user: User) -> None:
    run = user.pulled("org/model", "-q")
    assert run.stderr == ""
    assert run.stdout == f"{run.path}\n"


def test_json_is_one_document(hub: LoopbackHub, user: User) -> None:
    run = user.pulled("org/model", "--json")
    document = run.document
    assert set(document) == {
        "path",
        "repo_id",
        "repo_type",
        "revision",
        "commit",
        "is_complete",
        "files",
        "size",
        "bytes_fetched",
        "bytes_reused",
        "endpoints",
        "listing_endpoint",
        "listing_trust",
        "retries",
        "waits",
        "seconds",
        "failed",
    }
    assert document["path"] == str(user.cache / "models--org--model" / "snapshots" / SPEC.commit_id)
    assert document["commit"] == SPEC.commit_id
    assert document["revision"] == "main"
    assert (document["files"], document["size"]) == (6, SIZE)
    assert (document["bytes_fetched"], document["bytes_reused"]) == (SIZE, 0)
    assert document["endpoints"] == [hub.url("origin")]
    assert 0 < document["seconds"] < run.seconds
    again = user.pulled("org/model", "--json").document
    assert (again["bytes_fetched"], again["bytes_reused"]) == (0, SIZE)
    assert again["endpoints"] == []


@pytest.mark.parametrize("where", ["--dest", "--local-dir"])
def test_a_dry_run_shows_a_table_and_writes_nothing(
    hub: LoopbackHub, user: User, where: str
) -> None:
    before = tree_of(user.home)
    run = user.pull("org/model", "--dry-run", where, str(user.home / "there"))
    assert run.code == 0
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert lines[0] == f"org/model at main is commit {SPEC.commit_id}"
    assert [line.split() for line in lines if "model.safetensors" in line] == [
        ["5.00", "MB", "fetch", "model.safetensors"]
    ]
    assert any(line.startswith("disk: needs 5.30 MB") for line in lines)
    assert tree_of(user.home) == before
    assert hub.requests(kind="resolve") == ()


def test_a_dry_run_tells_what_is_cached(user: User) -> None:
    user.pulled("org/model", "--include", "onnx/*")
    document = user.pull("org/model", "--dry-run", "--json").document
    cached = {file["path"] for file in document["files"] if file["is_cached"]}
    assert cached == {"onnx/small.onnx", "onnx/copy/small.onnx"}
    assert document["bytes_to_fetch"] == SIZE - 300_000
    assert document["disk_needed"] == SIZE - 300_000
    assert document["disk_left"] == document["disk_free"] - document["disk_needed"]
    assert document["problems"] == []


def test_a_dry_run_tells_what_would_be_refused(user: User) -> None:
    run = user.pull("org/model", "--dry-run", "--json", "--reserve", "900TB")
    assert run.code == 7
    (problem,) = run.document["problems"]
    assert "not enough space" in problem
    assert not user.cache.exists()


def test_progress_in_a_pipe_is_plain_lines(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(one_file(size=8_000_000))
    hub.shape("cdn", Shape(rate_total=2.5e6))
    run = user.pulled("org/one")
    (line,) = [line for line in run.stderr.splitlines() if "% of 8.00 MB" in line]
    assert "0/1 files" in line
    assert "/s" in line
    assert "\r" not in run.stderr
    assert "\x1b" not in run.stderr


def test_progress_on_a_terminal_is_bars_that_go_away(hub: LoopbackHub, user: User) -> None:
    hub.shape("cdn", Shape(rate_total=6e6))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "hfaria", "pull", "org/model"],
        env={**user.environ, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the terminal's other end is closed
                break
            if not piece:
                break
            shown += piece
        assert process.stdout is not None
        path = Path(process.stdout.read().decode().strip())
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "% |" in text
    assert "model.safetensors" in text
    assert "done: 6 files" in text
    assert_holds(path, SPEC)


@pytest.mark.parametrize(
    ("reference", "paths"),
    [
        ("hf://org/model", None),
        ("hf://models/org/model@main", None),
        ("hf://org/model/onnx/small.onnx", {"onnx/small.onnx"}),
        ("hf://org/model/onnx/", {"onnx/small.onnx", "onnx/copy/small.onnx"}),
        (f"hf://org/model@{SPEC.commit_id}/vocab.txt", {"vocab.txt"}),
    ],
)
def test_a_reference_says_what_to_pull(user: User, reference: str, paths: set[str] | None) -> None:
    run = user.pulled(reference)
    assert_holds(run.path, SPEC, paths=None if paths is None else frozenset(paths))


def test_filenames_are_files_and_folders(user: User) -> None:
    run = user.pulled("org/model", "config.json", "onnx/copy/")
    assert_holds(run.path, SPEC, paths=frozenset({"config.json", "onnx/copy/small.onnx"}))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--include", "*.onnx"),
        ("--exclude", "*.safetensors"),
        ("--include", "onnx/*", "--exclude", "*copy*"),
        ("--include", "*.json", "--include", "*.txt"),
        ("--include", "onnx/"),
        ("--include", "[cv]*"),
    ],
)
def test_patterns_mean_what_they_mean_to_hf(
    hub: LoopbackHub, user: User, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    theirs = snapshot_download(
        "org/model",
        cache_dir=tmp_path / "theirs",
        endpoint=hub.url("origin"),
        token=False,
        allow_patterns=[value for name, value in pairs if name == "--include"] or None,
        ignore_patterns=[value for name, value in pairs if name == "--exclude"] or None,
    )
    ours = user.pulled("org/model", *arguments).path
    assert tree_of(ours) == tree_of(Path(theirs))


@pytest.mark.parametrize("kind", ["dataset", "space", "kernel"])
def test_every_type_of_repo_is_pulled(hub: LoopbackHub, user: User, kind: str) -> None:
    files = [("config.json", 20), ("data.bin", 3000)]
    spec = generated_repo("org/other", files, repo_type=kind)  # type: ignore[arg-type]
    hub.put_repo(spec)
    run = user.pulled("org/other", "--repo-type", kind)
    assert_holds(run.path, spec)
    assert run.path.is_relative_to(user.cache / f"{kind}s--org--other")


@pytest.mark.parametrize("given", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME", "--dest"])
def test_the_cache_is_where_hf_looks(user: User, tmp_path: Path, given: str) -> None:
    there = str(tmp_path / "there")
    names = ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME")
    kept = names[names.index(given) :] if given in names else names
    settings = {name: "" for name in names if name not in kept}
    arguments: tuple[str, ...] = ()
    if given == "--dest":
        arguments = ("--dest", there)
    else:
        settings[given] = there
    somebody = user.having(**settings)
    path = somebody.pulled("org/model", "--include", "*.json", *arguments).path
    assert path.is_relative_to(there)
    if given not in names:
        return
    unset = "".join(f"os.environ.pop('{name}', None);" for name, v in settings.items() if not v)
    text = f"import os; {unset} import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    assert path.is_relative_to(somebody.python(text))


def test_offline_a_pull_is_answered_by_the_cache_or_not_at_all(
    hub: LoopbackHub, user: User
) -> None:
    offline = user.having(HF_HUB_OFFLINE="1")
    assert offline.pull("org/model").code == 5
    assert hub.records == ()
    user.pulled("org/model")
    hub.reset_records()
    assert_holds(offline.pulled("org/model").path, SPEC)
    assert hub.records == ()


def test_help_lists_every_exit_code(user: User) -> None:
    for arguments in (("--help",), ("pull", "--help")):
        run = user.run(*arguments)
        assert run.code == 0
        assert run.stderr == ""
        for code in ("0  done", "2  wrong usage", "3  incomplete", "130  interrupted"):
            assert code in run.stdout
    assert user.run("--version").stdout == f"hfaria {hfaria.__version__}\n"


def test_output_into_a_closed_pipe_is_no_bug(user: User) -> None:
    command = f"{sys.executable} -m hfaria pull org/model --dry-run | true"
    ended = subprocess.run(
        ["sh", "-c", command], env=user.environ, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


# --- from Python ---------------------------------------------------------------------------------


def test_pull_from_python_returns_a_receipt(
    hub: LoopbackHub, user: User, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith(("HF_", "HFARIA_"))]:
        monkeypatch.delenv(name)
    for name, value in user.environ.items():
        monkeypatch.setenv(name, value)
    receipt = hfaria.pull("org/model", reserve=0)
    assert isinstance(receipt, hfaria.Receipt)
    assert receipt.is_complete
    assert (receipt.files, receipt.size, receipt.bytes_fetched) == (6, SIZE, SIZE)
    assert_holds(receipt.path, SPEC)
    assert capfd.readouterr() == ("", "")
    folder = user.home / "plain"
    part = hfaria.pull(
        "org/model",
        revision="v1.0",
        include=["*.json"],
        local_dir=folder,
        endpoint=hub.url("mirror"),
    )
    assert part.path == folder
    assert (folder / "config.json").read_bytes() == b'{"old": true}'
    assert part.endpoints == (hub.url("mirror"),)


def test_pull_from_python_raises_typed_errors(user: User) -> None:
    text = (
        "import hfaria, hfaria.errors as e\n"
        "try: hfaria.pull('org/none')\n"
        "except e.RepoNotFound as x: print(x.exit_code.value, bool(x.hint))\n"
    )
    assert user.python(text) == "5 True"


# --- the real thing ------------------------------------------------------------------------------

READ = """
import json
from pathlib import Path
from huggingface_hub import snapshot_download
folder = Path(snapshot_download("sentence-transformers/all-MiniLM-L6-v2"))
with (folder / "model.safetensors").open("rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
config = json.loads((folder / "config.json").read_text())
print(json.dumps([config["hidden_size"], header["embeddings.word_embeddings.weight"]["shape"]]))
"""


def test_a_real_model_is_pulled_interrupted_resumed_and_loaded_offline(
    hub: LoopbackHub, user: User
) -> None:
    spec = real_model()
    hub.put_repo(spec)
    hub.prepare()
    hub.shape("cdn", Shape(rate_total=60e6, latency_seconds=0.01))
    for number in (signal.SIGINT, signal.SIGKILL):
        sent = hub.file_bytes_sent()
        running = user.start("pull", spec.repo_id)
        wait_until(lambda sent=sent: hub.file_bytes_sent() > sent + 25_000_000, running)  # type: ignore[misc]
        if number is signal.SIGKILL:
            running.kill()
        else:
            running.send(number)
            assert running.wait().code == 130
        assert_clean(user.cache)
    run = user.pulled(spec.repo_id)
    assert_holds(run.path, spec)
    assert_clean(user.cache)
    assert hub.file_bytes_sent() <= 1.15 * spec.head.total_size
    hub.reset_records()
    hidden, shape = json.loads(user.python(READ, HF_HUB_OFFLINE="1"))
    assert hidden == shape[1] == 384
    assert hub.records == ()
    assert spec.head.total_size > 15 * ENGINE_SIZE
