from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from hfaria.rules.plan import Plan, Transfer, View, make_plan
from hfaria.rules.spec import RepoSpec
from unit.builders import COMMIT, git_file, lfs_file

if TYPE_CHECKING:
    from hfaria.rules.listing import RemoteFile

SPEC = RepoSpec("org/name")


def plan(*files: RemoteFile, view: View | None = None, refetch: bool = False) -> Plan:
    return make_plan(
        SPEC,
        COMMIT,
        files,
        view or View(),
        ref="main",
        refetch=refetch,
    )


def test_everything_is_fetched_and_linked_into_an_empty_cache() -> None:
    made = plan(git_file("a/x"), lfs_file("b"))
    assert [each.path for each in made.transfers] == ["b", "a/x"]
    assert [each.path for each in made.to_link] == ["a/x", "b"]
    assert [each.is_lfs for each in made.transfers] == [True, False]
    assert made.transfers[1].label == "x"
    assert made.size == made.bytes_to_fetch == 5002
    assert made.bytes_reused == 0
    assert made.cached_paths == frozenset()
    assert not made.is_complete
    assert (made.spec, made.commit_hash, made.ref) == (SPEC, COMMIT, "main")


def test_equal_content_is_fetched_once_and_linked_at_each_path() -> None:
    made = plan(lfs_file("a"), lfs_file("dup/b"))
    assert [each.path for each in made.transfers] == ["a"]
    assert [each.path for each in made.to_link] == ["a", "dup/b"]
    assert made.size == 5000


def test_the_largest_come_first_and_equals_in_the_listings_order() -> None:
    made = plan(
        git_file("a", b"1"), git_file("b", b"2"), lfs_file("c", "c", size=10), lfs_file("d", "d")
    )
    assert [each.path for each in made.transfers] == ["d", "c", "a", "b"]


def test_what_is_linked_needs_nothing() -> None:
    made = plan(git_file("a"), view=View(linked=frozenset({"a"})))
    assert made.is_complete
    assert made.bytes_to_fetch == 0
    assert made.bytes_reused == made.size == 2
    assert made.cached_paths == {"a"}


def test_what_is_published_is_only_linked() -> None:
    file = git_file("a")
    made = plan(file, view=View(blobs=frozenset({file.blob_name})))
    assert made.transfers == ()
    assert made.to_link == (file,)
    assert not made.is_complete


def test_what_lies_elsewhere_is_copied_once() -> None:
    a, b = lfs_file("a"), lfs_file("b")
    source = Path("other/blobs/x")
    made = plan(a, b, view=View(elsewhere={a.blob_name: source}))
    assert made.reused == ((Transfer(a.blob_name, 5000, "a", is_lfs=True), source),)
    assert made.transfers == ()
    assert made.to_link == (a, b)
    assert made.bytes_to_fetch == 0


def test_what_is_staged_need_not_be_fetched_again() -> None:
    a, b = lfs_file("a", "a"), lfs_file("b", "b")
    staged = {a.blob_name: 4000, b.blob_name: 9999, "another": 7}
    made = plan(a, b, view=View(partial_bytes=staged))
    assert made.partial_bytes == 9000  # never more than the file has
    assert made.bytes_to_fetch == 1000


def test_a_forced_refetch_counts_only_what_is_staged() -> None:
    a = lfs_file("a")
    view = View(
        linked=frozenset({"a"}),
        blobs=frozenset({a.blob_name}),
        elsewhere={a.blob_name: Path("x")},
        partial_bytes={a.blob_name: 10},
    )
    made = plan(a, view=view, refetch=True)
    assert [each.path for each in made.transfers] == ["a"]
    assert made.bytes_to_fetch == 4990


contents = st.sampled_from("pqrstu")


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), contents),
    st.sets(st.sampled_from("abcdefgh")),
    st.sets(contents),
    st.sets(contents),
)
def test_each_file_is_in_place_after_exactly_one_source(
    wanted: dict[str, str], linked: set[str], blobs: set[str], elsewhere: set[str]
) -> None:
    files = [lfs_file(path, content) for path, content in sorted(wanted.items())]

    def named(each: set[str]) -> frozenset[str]:
        return frozenset(lfs_file("x", content).blob_name for content in each)

    view = View(frozenset(linked), named(blobs), dict.fromkeys(named(elsewhere), Path("x")))
    made = plan(*files, view=view)
    fetched = [each.blob_name for each in made.transfers]
    copied = [each.blob_name for each, _ in made.reused]
    sources = [*fetched, *copied]
    assert len(set(sources)) == len(sources)
    assert not set(sources) & view.blobs
    assert {file.path for file in made.to_link} == set(wanted) - linked
    for file in made.to_link:
        assert (file.blob_name in sources) != (file.blob_name in view.blobs)
    assert made.bytes_to_fetch + made.bytes_reused == made.size
