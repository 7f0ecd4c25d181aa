"""One source lies, and the honest one has troubles of its own: that is enough for one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopback_hub import Blackhole, Fault, OtherVersion, Status, WrongBytes
from support.repos import one_file
from support.trees import assert_holds

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = pytest.mark.aria2

SPEC = one_file(size=8_000_000)
LIE = WrongBytes(within=500_000, count=2)


def test_a_source_that_fails_now_and_then_mends_what_another_sent_wrong(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    honest = hub.add_mirror("honest")
    hub.faults.add(
        Fault(LIE, site="mirror", kind="bytes"), Fault(Status(503), site="honest", every=6)
    )
    somebody = user.having(HFARIA_ENDPOINTS=f"{hub.url('mirror')} {honest}", HFARIA_PATIENCE="60s")
    run = somebody.pulled(SPEC.repo_id, "--no-origin")
    assert_holds(run.path, SPEC)
    # Each breaking off costs a few steps, and what was compared is not compared again.
    assert hub.file_bytes_sent(site="honest") <= 2 * SPEC.head.total_size
    assert hub.file_bytes_sent(site="mirror") <= 1.5 * SPEC.head.total_size


@pytest.mark.parametrize("lie", [LIE, OtherVersion()], ids=["flipped bytes", "another version"])
def test_one_that_told_the_same_lie_once_as_another_always_does_is_asked_again(
    hub: LoopbackHub, user: User, lie: WrongBytes | OtherVersion
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(
        Fault(lie, site="mirror", kind="bytes"), Fault(lie, site="cdn", kind="bytes", first=1)
    )
    run = user.having(HFARIA_ENDPOINTS=hub.url("mirror")).pulled(SPEC.repo_id)
    assert_holds(run.path, SPEC)


def test_one_that_lied_once_is_asked_again_where_the_other_leads_nowhere(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(SPEC)
    hub.faults.add(
        Fault(LIE, site="mirror", kind="bytes", first=1, per="blob"),
        Fault(Blackhole(drops_connects=True), site="cdn"),
    )
    somebody = user.having(HFARIA_ENDPOINTS=hub.url("mirror"), HFARIA_PATIENCE="12s")
    run = somebody.pulled(SPEC.repo_id)
    assert_holds(run.path, SPEC)
