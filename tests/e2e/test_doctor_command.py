"""`hfaria doctor`: what is found wrong, what it means for a pull, and that nothing hides it."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from loopback_hub import (
    GOOD_TOKEN,
    Fault,
    Headers,
    HubConfig,
    IgnoreRange,
    LoopbackHub,
    Portal,
    Refuse,
    Stall,
    Status,
)
from support.cli import User, refused, user_of, wait_until
from support.proxies import http_proxy, socks_proxy
from support.raw_server import RawServer
from support.repos import model
from support.terminal import assert_fits, shown_on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from loopback_hub.effects import Effect
    from support.cli import Run
    from support.proxies import Guests

pytestmark = pytest.mark.aria2

SPEC = model()
DEAD = "http://127.0.0.1:9"
NOWHERE = "http://hub.invalid"
LONGEST_SECONDS = 30
CHAIN = ["dns", "tcp", "hub", "bytes"]


@pytest.fixture(autouse=True)
def _has_a_repo(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)


@pytest.fixture
def anyone(user: User) -> User:
    """Somebody who configured no endpoint but the origin."""
    return user.having(HF_ENDPOINT="")


def doctor(user: User, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """Return the checks of a run by name; of several endpoints the last one's."""
    run = user.run("doctor", "org/model", "--json", *arguments)
    assert run.code == code, run.stderr
    document = run.document
    assert (document["can_pull"], document["exit_code"]) == (code == 0, code)
    return {check["name"]: check for check in document["checks"]}


def verdicts(checks: dict[str, dict[str, Any]], *names: str) -> list[str]:
    return [checks[name]["verdict"] for name in names]


def test_where_all_is_well_everything_is_ok(hub: LoopbackHub, anyone: User) -> None:
    checks = doctor(anyone)
    assert list(checks) == [
        *("python", "config", "proxy"),
        *CHAIN,
        *("clock", "token", "engine", "disk", "symlinks", "locks"),
    ]
    assert {check["verdict"] for check in checks.values()} == {"ok"}
    assert {check["hint"] for check in checks.values()} == {None}
    assert set(checks["hub"]) == {"name", "subject", "verdict", "text", "hint"}
    assert checks["hub"]["subject"] == hub.url("origin").removeprefix("http://")
    assert hub.url("cdn").removeprefix("http://") in checks["bytes"]["text"]
    assert SPEC.commit_id[:12] in checks["hub"]["text"]
    assert hub.file_bytes_sent() == 1
    assert not anyone.cache.exists()


def test_lines_fit_a_terminal_and_a_pipe(hub: LoopbackHub, anyone: User) -> None:
    hub.faults.add(Fault(Status(503), site="mirror"))
    arguments = ["doctor", "org/model"]
    for url in (hub.url("mirror"), DEAD, NOWHERE):
        arguments += ["--endpoint", url]
    run = anyone.run(*arguments)
    assert run.code == 0, run.stderr
    assert_fits(run.stdout)
    lines = run.stdout.splitlines()
    assert lines[-1] == "a pull can work here, with 3 warnings"
    marks = [line.split()[:2] for line in lines[:-2] if not line.startswith(" ")]
    assert ["warn", "hub"] in marks
    assert ["warn", "tcp"] in marks
    assert ["warn", "dns"] in marks
    assert sum("hint: " in line for line in lines) == 3
    code, shown = shown_on_terminal(anyone, *arguments)
    assert code == 0
    assert_fits(shown)
    assert lines[-1] in shown


def test_a_problem_is_told_with_its_remedy_and_ends_with_its_code(anyone: User) -> None:
    run = anyone.run("doctor", "org/model", "--no-origin", "--endpoint", DEAD)
    assert run.code == 5
    assert "FAIL tcp" in run.stdout
    assert run.stdout.splitlines()[-1] == "a pull can't work here: 1 problem"
    assert run.error.startswith("a pull can't work: tcp: 127.0.0.1:9")
    assert run.hint


