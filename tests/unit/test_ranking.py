"""In which order endpoints are asked, and the phrase that says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.rules.endpoints import Endpoint
from hfaria.rules.probe import SHORTEST_SAMPLE, Probe, Sample
from hfaria.rules.ranking import note_differing_bytes, rank
from hfaria.rules.standing import Age, Standing

SAME = Standing(Age.SAME, 0, 0.0)


def probe(
    name: str,
    *,
    megabytes: float | None = 1.0,
    standing: Standing = SAME,
    ranges: bool | None = True,
    problem: str | None = None,
    latency: float | None = 0.05,
    digest: str | None = "d",
    is_origin: bool = False,
) -> Probe:
    sample = None
    if megabytes is not None:
        received = int(megabytes * 1e6)
        sample = Sample("model.bin", 10**9, "blob", "url", received, 1.0, digest)
    return Probe(
        Endpoint(f"https://{name}"),
        is_origin,
        problem=problem,
        latency_seconds=latency,
        standing=standing,
        sample=sample,
        honours_ranges=ranges,
    )


def order(*probes: Probe) -> list[tuple[str, int | None, str]]:
    return [(one.probe.endpoint.host, one.place, one.why) for one in rank(probes)]


def test_the_fastest_comes_first() -> None:
    assert order(probe("slow"), probe("fast", megabytes=10)) == [
        ("fast", 1, "fastest"),
        ("slow", 2, "9.8 times slower"),
    ]


def test_the_order_that_was_named_stands_between_equals() -> None:
    assert order(probe("a"), probe("b", megabytes=1.2)) == [
        ("a", 1, "as good as any, and named first"),
        ("b", 2, "about as fast, and named later"),
    ]


def test_what_can_not_serve_comes_last_with_its_reason() -> None:
    assert order(probe("a", problem="no listing"), probe("b")) == [
        ("b", 1, "the only one that can serve it"),
        ("a", None, "no listing"),
    ]
    assert order(probe("a", problem="no listing")) == [("a", None, "no listing")]


def test_one_that_is_behind_waits_unless_it_is_much_faster() -> None:
    behind = Standing(Age.BEHIND, 2, 10800.0)
    assert order(probe("mirror", megabytes=1.5, standing=behind), probe("hub")) == [
        ("hub", 1, "fastest"),
        ("mirror", 2, "2 commits behind (3 h)"),
    ]
    assert order(probe("hub"), probe("mirror", megabytes=20, standing=behind)) == [
        ("mirror", 1, "fastest, though 2 commits behind (3 h)"),
        ("hub", 2, "9.5 times slower"),
    ]


def test_one_without_ranges_waits() -> None:
    assert order(probe("plain", megabytes=2, ranges=False), probe("hub")) == [
        ("hub", 1, "fastest"),
        ("plain", 2, "it can't continue inside a file"),
    ]


def test_an_unknown_rate_comes_after_those_that_are_known() -> None:
    assert order(probe("a", megabytes=None), probe("b")) == [
        ("b", 1, "fastest"),
        ("a", 2, "its rate is not known"),
    ]


def test_without_any_rate_the_order_stands() -> None:
    assert [
        name for name, _, _ in order(probe("a", megabytes=None), probe("b", megabytes=None))
    ] == [
        "a",
        "b",
    ]


def test_a_sample_too_short_tells_no_rate() -> None:
    assert Sample("f", 10**9, "b", "u", SHORTEST_SAMPLE - 1, 0.001).rate is None
    assert Sample("f", 100, "b", "u", 100, 0.001).rate is None
    assert Sample("f", 10**9, "b", "u", SHORTEST_SAMPLE, 0.5).rate == 2 * SHORTEST_SAMPLE
    assert Sample("f", 10**9, "b", "u", 5000, 2.0).rate == 2500
    assert Sample("f", 10**9, "b", "u", 0, 2.0).rate is None


def test_the_origin_speaks_for_a_content() -> None:
    mirror, origin = probe("mirror", digest="x"), probe("hub", digest="y", is_origin=True)
    judged = note_differing_bytes([mirror, origin])
    assert judged[0].problem == "serves other bytes of `model.bin` than hub"
    assert judged[1] == origin


def test_samples_of_other_contents_or_unfinished_ones_are_not_compared() -> None:
    first = probe("a", digest="x")
    unfinished = probe("b", digest=None)
    assert first.sample is not None
    other = replace(first, sample=replace(first.sample, blob_name="other", digest="z"))
    assert note_differing_bytes([first, unfinished, other]) == (first, unfinished, other)


_PROBES = st.builds(
    probe,
    st.sampled_from("abcdef"),
    megabytes=st.none() | st.floats(0.1, 100),
    standing=st.sampled_from(
        [SAME, Standing(), Standing(Age.BEHIND, 1), Standing(Age.AHEAD, None, 1.0)]
    ),
    ranges=st.sampled_from([None, True, False]),
    problem=st.none() | st.just("down"),
    latency=st.none() | st.floats(0, 2),
)


@given(st.lists(_PROBES, max_size=7))
def test_every_endpoint_gets_one_place_and_one_phrase(probes: list[Probe]) -> None:
    ranked = rank(probes)
    assert sorted(id(one.probe) for one in ranked) == sorted(id(one) for one in probes)
    places = [one.place for one in ranked]
    able = sum(one.can_serve for one in probes)
    assert places == [*range(1, able + 1), *([None] * (len(probes) - able))]
    assert all(one.why and "\n" not in one.why for one in ranked)


@pytest.mark.parametrize(
    ("needs_login", "problem", "accepts"),
    [(None, None, None), (True, None, False), (False, None, True), (False, "down", False)],
)
def test_who_needs_no_login_is_accepted_without_a_token(
    needs_login: bool | None, problem: str | None, accepts: bool | None
) -> None:
    asked = replace(probe("a", problem=problem), needs_login=needs_login)
    assert asked.accepts_anonymous is accepts
