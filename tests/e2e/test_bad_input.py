"""Whatever is wrong, one line says it, one says what to do, and nothing is written."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from loopback_hub import Generated, Shape, hostile_repo, repo
from support.cli import User, refused, wait_until
from support.repos import model, one_file
from support.trees import assert_holds, tree_of

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import LoopbackHub

pytestmark = pytest.mark.aria2

SPEC = model()


@pytest.fixture(autouse=True)
def _has_a_repo(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)


# --- usage: 2 ------------------------------------------------------------------------------------

WRONG_IDS = [
    "",
    " ",
    "a/b/c",
    "org/",
    "/name",
    "org//name",
    "../etc",
    "org/..",
    "org/na me",
    "org/--x",
    "org/x.git",
    "org/na--me",
    "ö/x",
    "x" * 97,
    "org/name\n",
    "hf://",
    "hf://buckets/org/name",
    "https://huggingface.co/org/name",
]


@pytest.mark.parametrize("repo_id", WRONG_IDS)
def test_a_wrong_repo_id_is_named(hub: LoopbackHub, user: User, repo_id: str) -> None:
    run = user.pull("--", repo_id)
    error = refused(run, 2)
    assert repo_id.strip().partition("\n")[0] in error
    assert run.hint
    assert hub.records == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dest", "a", "--local-dir", "b"), "can't be used together"),
        (("--json", "-q"), "can't be used together"),
        (("--token", "a", "--token-file", "b"), "can't be used together"),
        (("--token-file", "/nonexistent/token"), "/nonexistent/token"),
        (("--revision", "../up"), "../up"),
        (("--connections", "0"), "must be from 1 to 16"),
        (("--connections", "17"), "must be from 1 to 16"),
        (("--jobs", "0"), "must be from 1"),
        (("--reserve", "many"), "many"),
        (("--patience", "0"), "patience"),
        (("--endpoint", "not a url"), "not a url"),
        (("--endpoint", "ftp://127.0.0.1"), "ftp://127.0.0.1"),
        (("--endpoint", "http://u:p@127.0.0.1"), "no user"),
        (("sub/", "--include", "*.bin"), "can't be combined"),
    ],
)
def test_options_that_make_no_sense_are_named(
    hub: LoopbackHub, user: User, arguments: tuple[str, ...], said: str
) -> None:
    run = user.pull("org/model", *arguments)
    assert said in refused(run, 2)
    assert hub.records == ()
    assert list(user.home.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("--repo-type", "modell"), ("--no-such",), ("--connections", "x")]
)
def test_options_that_the_parser_refuses_show_the_usage(
    user: User, arguments: tuple[str, ...]
) -> None:
    run = user.pull("org/model", *arguments)
    assert run.code == 2
    assert run.stdout == ""
    assert "Usage: " in run.stderr
    assert arguments[0] in run.stderr


def test_a_command_without_arguments_shows_the_usage(user: User) -> None:
    run = user.pull()
    assert run.code == 2
    assert run.stdout == ""
    assert "REPO_ID" in run.stderr


@pytest.mark.parametrize("text", ["jobs = ", 'speed = "fast"', "jobs = 'four'", "\x00"])
def test_a_config_file_that_is_wrong_is_named(user: User, text: str) -> None:
    path = user.home / "config.toml"
    path.write_text(text, encoding="utf-8")
    assert str(path) in refused(user.having(HFARIA_CONFIG=str(path)).pull("org/model"), 2)


def test_a_reference_that_says_it_all_refuses_options_that_say_it_again(user: User) -> None:
    run = user.pull("hf://models/org/model@main", "--revision", "v1.0")
    assert "--revision" in refused(run, 2)


# --- the Hub: 5 ----------------------------------------------------------------------------------


def test_an_endpoint_where_nobody_listens_is_named(user: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    run = user.pull("org/model", "--endpoint", url, "--no-origin", "--patience", "1")
    assert f"127.0.0.1:{port} can't be reached" in refused(run, 5)
    assert "--endpoint" in run.hint
    assert not user.cache.exists()


def test_an_endpoint_that_speaks_no_http_is_named(user: User) -> None:
    import threading  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            for _ in range(3):
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"220 smtp ready\r\n")
                connection.close()

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        refused(user.pull("org/model", "--endpoint", url, "--no-origin", "--patience", "1"), 5)
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


UNSAFE = [
    "../up",
    "a/../../up",
    "..",
    "a/..",
    "/etc/passwd",
    "//server/share",
    "C:\\x",
    "C:x",
    "D:/x",
    "a\\..\\b",
    "\\x",
    "\\\\server\\share",
    "a//b",
    "./a",
    "a/./b",
    "a/",
    "",
    "a\0b",
    "con",
    "NUL.txt",
    "sub/com1.bin",
    "aux ",
    "lpt9.tar.gz",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_listing_with_an_unsafe_name_is_refused_whole(
    hub: LoopbackHub, user: User, name: str
) -> None:
    hub.put_repo(hostile_repo("org/bad", [["config.json", name]]))
    run = user.pull("org/bad")
    refused(run, 5)
    assert not user.cache.exists()
    assert hub.file_bytes_sent() == 0
    folder = user.home / "plain"
    refused(user.pull("org/bad", "--local-dir", str(folder)), 5)
    assert not folder.exists()


def test_a_device_name_can_be_left_out(hub: LoopbackHub, user: User) -> None:
    spec = repo("org/device", {"config.json": b"{}", "aux.txt": b"x"})
    hub.put_repo(spec)
    run = user.pull("org/device")
    refused(run, 5)
    assert "--exclude" in run.hint
    again = user.pulled("org/device", "--exclude", "aux.txt")
    assert_holds(again.path, spec, paths=frozenset({"config.json"}))


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"]], ids=["twice", "file and folder"])
def test_a_listing_that_contradicts_itself_is_refused(
    hub: LoopbackHub, user: User, names: list[str]
) -> None:
    hub.put_repo(hostile_repo("org/bad", [names]))
    refused(user.pull("org/bad"), 4)
    assert not user.cache.exists()


# --- the engine: 6 -------------------------------------------------------------------------------


def engine_script(folder: Path, version: str, then: str) -> str:
    path = folder / "aria2c"
    path.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *--version*) echo "aria2 version {version}"; exit 0;; esac\n{then}\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("version", "then", "said"),
    [
        ("1.35.0", "exit 0", "older than 1.36"),
        ("2.0.0", "exit 0", "not an aria2 1.x"),
        ("1.37.0", "exit 0", "ended at once"),
        ("1.37.0", "echo no such luck; exit 28", "no such luck"),
        ("1.37.0", "kill -9 $$", "ended at once"),
    ],
    ids=["too old", "too new", "ends", "refuses", "is killed"],
)
def test_an_engine_that_does_not_work_is_named(
    user: User, tmp_path: Path, version: str, then: str, said: str
) -> None:
    script = engine_script(tmp_path, version, then)
    run = user.having(HFARIA_ARIA2C=script).pull("org/model")
    assert said in refused(run, 6)
    assert run.hint


def test_an_engine_that_is_absent_is_named_with_ways_to_get_one(user: User) -> None:
    run = user.having(HFARIA_ARIA2C="/nonexistent/aria2c").pull("org/model")
    assert "/nonexistent/aria2c" in refused(run, 6)
    assert "install" in run.hint
    assert "HFARIA_ARIA2C" in run.hint


def test_a_program_that_is_no_engine_is_named(user: User) -> None:
    run = user.having(HFARIA_ARIA2C=sys.executable).pull("org/model")
    assert "no aria2c" in refused(run, 6)


def test_small_files_are_had_without_an_engine(hub: LoopbackHub, user: User) -> None:
    somebody = user.having(HFARIA_ARIA2C="/nonexistent/aria2c")
    run = somebody.pulled("org/model", "--exclude", "model.safetensors")
    small = frozenset(f.path for f in SPEC.head.files if f.path != "model.safetensors")
    assert_holds(run.path, SPEC, paths=small)


# --- the destination: 7 --------------------------------------------------------------------------


@pytest.fixture
def outsider(user: User) -> User:
    """Somebody whom permissions hold, also where the tests run as root."""
    if os.geteuid() != 0:
        return user
    powerless = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    return User(user.home, user.origin, prefix=powerless)


@pytest.mark.parametrize("flag", ["--dest", "--local-dir"])
def test_a_destination_that_may_not_be_written_is_named(
    hub: LoopbackHub, outsider: User, flag: str
) -> None:
    locked = outsider.home / "locked"
    locked.mkdir(mode=0o555)
    run = outsider.pull("org/model", flag, str(locked / "sub"))
    error = refused(run, 7)
    assert f"`{locked}` can't be written: Permission denied" in error
    assert hub.file_bytes_sent() == 0
    assert list(locked.iterdir()) == []


def test_a_folder_within_a_cache_that_may_not_be_written_is_named(
    hub: LoopbackHub, outsider: User
) -> None:
    outsider.pulled("org/model", "--revision", "v1.0")
    blobs = outsider.cache / "models--org--model" / "blobs"
    blobs.chmod(0o555)
    hub.reset_records()
    run = outsider.pull("org/model")
    assert str(blobs) in refused(run, 7)
    assert hub.file_bytes_sent() == 0
    blobs.chmod(0o755)


def test_a_place_where_nobody_may_write_is_named(hub: LoopbackHub, user: User) -> None:
    run = user.pull("org/model", "--dest", "/proc/hfaria")
    refused(run, 7)
    assert "`/proc` can't be written" in run.stderr
    assert hub.file_bytes_sent() == 0


@pytest.mark.parametrize("flag", ["--dest", "--local-dir"])
@pytest.mark.parametrize("below", ["", "sub"])
def test_a_file_in_the_way_is_named(user: User, flag: str, below: str) -> None:
    file = user.home / "file"
    file.write_text("mine", encoding="utf-8")
    error = refused(user.pull("org/model", flag, str(file / below)), 7)
    assert f"`{file}` is not a folder" in error
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["models--org--model", "models--org--model/blobs"])
def test_a_file_in_the_way_within_a_cache_is_named(user: User, name: str) -> None:
    path = user.cache / name
    path.parent.mkdir(parents=True)
    path.write_text("mine", encoding="utf-8")
    assert str(path) in refused(user.pull("org/model"), 7)
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_reserve_that_can_t_be_kept_refuses_before_the_first_byte(
    hub: LoopbackHub, user: User
) -> None:
    run = user.pull("org/model", "--reserve", "900TB")
    error = refused(run, 7)
    assert "not enough space" in error
    assert "reserve of 900 TB" in error
    assert "--reserve" in run.hint
    assert hub.file_bytes_sent() == 0
    assert hub.requests(kind="resolve") == ()
    assert not user.cache.exists()


def test_all_problems_are_told_at_once(hub: LoopbackHub, user: User) -> None:
    hub.put_repo(repo("org/long", {"y" * 300: b"1", "z" * 300: b"2", "fine.txt": b"3"}))
    run = user.pull("org/long", "--reserve", "900TB")
    assert "3 reasons" in refused(run, 7)
    assert len([line for line in run.stderr.splitlines() if line.startswith("  - ")]) == 3


def test_a_name_of_300_bytes_is_refused_and_can_be_left_out(hub: LoopbackHub, user: User) -> None:
    spec = repo("org/long", {"x" * 300: b"1", "fine.txt": b"2"})
    hub.put_repo(spec)
    assert "300 bytes" in refused(user.pull("org/long"), 7)
    assert not user.cache.exists()
    run = user.pulled("org/long", "--include", "fine.*")
    assert_holds(run.path, spec, paths=frozenset({"fine.txt"}))


# A filesystem of its own, in namespaces of its own: works for root and for anybody else.
SMALL_DISK = """
disk=$1; size=$2; shift 2
mkdir -p "$disk" && mount -t tmpfs -o size=$size none "$disk" || exit 99
exec "$@"
"""
DISK_THAT_FILLS = """
disk=$1; shift
mkdir -p "$disk" && mount -t tmpfs -o size=12m none "$disk" || exit 99
( until ls "$disk"/*/.hfaria/partial/* >/dev/null 2>&1; do sleep 0.02; done
  head -c 8m /dev/zero > "$disk/other--filler" ) &
"$@"; code=$?
wait
rm "$disk/other--filler"
find "$disk" -path '*blobs/*' | grep -q . && exit 98
echo "first run: $code" >&2
exec "$@"
"""


def in_namespace(user: User, script: str, *arguments: str) -> User:
    prefix = ("unshare", "-Urm", "sh", "-c", script, "sh", str(user.cache), *arguments)
    return User(user.home, user.origin, user.settings, prefix)


def test_a_destination_that_is_too_small_is_told_before_the_first_byte(
    hub: LoopbackHub, user: User
) -> None:
    run = in_namespace(user, SMALL_DISK, "4m").pull("org/model", "--reserve", "0")
    assert "not enough space" in refused(run, 7)
    assert hub.file_bytes_sent() == 0


@pytest.mark.parametrize(
    "files",
    [
        {"large.bin": Generated(1, 8_000_000)},
        {f"{n}.bin": Generated(n, 2_000_000) for n in range(4)},
    ],
    ids=["engine", "our client"],
)
def test_a_destination_that_fills_up_ends_the_pull_and_keeps_what_came(
    hub: LoopbackHub, user: User, files: dict[str, Generated]
) -> None:
    spec = repo("org/filling", dict(files))
    hub.put_repo(spec)
    hub.shape("cdn", Shape(rate_total=8e6))
    run = in_namespace(user, DISK_THAT_FILLS).pull("org/filling", "--reserve", "0")
    assert "first run: 7" in run.stderr, run.stderr
    assert run.code == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "No space left" in run.stderr
    assert hub.file_bytes_sent() <= 1.3 * spec.head.total_size


def test_two_pulls_of_one_repo_don_t_mix(hub: LoopbackHub, user: User) -> None:
    spec = one_file()
    hub.put_repo(spec)
    hub.shape("cdn", Shape(rate_total=4e6))
    running = user.start("pull", spec.repo_id)
    wait_until(lambda: hub.file_bytes_sent() > 0, running)
    second = user.pull(spec.repo_id)
    assert "another pull" in refused(second, 7)
    assert "wait for it to end" in second.hint
    assert user.pull("org/model").code == 0  # another repo of the same cache may go on
    run = running.wait()
    assert run.code == 0, run.stderr
    assert_holds(run.path, spec)


def test_patterns_that_match_nothing_are_said_to(hub: LoopbackHub, user: User) -> None:
    run = user.pull("org/model", "--include", "*.nope")
    assert run.code == 0, run.stderr
    assert "0 files" in run.stderr
    assert hub.file_bytes_sent() == 0
    assert not any(kind == "link" for kind, _ in tree_of(user.home).values())
