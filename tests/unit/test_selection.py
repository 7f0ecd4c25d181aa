from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from huggingface_hub.utils import filter_repo_objects
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import EntryNotFound, UsageError
from hfaria.rules.listing import Listing
from hfaria.rules.selection import Selection, make_selection
from unit.builders import git_file, listing

FILES = listing(
    *(git_file(path) for path in (
        "README.md", "a[1].txt", "a1.txt", "art/one.png", "art/deep/two.png", "art.txt",
        "model.safetensors", "*.bin", "x.bin",
    ))
)  # fmt: skip

paths = st.text(alphabet="ab./-[]", min_size=1, max_size=8)
path_lists = st.lists(paths, unique=True, max_size=12)
patterns = st.lists(st.text(alphabet="ab./*?[]!-\\", min_size=1, max_size=6), max_size=3)


def picked(selection: Selection, files: Listing = FILES) -> list[str]:
    return [file.path for file in selection.apply(files)]


def listing_of(names: list[str]) -> Listing:
    """Return a listing without the checks that random names don't pass."""
    return Listing("0" * 40, tuple(git_file(name) for name in sorted(names)))


def test_no_wish_means_everything() -> None:
    assert Selection().is_everything
    assert Selection().apply(FILES) is FILES.files


@given(path_lists, patterns, patterns)
def test_patterns_mean_what_they_mean_to_huggingface_hub(
    names: list[str], include: list[str], exclude: list[str]
) -> None:
    selection = Selection(include=tuple(include), exclude=tuple(exclude))
    expected = filter_repo_objects(
        sorted(names), allow_patterns=include or None, ignore_patterns=exclude or None
    )
    assert picked(selection, listing_of(names)) == list(expected)


@given(path_lists, patterns.filter(bool), patterns)
def test_patterns_are_fnmatch_in_which_a_star_crosses_folders(
    names: list[str], include: list[str], exclude: list[str]
) -> None:
    def matches(path: str, wanted: list[str]) -> bool:
        normal = (each.replace("\\", "/") for each in wanted)
        return any(fnmatchcase(path, f"{each}*" if each.endswith("/") else each) for each in normal)

    expected = [
        path for path in sorted(names) if matches(path, include) and not matches(path, exclude)
    ]
    selection = Selection(include=tuple(include), exclude=tuple(exclude))
    assert picked(selection, listing_of(names)) == expected


@given(
    path_lists, st.lists(patterns.filter(bool).map(lambda given: given[0]), min_size=2, max_size=3)
)
def test_several_names_select_at_least_what_hf_download_does(
    names: list[str], wanted: list[str]
) -> None:
    # `hf download` gives several names to snapshot_download as patterns, folders as ``folder/**``.
    allowed = [f"{each.rstrip('/')}/**" if each.endswith("/") else each for each in wanted]
    expected = set(filter_repo_objects(names, allow_patterns=allowed))
    try:
        found = picked(Selection(names=tuple(wanted)), listing_of(names))
    except EntryNotFound:
        return
    extra = set(found) ^ expected
    # The one difference: a name that is in the repo is taken literally.
    assert extra <= set(names)
    if not set(wanted) & set(names):
        assert not extra


def test_patterns_that_match_nothing_select_nothing() -> None:
    assert picked(Selection(include=("*.gguf",))) == []
    assert picked(Selection(exclude=("*",))) == []


def test_exclude_wins_over_include() -> None:
    selection = Selection(include=("art/*",), exclude=("*two*",))
    assert picked(selection) == ["art/one.png"]
    assert not selection.is_everything


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("README.md",), ["README.md"]),
        (("x.bin", "README.md"), ["README.md", "x.bin"]),
        (("art/",), ["art/deep/two.png", "art/one.png"]),
        (("art//",), ["art/deep/two.png", "art/one.png"]),
        (("art/", "art.txt"), ["art.txt", "art/deep/two.png", "art/one.png"]),
        (("a[1].txt",), ["a[1].txt"]),
        (("*.bin",), ["*.bin"]),
        (("*.png",), ["art/deep/two.png", "art/one.png"]),
        (("x.bin", "x.bin"), ["x.bin"]),
    ],
)
def test_names_are_literal_first_and_patterns_else(
    names: tuple[str, ...], expected: list[str]
) -> None:
    assert picked(Selection(names=names)) == expected


@pytest.mark.parametrize("name", ["missing", "readme.md", "art", "missing/", "README.md/", "", "/"])
def test_a_name_that_is_not_there_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(EntryNotFound, match="is not in the repo at commit 0123456789ab") as caught:
        picked(Selection(names=("README.md", name)))
    assert f"`{name}`" in caught.value.message
    assert caught.value.hint is not None


def test_filenames_win_over_patterns_with_a_warning() -> None:
    selection, warning = make_selection(names=("a",), include=("b",), exclude=("c",))
    assert selection == Selection(names=("a",))
    assert warning == "--include and --exclude ignored, since filenames are given"
    assert make_selection(names=("a",), include=(), exclude=("c",))[1] == (
        "--exclude ignored, since filenames are given"
    )


def test_patterns_alone_and_names_alone_need_no_warning() -> None:
    assert make_selection(names=("a",), include=(), exclude=()) == (Selection(names=("a",)), None)
    assert make_selection(names=(), include=("b",), exclude=("c",)) == (
        Selection(include=("b",), exclude=("c",)),
        None,
    )


@pytest.mark.parametrize("flag", ["--include", "--exclude"])
def test_a_folder_and_patterns_are_wrong_usage(flag: str) -> None:
    include = ("x",) if flag == "--include" else ()
    exclude = ("x",) if flag == "--exclude" else ()
    with pytest.raises(UsageError, match=rf"`art/`.*`{flag}`") as caught:
        make_selection(names=("a", "art/"), include=include, exclude=exclude)
    assert caught.value.hint == "use `--include 'art/*'` instead"
