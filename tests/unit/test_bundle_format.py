"""What a bundle may say, and that everything else is refused before it is used."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from hfaria.bundle.importer import hub_format
from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.canonical import canonical, parse_canonical, set_id_of
from hfaria.bundle.importer.errors import BundleError, shown
from hfaria.bundle.importer.format import (
    PIECE_SIZE,
    bag_name,
    pool_path,
    receipt_code,
)
from hfaria.bundle.importer.hub_format import git_blob_sha1, lfs_pointer_sha1
from hfaria.bundle.importer.inventory import parse_inventory
from hfaria.bundle.importer.names import collision, in_place_problem, path_problem, portable_problem
from hfaria.bundle.importer.needs import Needs, needs_document, parse_needs
from hfaria.bundle.importer.options import parse_size
from hfaria.bundle.importer.stick_json import parse_stick
from hfaria.rules import tree_file
from hfaria.rules.listing import RemoteFile, check_file, make_listing
from support.sticks import COMMIT, MODEL_FILES, Stick, model_set, renamed, sha256_of, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCUMENT = model_set().document()
BUNDLE = parse_bundle(spelled(DOCUMENT))


def refusal(act: Callable[[], object]) -> BundleError:
    with pytest.raises(BundleError) as caught:
        act()
    assert caught.value.exit_code == 2
    assert caught.value.message
    return caught.value


def files_of(document: dict[str, Any]) -> list[list[Any]]:
    files: list[list[Any]] = document["repos"][0]["revisions"][COMMIT]["files"]
    return files


def with_path(path: str) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    files_of(document)[0][0] = path
    files_of(document).sort()
    return renamed(document)


# --- JSON ----------------------------------------------------------------------------------------


def test_canonical_is_one_spelling_for_one_document() -> None:
    spelling = canonical({"b": [1, "ü\u202e"], "a": None})
    assert spelling == b'{"a":null,"b":[1,"\\u00fc\\u202e"]}'
    assert parse_canonical(spelling, "it") == {"a": None, "b": [1, "ü\u202e"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"a":1 }',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e999}',
        b'{"a":NaN}',
        b'{"a":-1}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":9223372036854775808}',
        b'{"a":"\xc3\xbc"}',
        b'{"a":"\\u00FC"}',
        b'{"a":1}\n',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"9" * 5_000_000 + b"}",
        b"[" * 50_000_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" + b"[]," * 20_000_000 + b"[]]",
        b"[" + b'"",' * 4_000_000 + b'""]',
        b'["' + b"a" * (70 << 20) + b'"]',
    ],
    ids=range(23),
)
def test_json_that_is_not_canonical_or_a_bomb_is_refused(content: bytes) -> None:
    assert refusal(lambda: parse_canonical(content, "it")).code == "E-FORMAT"


def test_the_largest_number_is_taken() -> None:
    assert parse_canonical(b"[9223372036854775807]", "it") == [2**63 - 1]


# --- bundle.json ---------------------------------------------------------------------------------


def test_a_right_bundle_is_read() -> None:
    (repo,) = BUNDLE.repos
    assert (repo.label, repo.folder, repo.refs) == (
        "model org/model",
        "models--org--model",
        {"main": COMMIT},
    )
    files = {file.path: file for file in repo.revisions[COMMIT].files}
    assert set(files) == set(MODEL_FILES)
    assert files["config.json"].size == len(MODEL_FILES["config.json"])
    assert BUNDLE.set_id == set_id_of(DOCUMENT)
    assert BUNDLE.content_sha256 == sha256_of(spelled(DOCUMENT))


def test_the_set_id_depends_on_contents_alone() -> None:
    other = {**DOCUMENT, "created": "2027-01-01T00:00:00Z", "source": {"endpoint": "x"}}
    assert set_id_of(other) == set_id_of(DOCUMENT)
    assert renamed(with_path("other.json"))["set_id"] != DOCUMENT["set_id"]


def alter(path: str, value: object) -> dict[str, Any]:
    """Return the document with another value at a path of keys; its id is made to fit."""
    document = copy.deepcopy(DOCUMENT)
    *way, last = path.split(".")
    at: Any = document
    for key in way:
        at = at[int(key) if isinstance(at, list) else key]
    if value is DELETED:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return renamed(document)


DELETED = object()
ONE_OBJECT = next(iter(DOCUMENT["objects"]))
REVISION = f"repos.0.revisions.{COMMIT}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "hfaria-bundle"),
        ("format", 1),
        ("created", "yesterday"),
        ("created", DELETED),
        ("surplus", 1),
        ("tool", "hfaria"),
        ("tool", {"name": "a\x1b[31m", "version": "1"}),
        ("source.endpoint", "x" * 501),
        ("piece_size", 0),
        ("piece_size", 4097),
        ("piece_size", 1 << 40),
        ("piece_size", True),
        ("capabilities", [["packs"]]),
        ("repos", []),
        ("repos.0.type", "modelx"),
        ("repos.0.id", "../etc"),
        ("repos.0.id", "a--b/c"),
        ("repos.0.id", "a/b/c"),
        ("repos.0.id", "a/.."),
        ("repos.0.id", "-a/b"),
        ("repos.0.id", "x" * 97),
        ("repos.0.id", "a/b\n"),
        ("repos.0.gated", "no"),
        ("repos.0.refs", {"main": "0" * 40}),
        ("repos.0.revisions", {}),
        ("repos.0.revisions", {"main": {}}),
        (f"{REVISION}.complete", 1),
        (f"{REVISION}.filter", {"include": [], "exclude": []}),
        (f"{REVISION}.files", []),
        (f"{REVISION}.files.0", ["config.json"]),
        (f"{REVISION}.files.0.1", "main"),
        (f"{REVISION}.files.0.2", "0" * 64),
        (f"{REVISION}.files.0.3", 23),
        (f"{REVISION}.files.0.3", "22"),
        (f"{REVISION}.files.0.3", True),
        (f"objects.{ONE_OBJECT}.size", 1),
        (f"objects.{ONE_OBJECT}.size", False),
        (f"objects.{ONE_OBJECT}.git_sha1", "0" * 40),
        (f"objects.{ONE_OBJECT}", DELETED),
        ("objects." + "0" * 64, {"size": 1, "git_sha1": None}),
        ("objects.x", {"size": 1, "git_sha1": None}),
        ("base.kind", "nothing"),
        ("requires", [{"sha256": ONE_OBJECT, "size": 1, "etag": ONE_OBJECT, "from": None}]),
    ],
)
def test_a_bundle_that_hfaria_would_not_have_written_is_refused(path: str, value: object) -> None:
    refusal(lambda: parse_bundle(spelled(alter(path, value))))


def test_a_set_id_that_does_not_fit_is_refused() -> None:
    refusal(lambda: parse_bundle(spelled({**DOCUMENT, "set_id": "0" * 64})))


def test_newer_formats_and_unknown_capabilities_say_so() -> None:
    newer = refusal(lambda: parse_bundle(spelled({**DOCUMENT, "format": "hfaria-bundle/2"})))
    unknown = refusal(lambda: parse_bundle(spelled({**DOCUMENT, "capabilities": ["anchors"]})))
    assert {newer.code, unknown.code} == {"E-NEWER"}
    assert "anchors" in unknown.message


def nodes(value: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a document."""
    yield way
    items: dict[Any, Any] = value if isinstance(value, dict) else {}
    items = dict(enumerate(value)) if isinstance(value, list) else items
    for key, inner in items.items():
        yield from nodes(inner, (*way, key))


