from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import InconsistentListing
from hfaria.rules.endpoints import ORIGIN_URL, ConfiguredEndpoint, Endpoint
from hfaria.rules.listing import Listing, RemoteFile, make_listing
from hfaria.rules.spec import RepoSpec
from hfaria.rules.staleness import (
    HistoryEntry,
    Lag,
    ListingTrust,
    compare,
    holdings_at,
    measure_lag,
    newest,
    settle,
)
from hfaria.rules.words import Candidate, Head

ORIGIN, MIRROR, OTHER = (
    Endpoint(url) for url in (ORIGIN_URL, "https://mirror.example", "https://other.example")
)
COMMIT, OLD = "c" * 40, "d" * 40
NOON = datetime(2024, 1, 2, 12, tzinfo=timezone.utc)


def head(commit_hash: str = COMMIT, at: datetime | None = None) -> Head:
    return Head(commit_hash, is_gated=False, is_private=False, last_modified=at)


def candidate(endpoint: Endpoint, said: Head) -> Candidate:
    return Candidate(ConfiguredEndpoint(endpoint), said)


def listing(*paths: str, **oids: str) -> Listing:
    """List files whose content follows from their name, or from what is given for it."""
    names = {**{path: path[0] for path in paths}, **oids}
    files = [RemoteFile(path, 10, each * 40) for path, each in names.items()]
    return make_listing(COMMIT, files)


# --- which commit --------------------------------------------------------------------------------


def test_the_origin_says_which_commit_is_the_newest() -> None:
    later = candidate(MIRROR, head(OLD, NOON + timedelta(hours=1)))
    assert newest([later, candidate(ORIGIN, head(at=NOON))], ORIGIN).endpoint == ORIGIN


def test_without_the_origin_the_last_change_says_it() -> None:
    old = candidate(MIRROR, head(OLD, NOON))
    new = candidate(OTHER, head(COMMIT, NOON + timedelta(hours=1)))
    assert newest([old, new], ORIGIN) == newest([new, old], ORIGIN) == new


def test_the_first_counts_where_times_are_equal_or_missing() -> None:
    first, second = candidate(MIRROR, head(OLD, NOON)), candidate(OTHER, head(COMMIT, NOON))
    unknown = candidate(OTHER, head(COMMIT))
    assert newest([first, second], ORIGIN) == first
    assert newest([first, unknown], ORIGIN) == first
    assert newest([unknown, first], ORIGIN) == unknown


HISTORY = [HistoryEntry(f"{number:x}" * 40, NOON - timedelta(hours=number)) for number in range(3)]


@pytest.mark.parametrize(
    ("commit_hash", "is_whole", "lag", "text"),
    [
        ("1" * 40, True, Lag(1, 3600.0), "1 commit (1 h) behind"),
        ("2" * 40, False, Lag(2, 7200.0), "2 commits (2 h) behind"),
        ("e" * 40, True, Lag(is_unrelated=True), "at a commit that is not in the history of"),
        ("e" * 40, False, Lag(), "at another commit than"),
    ],
)
def test_a_lag_is_read_from_the_history(
    commit_hash: str, is_whole: bool, lag: Lag, text: str
) -> None:
    found = measure_lag(head(commit_hash), head("0" * 40), HISTORY, is_whole=is_whole)
    assert found == lag
    assert str(found) == text


def test_without_a_history_times_tell_the_lag() -> None:
    behind, ahead = head(OLD, NOON - timedelta(days=1)), head(COMMIT, NOON)
    assert str(measure_lag(behind, ahead, (), is_whole=False)) == "1 d behind"
    assert str(measure_lag(head(OLD), ahead, (), is_whole=False)) == "at another commit than"
    untimed = [HistoryEntry(COMMIT, None), HistoryEntry(OLD, None)]
    assert str(measure_lag(head(OLD), head(COMMIT), untimed, is_whole=True)) == "1 commit behind"


# --- which listing -------------------------------------------------------------------------------


