"""What findings mean together, and how clocks, proxies and destinations are judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hfaria.errors import ExitCode
from hfaria.rules.checkup import (
    Check,
    Verdict,
    fail,
    first_failure,
    last_words,
    ok,
    warn,
    with_spare_endpoints,
)
from hfaria.rules.diagnosis import (
    ClockReading,
    judge_clock,
    judge_disk,
    judge_proxies,
    judge_symlinks,
)
from hfaria.rules.endpoints import Endpoint
from hfaria.rules.preflight import Filesystem
from hfaria.rules.proxies import Proxy, read_proxies

GOOD = (ok("dns", "is", subject="a"), ok("bytes", "its own", subject="a"))
DEAD = (ok("dns", "is", subject="b"), fail("tcp", "no", subject="b", exit_code=ExitCode.HUB))
DISK = Filesystem(free_bytes=50 * 10**9, kind="ext4")


def test_the_last_word_on_a_check_counts_and_keeps_its_place() -> None:
    first = fail("engine", "no answer in time", exit_code=ExitCode.ENGINE)
    other, last = ok("disk", "fine"), ok("engine", "answers")
    assert last_words([first, other, last]) == (last, other)


def test_an_endpoint_that_serves_excuses_the_others() -> None:
    checks = with_spare_endpoints([DEAD, GOOD])
    assert [check.verdict for check in checks] == [Verdict.OK, Verdict.WARN, Verdict.OK, Verdict.OK]
    assert first_failure(checks) is None


@pytest.mark.parametrize("chains", [[DEAD], [DEAD, GOOD[:1]], [DEAD, ()]])
def test_one_that_did_not_come_to_the_bytes_excuses_nobody(
    chains: list[tuple[Check, ...]],
) -> None:
    failure = first_failure(with_spare_endpoints(chains))
    assert failure is not None
    assert failure.exit_code is ExitCode.HUB


def test_the_first_failure_names_the_exit_code() -> None:
    engine = fail("engine", "none", exit_code=ExitCode.ENGINE)
    disk = fail("disk", "full", exit_code=ExitCode.DESTINATION)
    assert first_failure([ok("a", ""), warn("b", ""), engine, disk]) == engine


# --- clocks ---------------------------------------------------------------------------------------


def clock(**skews: float) -> Check:
    return judge_clock([ClockReading(host, skew) for host, skew in skews.items()])


def test_a_clock_that_agrees_is_fine() -> None:
    assert clock(hub=-1.4, mirror=200) == ok("clock", "within 1 s of hub")


def test_a_clock_that_nobody_agrees_with_is_ours() -> None:
    check = clock(hub=7200, mirror=7260)
    assert check.verdict is Verdict.WARN
    assert check.text.startswith("2 h behind hub")
    assert "ahead of" in clock(hub=-400).text
    assert check.remedy is not None


def test_a_server_s_wrong_clock_is_its_own() -> None:
    check = clock(hub=0, mirror=-86400)
    assert check.verdict is Verdict.WARN
    assert "ours is right; that of mirror is 1 d behind" in check.text


def test_without_a_server_s_word_nothing_is_known_of_the_clock() -> None:
    assert clock().verdict is Verdict.WARN


# --- proxies --------------------------------------------------------------------------------------

HUB, MIRROR = Endpoint("https://hub.example.com"), Endpoint("http://10.1.2.3:8080")


def proxies(environ: dict[str, str], own: dict[Endpoint, Proxy] | None = None) -> tuple[Check, ...]:
    return judge_proxies(environ, proxies=read_proxies(environ, own or {}), endpoints=[HUB, MIRROR])


def test_no_proxy_variable_is_fine() -> None:
    assert [check.verdict for check in proxies({"PATH": "/bin", "http_proxy": ""})] == [Verdict.OK]


def test_a_proxy_is_named_without_its_password() -> None:
    url = "http://me:secret@proxy.example.com:3128"
    (check,) = proxies({"HTTPS_PROXY": url})
    assert check.text == (
        "http://proxy.example.com:3128, set by HTTPS_PROXY; not for 10.1.2.3:8080"
    )


def test_an_endpoint_s_own_proxy_is_named_with_where_it_comes_from() -> None:
    (check,) = proxies({}, {MIRROR: Proxy("socks5h", "campus.example.com", 1080)})
    assert check.text == (
        "socks5h://campus.example.com:1080, set by the config file; not for hub.example.com"
    )


def test_variables_that_contradict_each_other_are_told() -> None:
    environ = {"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1", "NO_PROXY": "*"}
    checks = proxies(environ)
    assert checks[0].text == "https_proxy and HTTPS_PROXY differ; https_proxy counts"
    assert checks[0].verdict is Verdict.WARN
    assert "no endpoint is reached through a proxy" in checks[-1].text


# --- the destination ------------------------------------------------------------------------------


def disk(filesystem: Filesystem, reserve: int = 10**10) -> tuple[Check, ...]:
    return judge_disk(filesystem, folder="/models", exists=True, reserve=reserve)


def test_a_disk_with_room_is_fine() -> None:
    assert disk(DISK) == (ok("disk", "`/models` can be written: 50.0 GB free on ext4"),)


def test_a_disk_below_the_reserve_keeps_a_pull_from_working() -> None:
    (check,) = disk(DISK, reserve=10**11)
    assert (check.verdict, check.exit_code) == (Verdict.FAIL, ExitCode.DESTINATION)
    assert "less than the reserve of 100 GB" in check.text
    (check,) = disk(DISK, reserve=DISK.free_bytes - 5)
    assert check.verdict is Verdict.WARN


def test_every_place_that_refuses_is_told() -> None:
    checks = disk(replace(DISK, refusals=("`a` is no folder", "`b` is read-only")))
    assert [check.text for check in checks] == ["`a` is no folder", "`b` is read-only"]
    assert {check.verdict for check in checks} == {Verdict.FAIL}


def test_what_a_stick_can_not_hold_is_told() -> None:
    checks = disk(replace(DISK, kind="vfat", largest_file=2**32 - 1, has_windows_names=True))
    assert [(check.subject, check.verdict) for check in checks[1:]] == [
        ("file size", Verdict.WARN),
        ("names", Verdict.WARN),
    ]


def test_symlinks_may_be_missing_or_unwanted() -> None:
    assert judge_symlinks(DISK, is_allowed=True).verdict is Verdict.OK
    assert judge_symlinks(replace(DISK, has_symlinks=False), is_allowed=True).verdict is (
        Verdict.WARN
    )
    assert "switched off" in judge_symlinks(DISK, is_allowed=False).text