ODD: list[Any] = [None, True, 0, 2**63 - 1, "", "x", "main", [], [[]], {}, {"a": []}, ["\udc00"]]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_any_value_in_any_place_is_taken_or_refused_in_order(odd: object) -> None:
    stick = stick_document()
    for original, parse in (
        (DOCUMENT, lambda document: parse_bundle(spelled(renamed(document)))),
        (stick, lambda document: parse_stick(spelled(document), BUNDLE)),
    ):
        for way in list(nodes(original))[1:]:
            document = copy.deepcopy(original)
            at: Any = document
            for key in way[:-1]:
                at = at[key]
            at[way[-1]] = odd
            with contextlib.suppress(BundleError):
                parse(document)


# --- names ---------------------------------------------------------------------------------------

HOSTILE_PATHS = [
    "../x",
    "a/../../x",
    "..\\x",
    "a\\b",
    "/etc/passwd",
    "C:x",
    "C:/x",
    "a/D:x",
    "\\\\host\\share",
    "//host/share",
    "",
    ".",
    "a//b",
    "a/",
    "a/./b",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "a\u2028b",
    "a\udc00b",
    "x" * 256,
    "ü" * 128,
    "/".join(["x" * 200] * 6),
]


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=ascii)
def test_a_path_that_leaves_its_folder_is_refused_everywhere(path: str) -> None:
    error = refusal(lambda: parse_bundle(spelled(with_path(path))))
    assert error.code == "E-PATH"
    assert error.message.isprintable()