def test_one_failure_does_not_hide_the_others(anyone: User, tmp_path: Path) -> None:
    config, file = tmp_path / "config.toml", tmp_path / "file"
    config.write_text("jobs = 'many'")
    file.touch()
    broken = anyone.having(HFARIA_CONFIG=str(config), HFARIA_ARIA2C=str(tmp_path / "nothing"))
    arguments = ["--endpoint", NOWHERE, "--no-origin", "--dest", str(file)]
    checks = doctor(broken, *arguments, code=2)
    assert verdicts(checks, "config", "dns", "engine", "disk") == ["fail"] * 4
    assert "`jobs`" in checks["config"]["text"]
    config.write_text("")
    assert verdicts(doctor(broken, *arguments, code=5), "config", "dns") == ["ok", "fail"]
    well = anyone.having(HFARIA_ARIA2C=str(tmp_path / "nothing"))
    assert verdicts(doctor(well, *arguments[3:], code=6), "engine", "disk") == ["fail", "fail"]
    assert verdicts(doctor(anyone, *arguments[3:], code=7), "engine", "disk") == ["ok", "fail"]


@pytest.mark.parametrize(
    "settings",
    [
        {"HFARIA_RESERVE": "a lot"},
        {"SSL_CERT_FILE": "/nowhere/ca.pem"},
        {"HFARIA_RESERVE": "a lot", "CURL_CA_BUNDLE": "/nowhere/ca.pem"},
    ],
)
def test_a_bad_variable_is_left_out_and_told(anyone: User, settings: dict[str, str]) -> None:
    checks = doctor(anyone.having(**settings), code=2)
    assert verdicts(checks, "config", "tcp", "engine") == ["fail", "ok", "ok"]
    is_about_tls = "SSL_CERT_FILE" in settings  # which the system's TLS reads, too
    assert verdicts(checks, "hub") == ["fail" if is_about_tls else "ok"]


