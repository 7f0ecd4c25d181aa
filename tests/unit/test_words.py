from __future__ import annotations

import socket

import pytest

from hfaria.errors import (
    AccessDenied,
    EndpointUnreachable,
    HubError,
    NotAHub,
    RepoNotFound,
    RevisionNotFound,
)
from hfaria.hub.name_service import says_no_such_host
from hfaria.rules.endpoints import ORIGIN_URL, ConfiguredEndpoint, Endpoint
from hfaria.rules.words import Head, Word, authority, candidates, is_outage, verdict

ORIGIN, MIRROR, OTHER = (
    Endpoint(url) for url in (ORIGIN_URL, "https://mirror.example", "https://other.example")
)
HEAD = Head("a" * 40, is_gated=False, is_private=False)
MISSING = RepoNotFound("no such repo")
DOWN = EndpointUnreachable("mirror.example can't be reached")
PORTAL = NotAHub("mirror.example answers with a web page")


def word(
    endpoint: Endpoint, said: Head | HubError | None = None, *, may_pass: bool = False
) -> Word:
    configured = ConfiguredEndpoint(endpoint)
    if isinstance(said, Head):
        return Word(configured, head=said)
    return Word(configured, error=said, may_pass=may_pass)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([word(MIRROR, DOWN, may_pass=True)], True),
        ([word(MIRROR, DOWN, may_pass=True), word(ORIGIN, may_pass=True)], True),
        ([word(MIRROR, PORTAL), word(ORIGIN, DOWN, may_pass=True)], True),
        ([word(MIRROR, PORTAL)], False),
        ([word(MIRROR, DOWN)], False),
        ([word(MIRROR, MISSING), word(ORIGIN, DOWN, may_pass=True)], False),
        ([word(MIRROR, RevisionNotFound("x")), word(ORIGIN, may_pass=True)], False),
        ([word(MIRROR, DOWN, may_pass=True), word(ORIGIN, HEAD)], False),
    ],
)
def test_only_silence_about_the_repo_is_an_outage(words: list[Word], expected: bool) -> None:
    assert is_outage(words) is expected


def test_those_who_have_it_are_in_order() -> None:
    words = [word(MIRROR, MISSING), word(OTHER, HEAD), word(ORIGIN, HEAD)]
    assert [each.endpoint for each in candidates(words)] == [OTHER, ORIGIN]


def test_the_authority_is_who_may_see_the_token_and_said_something() -> None:
    denied = word(ORIGIN, AccessDenied("no"))
    assert authority([word(MIRROR, HEAD), denied], (ORIGIN,)) == denied
    assert authority([word(MIRROR, HEAD), word(ORIGIN, DOWN, may_pass=True)], (ORIGIN,)) is None
    assert authority([word(MIRROR, HEAD), denied], (ORIGIN, MIRROR)) == word(MIRROR, HEAD)


def test_the_authority_s_refusal_counts_most() -> None:
    theirs = RepoNotFound("not at the origin")
    assert verdict([word(MIRROR, MISSING), word(ORIGIN, theirs)], (ORIGIN,)) is theirs


def test_a_refusal_names_those_who_could_not_be_asked() -> None:
    said = RepoNotFound("not at the mirror")
    down = EndpointUnreachable("huggingface.co can't be reached")
    found = verdict([word(MIRROR, said), word(ORIGIN, down, may_pass=True)], (ORIGIN,))
    assert found is said
    assert found.message == "not at the mirror; and huggingface.co can't be reached"


def test_of_one_endpoint_its_own_error_is_told() -> None:
    assert verdict([word(MIRROR, PORTAL)], (ORIGIN,)) is PORTAL


def test_without_any_answer_all_are_named() -> None:
    found = verdict([word(MIRROR, PORTAL), word(OTHER, DOWN), word(ORIGIN)], (ORIGIN,))
    assert isinstance(found, EndpointUnreachable)
    assert PORTAL.message in found.message
    assert DOWN.message in found.message
    assert "huggingface.co has not answered" in found.message


# --- names that do not exist ---------------------------------------------------------------------


def caused_by(cause: BaseException) -> BaseException:
    outer, middle = RuntimeError("outer"), OSError("middle")
    outer.__cause__ = middle
    middle.__context__ = cause
    return outer


def test_a_name_that_does_not_exist_is_told_from_a_network_that_is_down() -> None:
    assert says_no_such_host(caused_by(socket.gaierror(socket.EAI_NONAME, "unknown")))
    assert not says_no_such_host(caused_by(socket.gaierror(socket.EAI_AGAIN, "try again")))
    assert not says_no_such_host(caused_by(ConnectionRefusedError(111, "refused")))
    assert not says_no_such_host(RuntimeError("no cause"))