@pytest.mark.parametrize(
    "path", ["CON", "aux.txt", "a.", "b ", "a?b", "a:stream", "nul.tar.gz", "e\u0301", "COM\u00b9"]
)
def test_a_path_that_only_some_systems_hold_is_kept_but_not_portable(path: str) -> None:
    assert path_problem(path) is None or path == "a:stream"
    assert portable_problem(path) is not None
    assert in_place_problem(path, "models--org--model") is not None


def test_right_to_left_marks_are_shown_as_escapes() -> None:
    assert path_problem("invoice\u202egnp.exe") is None
    assert shown("invoice\u202egnp.exe") == "'invoice\\u202egnp.exe'"


@pytest.mark.parametrize("path", ["config.json", "sub dir/ü/a.b.c", "console.json", "com.json"])
def test_ordinary_paths_are_portable(path: str) -> None:
    assert path_problem(path) is None
    assert portable_problem(path) is None
    assert in_place_problem(path, "models--org--model") is None


def test_a_path_that_is_too_long_for_windows_goes_to_the_pool() -> None:
    assert in_place_problem("x" * 120, "models--org--model") is None
    assert "240" in (in_place_problem("x" * 120, "models--" + "y" * 90) or "")


@pytest.mark.parametrize(
    ("paths", "pair"),
    [
        (["Config.json", "config.json"], ("Config.json", "config.json")),
        (["A/x", "a/y"], ("A", "a")),
        (["straße", "STRASSE"], ("straße", "STRASSE")),
        (["a/x", "a/y", "b"], None),
    ],
)
def test_names_that_a_filesystem_would_make_one_are_found(
    paths: list[str], pair: tuple[str, str] | None
) -> None:
    assert collision(paths) == pair


@pytest.mark.parametrize(
    "name",
    ["..", "a/../b", "main.lock", "a.lock/b", ".hidden", "a b", "a:b", "-\x07", COMMIT, "x" * 201],
)
def test_a_ref_that_could_not_be_gits_is_refused(name: str) -> None:
    document = alter("repos.0.refs", {name: COMMIT})
    assert refusal(lambda: parse_bundle(spelled(document))).code == "E-PATH"


def test_refs_of_pull_requests_are_taken_and_folders_of_refs_are_not() -> None:
    assert parse_bundle(spelled(alter("repos.0.refs", {"refs/pr/1": COMMIT})))
    refusal(lambda: parse_bundle(spelled(alter("repos.0.refs", {"a": COMMIT, "a/b": COMMIT}))))


def test_a_file_that_is_a_folder_too_is_refused() -> None:
    refusal(lambda: parse_bundle(spelled(with_path("empty.txt/x"))))


# --- stick.json ----------------------------------------------------------------------------------


def stick_document() -> dict[str, Any]:
    stick = Stick(1, 1)
    for content in model_set().contents().values():
        stick.put(content, DOCUMENT["piece_size"])
    return stick.document(spelled(DOCUMENT))