def test_a_bundle_without_a_certificate_is_2_for_doctor_and_pull(
    anyone: User, tmp_path: Path
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("hello")
    somebody = anyone.having(SSL_CERT_FILE=str(junk))
    assert "no certificate in it" in doctor(somebody, code=2)["hub"]["text"]
    assert "no certificate in it" in refused(somebody.pull("org/model"), 2)


# --- endpoints ------------------------------------------------------------------------------------

# Effect, kinds of requests, the check that fails, a part of what it says.
WRONG: dict[str, tuple[Effect, str, str, str]] = {
    "a portal": (Portal(), "*", "hub", "login page"),
    "an outage": (Status(503), "*", "hub", "HTTP 503"),
    "a bad gateway for files": (Status(502), "bytes", "bytes", "HTTP 502"),
    "a portal for files": (Portal(), "bytes", "bytes", "something else"),
    "silence": (Stall(60.0), "*", "hub", "in time"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_endpoint_does_wrong_is_found(hub: LoopbackHub, anyone: User, name: str) -> None:
    effect, kind, step, said = WRONG[name]
    hub.faults.add(Fault(effect, kind=kind))  # type: ignore[arg-type]
    checks = doctor(anyone, code=5)
    assert checks[step]["verdict"] == "fail"
    assert said in checks[step]["text"]
    assert list(checks)[-6:] == ["clock", "token", "engine", "disk", "symlinks", "locks"]


def test_a_cdn_that_is_out_of_reach_is_named(hub: LoopbackHub, anyone: User) -> None:
    hub.faults.add(Fault(Refuse(), site="cdn"))
    checks = doctor(anyone, code=5)
    assert hub.url("cdn").removeprefix("http://") in checks["bytes"]["text"]
    assert verdicts(checks, "hub", "bytes") == ["ok", "fail"]


def test_ignored_ranges_are_a_warning(hub: LoopbackHub, anyone: User) -> None:
    hub.faults.add(Fault(IgnoreRange()))
    assert verdicts(doctor(anyone), "bytes") == ["warn"]


def test_a_repo_that_is_not_there_is_told(anyone: User) -> None:
    run = anyone.run("doctor", "org/other")
    assert run.code == 5
    assert "no public model `org/other`" in run.error


def test_offline_nobody_is_asked(hub: LoopbackHub, anyone: User) -> None:
    checks = doctor(anyone.having(HF_HUB_OFFLINE="1", HF_TOKEN=GOOD_TOKEN))
    assert "dns" not in checks
    assert verdicts(checks, "offline", "engine", "locks") == ["warn", "ok", "ok"]
    assert hub.records == ()


@pytest.mark.parametrize("is_named", [True, False])
def test_a_private_authority_is_trusted_when_named(tmp_path: Path, is_named: bool) -> None:
    with LoopbackHub(HubConfig(repos=(SPEC,), https=True)) as hub:
        assert hub.ca_bundle is not None
        user = user_of(hub, tmp_path / "home")
        if is_named:
            checks = doctor(user.having(SSL_CERT_FILE=hub.ca_bundle))
            assert hub.ca_bundle in checks["tls"]["text"]
        else:
            checks = doctor(user, code=5)
            assert verdicts(checks, "tcp", "tls") == ["ok", "fail"]
            assert "SSL_CERT_FILE" in checks["tls"]["hint"]


def test_plain_http_at_a_tls_port_is_told(hub: LoopbackHub, anyone: User) -> None:
    url = hub.url("mirror").replace("http://", "https://")
    checks = doctor(anyone, "--no-origin", "--endpoint", url, code=5)
    assert "does not speak TLS" in checks["tls"]["text"]


# --- clock, proxies, token ------------------------------------------------------------------------

LONG_AGO = (("Date", "Thu, 01 Jan 2015 00:00:00 GMT"),)


def test_a_wrong_clock_is_told_from_a_server_s(hub: LoopbackHub, anyone: User) -> None:
    fault = Fault(Headers(add=LONG_AGO), site="mirror")
    hub.faults.add(fault)
    check = doctor(anyone, "--endpoint", hub.url("mirror"))["clock"]
    assert check["verdict"] == "warn"
    assert "ours is right" in check["text"]
    check = doctor(anyone, "--no-origin", "--endpoint", hub.url("mirror"))["clock"]
    assert check["verdict"] == "warn"
    assert "ahead of" in check["text"]
    hub.faults.clear()
    hub.faults.add(Fault(Headers(add=(("Date", "soon"),))))
    assert "no server told the time" in doctor(anyone)["clock"]["text"]


def test_a_dead_proxy_is_blamed_without_its_password(hub: LoopbackHub, anyone: User) -> None:
    proxy = "http://me:secret@127.0.0.1:9"
    run = anyone.having(http_proxy=proxy).run("doctor", "org/model", "--json")
    assert run.code == 5
    assert "the proxy on the way" in run.error
    assert "secret" not in run.stdout + run.stderr
    exempt = anyone.having(http_proxy=proxy, no_proxy="127.0.0.0/8,127.0.0.1,127.0.0.3")
    assert "127.0.0.1:9" not in doctor(exempt)["proxy"]["text"]


@pytest.mark.parametrize("proxy", [http_proxy, socks_proxy])
def test_a_proxy_is_tried_with_what_is_asked_through_it(
    hub: LoopbackHub, anyone: User, proxy: Callable[..., AbstractContextManager[Guests]]
) -> None:
    host = hub.url("origin").removeprefix("http://")
    with proxy("me", "secret") as guests:
        through = anyone.having(all_proxy=guests.url)
        checks = doctor(through)
        assert verdicts(checks, "proxy", "hub", "bytes") == ["ok"] * 3
        assert "dns" not in checks
        assert {host, hub.url("cdn").removeprefix("http://")} <= set(guests.places)
        run = through.run("mirrors", "org/model")
        assert run.code == 0, run.stderr
    run = through.run("doctor", "org/model")
    assert run.code == 5
    assert "the proxy on the way" in run.error
    assert "secret" not in run.stdout + run.stderr


def test_a_proxy_that_lets_nobody_through_is_told(anyone: User) -> None:
    with http_proxy("me", "right") as guests:
        wrong = guests.url.replace("right", "wrong-secret")
        run = anyone.having(http_proxy=wrong).run("doctor", "org/model")
    assert run.code == 5
    assert guests.denied
    assert "wrong-secret" not in run.stdout + run.stderr


def test_whose_the_token_is_is_asked_at_the_origin_alone(hub: LoopbackHub, anyone: User) -> None:
    run = anyone.having(HF_TOKEN=GOOD_TOKEN).run(
        "doctor", "org/model", "--endpoint", hub.url("mirror"), "--debug"
    )
    assert run.code == 0, run.stderr
    assert "from HF_TOKEN, accepted by" in run.stdout
    assert GOOD_TOKEN not in run.stdout + run.stderr
    assert {record.site for record in hub.requests_with_token()} == {"origin"}
    assert {record.site for record in hub.records} == {"origin", "mirror", "cdn"}


def test_where_a_token_comes_from_is_told(hub: LoopbackHub, anyone: User, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(GOOD_TOKEN)
    assert "from --token-file" in doctor(anyone, "--token-file", str(file))["token"]["text"]
    store = anyone.home / "hf" / "token"
    store.parent.mkdir()
    store.write_text(GOOD_TOKEN)
    assert "`hf auth login`" in doctor(anyone)["token"]["text"]
    hub.reset_records()
    arguments = ("--no-origin", "--endpoint", hub.url("mirror"))
    assert "not checked" in doctor(anyone, *arguments)["token"]["text"]
    assert hub.requests_with_token() == ()


def test_a_bad_token_is_a_warning_unless_the_repo_needs_one(hub: LoopbackHub, anyone: User) -> None:
    hub.put_repo(model("org/gated", gated="auto"))
    somebody = anyone.having(HF_TOKEN="hf_NobodyKnowsThisTokenAtAll00000000")
    check = doctor(somebody)["token"]
    assert check["verdict"] == "warn"
    assert "hf auth login" in check["hint"]
    run = somebody.run("doctor", "org/gated")
    assert run.code == 5
    assert "gated" in run.error
    assert anyone.having(HF_TOKEN=GOOD_TOKEN).run("doctor", "org/gated").code == 0


# --- the engine -----------------------------------------------------------------------------------

SILENT = "#!/bin/sh\nexec sleep 60\n"
LIAR = '#!/bin/sh\n[ "$2" = --version ] && echo "aria2 version 1.37.0" && exit\nexec sleep 60\n'
QUITTER = LIAR.replace("exec sleep 60", "echo no such option; exit 28")


@pytest.mark.parametrize(
    ("program", "said"),
    [(SILENT, "version in time"), (LIAR, "listen in time"), (QUITTER, "ended at once")],
)
def test_an_engine_that_does_not_work_is_6(
    anyone: User, tmp_path: Path, program: str, said: str
) -> None:
    path = tmp_path / "aria2c"
    path.write_text(program)
    path.chmod(0o755)
    run = anyone.having(HFARIA_ARIA2C=str(path)).run("doctor", "org/model")
    assert run.code == 6
    assert said in run.error
    assert "ok   locks" in run.stdout
    assert run.seconds < LONGEST_SECONDS


def test_an_attached_engine_is_asked(anyone: User) -> None:
    checks = doctor(anyone, "--rpc-url", "http://127.0.0.1:9/jsonrpc", code=6)
    assert "127.0.0.1:9" in checks["engine"]["text"]


# --- the destination ------------------------------------------------------------------------------


def test_a_destination_that_may_not_be_written_is_7(anyone: User) -> None:
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    outsider = User(
        anyone.home, anyone.origin, anyone.settings, prefix if os.geteuid() == 0 else ()
    )
    locked = anyone.home / "locked"
    locked.mkdir(mode=0o555)
    checks = doctor(outsider, "--dest", str(locked / "sub"), code=7)
    assert "Permission denied" in checks["disk"]["text"]
    assert list(locked.iterdir()) == []


def test_a_reserve_that_is_not_there_is_7(anyone: User) -> None:
    checks = doctor(anyone, "--reserve", "900TB", code=7)
    assert "less than the reserve" in checks["disk"]["text"]


def test_a_plain_folder_is_checked_in_place_of_a_cache(anyone: User, tmp_path: Path) -> None:
    checks = doctor(anyone, "--local-dir", str(tmp_path / "plain"))
    assert str(tmp_path / "plain") in checks["disk"]["text"]


def system_that(folder: Path, code: str) -> str:
    """Return a PYTHONPATH under which the system's calls behave as ``code`` makes them."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"import errno, fcntl, os\n{code}\n")
    return str(site)


# The destination's filesystem alone is odd: other locks are as they always are.
FLOCK = """
real = fcntl.flock
def flock(file, operation):
    number = file if isinstance(file, int) else file.fileno()
    if "/home/" not in os.readlink(f"/proc/self/fd/{{number}}"):
        return real(file, operation)
    {0}
fcntl.flock = flock
"""
REFUSING = FLOCK.format("raise OSError(errno.{0}, os.strerror(errno.{0}))")


@pytest.mark.parametrize(
    ("code", "verdict", "said"),
    [
        (FLOCK.format("return None"), "warn", "do nothing here"),
        (REFUSING.replace("{0}", "ENOSYS"), "warn", "lock files stand in"),
        (REFUSING.replace("{0}", "ENOLCK"), "fail", "No locks available"),
    ],
    ids=["a lock that keeps nobody out", "no locks", "locks that fail"],
)
def test_locks_that_are_none_are_found(
    anyone: User, tmp_path: Path, code: str, verdict: str, said: str
) -> None:
    odd = anyone.having(PYTHONPATH=system_that(tmp_path, code))
    check = doctor(odd, code=7 if verdict == "fail" else 0)["locks"]
    assert check["verdict"] == verdict
    assert said in check["text"]
    assert check["hint"]
    assert list(anyone.home.glob(".hfaria*")) == []


def test_an_interrupted_check_up_leaves_nothing_behind(
    hub: LoopbackHub, anyone: User, tmp_path: Path
) -> None:
    hub.faults.add(Fault(Stall(30.0)))
    dest, scratch = tmp_path / "dest", tmp_path / "scratch"
    dest.mkdir()
    scratch.mkdir()
    running = anyone.having(TMPDIR=str(scratch)).start("doctor", "org/model", "--dest", str(dest))
    wait_until(lambda: bool(list(dest.iterdir())), running)
    running.send(signal.SIGINT)
    run = running.wait()
    assert run.code == 130
    assert list(dest.iterdir()) == []


def test_missing_symlinks_are_found(anyone: User, tmp_path: Path) -> None:
    code = "def symlink(*_, **__): raise PermissionError(1, 'no')\nos.symlink = symlink"
    odd = anyone.having(PYTHONPATH=system_that(tmp_path, code))
    check = doctor(odd)["symlinks"]
    assert (check["verdict"], bool(check["hint"])) == ("warn", True)
    assert "switched off" in doctor(anyone.having(HF_HUB_DISABLE_SYMLINKS="1"))["symlinks"]["text"]


# --- whoever means harm, or nothing at all --------------------------------------------------------


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address where connections are neither accepted nor refused."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(4):  # what a full queue does not take is left without an answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


def test_where_everything_is_a_black_hole_it_ends_in_time(
    anyone: User, tmp_path: Path, black_hole: str
) -> None:
    path = tmp_path / "aria2c"
    path.write_text(SILENT)
    path.chmod(0o755)
    hostless = anyone.having(
        HFARIA_ORIGIN=black_hole, HFARIA_ARIA2C=str(path), HF_TOKEN="hf_SomeTokenOfSomebody"
    )
    run: Run = hostless.run("doctor", "org/model", "--endpoint", f"{black_hole}/mirror")
    assert run.code == 5
    assert run.seconds < LONGEST_SECONDS
    assert run.stdout.count("FAIL tcp") == 2
    assert "hfaria doctor" not in run.stdout
    assert "FAIL engine" in run.stdout
    assert "ok   locks" in run.stdout


def test_a_name_that_takes_for_ever_to_resolve_does_not_hold_the_rest(
    anyone: User, tmp_path: Path
) -> None:
    code = (
        "import socket, time\nreal = socket.getaddrinfo\n"
        "def slow(host, *given, **named):\n"
        "    if host == 'hub.invalid': time.sleep(120)\n"
        "    return real(host, *given, **named)\n"
        "socket.getaddrinfo = slow"
    )
    odd = anyone.having(PYTHONPATH=system_that(tmp_path, code))
    run = odd.run("doctor", "org/model", "--endpoint", NOWHERE)
    assert run.code == 0, run.stderr
    assert "hub.invalid: no answer in time" in run.stdout
    assert run.seconds < LONGEST_SECONDS


def test_a_hostile_endpoint_does_not_reach_the_terminal(anyone: User) -> None:
    evil = "disabled \x9b31m\x9d0;owned\x9c".encode("latin-1")
    answer = b"HTTP/1.1 403 No\r\nX-Error-Message: " + evil + b"\r\nContent-Length: 0\r\n\r\n"
    with RawServer(lambda _: [answer]) as server:
        run = anyone.run("doctor", "org/model", "--no-origin", "--endpoint", server.url)
        assert run.code == 5
        assert_fits(run.stdout)
        assert all(line.isprintable() for line in run.stderr.splitlines())
        document = anyone.run("doctor", "org/model", "--json", "--endpoint", server.url).stdout
    assert all(line.isprintable() for line in document.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dest", "a", "--local-dir", "b"),
        ("--endpoint", "ftp://x"),
        ("--no-origin",),
        ("--reserve", "lots"),
        ("--token", "hf_abcdefghij", "--token-file", "x"),
    ],
)
def test_wrong_usage_is_2(anyone: User, arguments: tuple[str, ...]) -> None:
    refused(anyone.run("doctor", "org/model", *arguments), 2)
