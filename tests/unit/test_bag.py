"""The texts on a stick."""

from __future__ import annotations

from dataclasses import replace

from hfaria.rules.bag import (
    RevisionSummary,
    StickSummary,
    bag_info,
    checksums,
    manifest,
    readme,
    review,
)

REVISION = RevisionSummary(
    label="model org/name",
    commit="a" * 40,
    refs=("main",),
    license="mit",
    files=2,
    size=5_000_000,
    is_complete=True,
    unsafe=((".bin", 1),),
    is_in_place=True,
)
SUMMARY = StickSummary(
    set_id="7f3a91c2d04e55b1" + "0" * 48,
    bag="hfb-7f3a91c2-s01",
    number=1,
    of=2,
    created="2026-11-22T15:40:00Z",
    endpoint="https://huggingface.co",
    version="0.1.0",
    signature="none",
    importer_sha256="f" * 64,
    revisions=(REVISION,),
    prerequisites=0,
    base="none",
    parts=(),
)


def test_a_manifest_is_sorted_and_has_two_spaces() -> None:
    assert manifest([("b", "data/x"), ("a", "data/y")]) == "a  data/y\nb  data/x\n"


def test_checksums_quote_what_sha256sum_quotes() -> None:
    assert checksums([("a", "x\\y"), ("b", "l\nf"), ("c", "ü ")]) == (
        "\\a  x\\\\y\n\\b  l\\nf\nc  ü \n"
    )


def test_the_info_of_a_bag_groups_the_sticks_of_a_set() -> None:
    text = bag_info(SUMMARY, size=10, files=3, day="2026-11-22")
    assert "Bag-Count: 1 of 2\n" in text
    assert f"Bag-Group-Identifier: hfaria:{SUMMARY.set_id}\n" in text
    assert "Payload-Oxum: 10.3\n" in text
    assert "Bag-Count: 1 of ?\n" in bag_info(replace(SUMMARY, of=None), size=0, files=0, day="")


def test_the_page_for_an_officer_says_what_can_run_code_and_what_to_compare() -> None:
    text = review(SUMMARY)
    assert "set id      7f3a91c2 d04e55b1" in text
    assert "can run code when loaded: 1 .bin" in text
    assert "formats that can run code when loaded: 1, see above." in text
    assert "usable on this stick: yes" in text
    assert f"  {'f' * 64}  import_bundle.py" in text
    assert "needs" not in text
    needing = review(replace(SUMMARY, prerequisites=3, base="inventory 12ab"))
    assert "needs       3 files that the target has already (base: inventory 12ab)" in needing
    clean = review(replace(SUMMARY, revisions=(replace(REVISION, unsafe=()),)))
    assert "formats that can run code when loaded: none." in clean


def test_the_readme_joins_parts_with_what_each_system_has() -> None:
    parts = (("model.gguf", "e" * 64, ("data/pool/ee/x.o0", "data/pool/ee/x.o1")),)
    text = readme(replace(SUMMARY, parts=parts))
    assert "cat data/pool/ee/x.o0 data/pool/ee/x.o1 > model.gguf; sha256sum model.gguf" in text
    assert "copy /b data\\pool\\ee\\x.o0+data\\pool\\ee\\x.o1 model.gguf" in text
    assert "Parts of the same file may lie on the other sticks" in text
    alone = readme(replace(SUMMARY, of=1, parts=parts))
    assert "other sticks" not in alone


def test_what_is_not_in_place_is_not_promised() -> None:
    text = readme(replace(SUMMARY, revisions=(replace(REVISION, is_in_place=False),)))
    assert "HF_HUB_CACHE" not in text
    assert all(len(line) <= 80 for line in readme(SUMMARY).splitlines())