def test_two_that_agree_are_worth_more_than_one() -> None:
    same = listing("a", "b")
    assert settle([(MIRROR, same)], ORIGIN).trust is ListingTrust.MIRROR
    assert settle([(MIRROR, same), (OTHER, same)], ORIGIN).trust is ListingTrust.AGREED
    by_origin = settle([(MIRROR, same), (ORIGIN, same)], ORIGIN)
    assert (by_origin.trust, by_origin.endpoint) == (ListingTrust.ORIGIN, ORIGIN)
    assert by_origin.lacking == ()


def test_a_listing_that_lacks_files_gives_way() -> None:
    whole, part = listing("a", "b", "c"), listing("a")
    for listings in ([(MIRROR, part), (ORIGIN, whole)], [(ORIGIN, whole), (MIRROR, part)]):
        found = settle(listings, ORIGIN)
        assert (found.listing, found.trust) == (whole, ListingTrust.ORIGIN)
        assert found.lacking == ((MIRROR, part, 2),)
    among_mirrors = settle([(MIRROR, part), (OTHER, whole)], ORIGIN)
    assert (among_mirrors.endpoint, among_mirrors.trust) == (OTHER, ListingTrust.MIRROR)
    assert among_mirrors.lacking == ((MIRROR, part, 2),)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((MIRROR, listing("b", a="a")), (ORIGIN, listing("b", a="f"))),
        ((MIRROR, listing("b", a="a")), (OTHER, listing("b", a="f"))),
        ((MIRROR, listing("b", "a")), (ORIGIN, listing("b"))),
        ((MIRROR, listing("b", "a")), (OTHER, listing("b", "c"))),
        ((MIRROR, listing("b", "a")), (ORIGIN, listing("b", "c"))),
    ],
    ids=["altered", "altered, no origin", "added", "each lacks one", "replaced"],
)
def test_a_contradiction_names_both_and_the_path(
    first: tuple[Endpoint, Listing], second: tuple[Endpoint, Listing]
) -> None:
    with pytest.raises(InconsistentListing) as caught:
        settle([first, second], ORIGIN)
    message = caught.value.message
    assert first[0].host in message
    assert second[0].host in message
    assert "`a`" in message or "`c`" in message
    assert COMMIT[:12] in message


def test_a_size_or_an_lfs_digest_of_its_own_is_a_contradiction() -> None:
    file = RemoteFile("a", 10, "a" * 40, "b" * 64)
    ours = make_listing(COMMIT, [file])
    for other in (RemoteFile("a", 11, "a" * 40, "b" * 64), RemoteFile("a", 10, "a" * 40, "c" * 64)):
        assert compare(ours, make_listing(COMMIT, [other])).altered == ("a",)
    hashed = RemoteFile("a", 10, "a" * 40, "b" * 64, xet_hash="x")  # says nothing of the content
    assert compare(ours, make_listing(COMMIT, [hashed])).altered == ()


_NAMES = st.sets(st.sampled_from("abcdef"))


@given(_NAMES, _NAMES)
def test_what_counts_holds_all_that_both_list(ours: set[str], theirs: set[str]) -> None:
    pair = [(MIRROR, listing(*ours)), (OTHER, listing(*theirs))]
    if ours <= theirs or theirs <= ours:
        found = settle(pair, ORIGIN)
        assert {file.path for file in found.listing.files} == ours | theirs
        assert (found.trust is ListingTrust.AGREED) == (ours == theirs)
    else:
        with pytest.raises(InconsistentListing):
            settle(pair, ORIGIN)


# --- which bytes ---------------------------------------------------------------------------------


def test_what_is_held_is_asked_for_at_its_place_in_the_commit_that_has_it() -> None:
    spec = RepoSpec("org/name")
    old = make_listing(OLD, [RemoteFile("was/a b", 10, "a" * 40), RemoteFile("gone", 1, "f" * 40)])
    held = holdings_at(spec, old, listing("a", "b"))
    assert held.paths == {"a" * 40: f"org/name/resolve/{OLD}/was/a%20b"}