def test_a_right_stick_is_read() -> None:
    stick = parse_stick(spelled(stick_document()), BUNDLE)
    assert (stick.number, stick.of, len(stick.ranges)) == (1, 1, 5)
    assert sum(held.length for held in stick.ranges) == sum(
        stored.size for stored in BUNDLE.objects.values()
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", "0" * 64),
        ("off", 1),
        ("off", 1 << 16),
        ("len", 1 << 50),
        ("len", 0),
        ("pieces", []),
        ("pieces", ["x"]),
        ("path", "../../etc/passwd"),
        ("path", "/etc/passwd"),
        ("path", "data/pool/00/" + "0" * 64 + ".o000000000000"),
        ("path", "bundle.json"),
        ("path", f"data/hub/models--org--model/snapshots/{COMMIT}/config.json"),
        ("at", 512),
        ("at", -1),
    ],
)
def test_a_range_that_is_not_of_the_bundle_is_refused(key: str, value: object) -> None:
    document = stick_document()
    large = max(document["ranges"], key=lambda held: held["len"])
    large[key] = value
    refusal(lambda: parse_stick(spelled(document), BUNDLE))


def test_a_stick_of_another_set_or_of_an_altered_bundle_is_told_apart() -> None:
    for key in ("set_id", "bundle_sha256"):
        document = {**stick_document(), key: "0" * 64}
        error = refusal(lambda document=document: parse_stick(spelled(document), BUNDLE))  # type: ignore[misc]
        assert error.code == "E-MIXED"


# --- what is derived -----------------------------------------------------------------------------


def test_paths_on_a_stick_are_short_and_plain() -> None:
    assert bag_name("7f3a91c2" + "0" * 56, 1) == "hfb-7f3a91c2-s01"
    path = pool_path("ab" * 32, 255 * PIECE_SIZE)
    assert path == "data/pool/ab/" + "ab" * 32 + ".o0000ff000000"
    assert len(path) <= 110


def test_a_receipt_has_twenty_characters_that_depend_on_the_whole_id() -> None:
    codes = {receipt_code("7f3a91c2" + f"{number:056x}") for number in range(100)}
    assert len(codes) == 100
    assert all(len(code) == 20 and code.startswith("HFR1-7f3a91c2-") for code in codes)


def test_the_tree_file_is_the_one_that_a_pull_writes() -> None:
    revision = BUNDLE.repos[0].revisions[COMMIT]
    listing = make_listing(
        COMMIT,
        (
            check_file(
                RemoteFile(
                    file.path,
                    file.size,
                    file.etag if len(file.etag) == 40 else lfs_pointer_sha1(file.sha256, file.size),
                    file.sha256 if len(file.etag) == 64 else None,
                )
            )
            for file in revision.files
        ),
    )
    ours = json.loads(hub_format.tree_file(revision))
    assert ours == json.loads("".join(tree_file.serialize(listing)))
    assert tree_file.parse(hub_format.tree_file(revision).decode(), COMMIT) == listing


def test_needs_and_inventory_come_back_as_they_were_written() -> None:
    content = needs_document(BUNDLE, {ONE_OBJECT: {3, 1}})
    needs = parse_needs(content + b"\n")
    assert needs == Needs(BUNDLE.set_id, BUNDLE.piece_size, {ONE_OBJECT: (1, 3)})
    inventory = canonical(
        {
            "format": "hfaria-inventory/1",
            "created": "2026-10-02T00:00:00Z",
            "machine": {},
            "repos": [],
            "blobs": [["0" * 40, 7]],
        }
    )
    assert parse_inventory(inventory).blobs == {"0" * 40: 7}
    refusal(lambda: parse_inventory(inventory.replace(b'"0000', b'"../0')))
    refusal(lambda: parse_needs(content.replace(b"[1,3]", b'["a"]')))


def test_git_and_lfs_ids_are_gits() -> None:
    digest = git_blob_sha1(0)
    assert digest.hexdigest() == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n".encode()
    expected = hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()
    assert lfs_pointer_sha1("0" * 64, 5) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("10GB", 10**10), ("512MiB", 512 << 20), ("1.5 GB", 1_500_000_000), ("7k", 7000)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["many", "-1", "", "1PB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    refusal(lambda: parse_size(text))
