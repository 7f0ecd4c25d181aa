"""From a cache onto sticks and into another cache, as two people on two machines would do it."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.importer.format import PIECE_SIZE
from hfaria.errors import UnknownBase, UsageError
from hfaria.report.reporter import SilentReporter
from hfaria.rules.bundle_plan import LEAST_RESERVE, InPlace
from hfaria.settings import Overrides, load_settings
from hfaria.workflows.bundle_repair import RepairRequest, repair
from support.bundles import (
    MANY,
    MIB,
    ODD,
    OLD,
    SHARDS,
    TWO,
    assert_valid,
    documents,
    payload,
    sized,
    stick_folders,
)
from support.trees import assert_clean, tree_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.bundles import Writer
    from support.cli import User

ALL = (SHARDS, TWO, f"{TWO}@{OLD}", ODD)
_OURS = (".locks", ".hfaria-import", "hfaria-receipts")


def importing(bag: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script on the stick, as on a machine that has Python and nothing else."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(bag / "import_bundle.py"), *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=cwd,
    )


def imported(bags: Sequence[Path], cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Import sticks one after the other, as they are put in; the last one must complete it."""
    ended = None
    for number, bag in enumerate(bags, 1):
        ended = importing(bag, "import", "--cache", str(cache), "--reserve", "0", *words)
        assert ended.returncode == (0 if number == len(bags) else 3), ended.stderr
        assert_clean(cache)
    assert ended is not None
    return ended


@pytest.fixture(scope="module")
def three(stocked: User, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, ...], User]:
    """A set on three sticks."""
    from support.bundles import Writer  # noqa: PLC0415 - at runtime only here

    folder = tmp_path_factory.mktemp("three")
    maker = stocked.having(HFARIA_STATE_DIR=str(folder / "state"))
    places = stick_folders(folder, 3)
    probe = sized("exfat", dict.fromkeys(places, LEAST_RESERVE + 34 * MIB))
    created = Writer(maker).create(ALL, places, probe=probe)
    assert created.sticks == 3
    return created.bags, maker


def test_any_order_of_three_sticks_makes_the_same_cache(
    three: tuple[tuple[Path, ...], User], tmp_path: Path
) -> None:
    bags, maker = three
    trees = []
    for number, order in enumerate(itertools.permutations(bags)):
        cache = tmp_path / f"cache{number}"
        imported(order, cache)
        trees.append(tree_of(cache, without=_OURS))
    assert all(tree == trees[0] for tree in trees[1:])
    # And it is what was pulled: each snapshot byte for byte.
    for snapshot in maker.cache.glob("models--*/snapshots/*"):
        copy = tmp_path / "cache0" / snapshot.relative_to(maker.cache)
        subprocess.run(["diff", "-r", str(snapshot), str(copy)], check=True)
    program = (
        "import huggingface_hub as h\n"
        f"h.snapshot_download({SHARDS!r}); h.snapshot_download({TWO!r}, revision={OLD!r})\n"
        f"h.snapshot_download({ODD!r}); print('loads')\n"
    )
    assert maker.python(program, HF_HUB_CACHE=str(tmp_path / "cache0")) == "loads"


def test_one_stick_twice_and_all_at_once_change_nothing(
    three: tuple[tuple[Path, ...], User], tmp_path: Path
) -> None:
    bags, _ = three
    one, two = tmp_path / "one", tmp_path / "two"
    imported(bags, one)
    before = tree_of(one, without=_OURS)
    again = importing(bags[0], "import", "--cache", str(one), "--reserve", "0")
    assert again.returncode == 0, again.stderr
    assert tree_of(one, without=_OURS) == before
    words = ["import", *map(str, bags), "--cache", str(two), "--reserve", "0"]
    assert importing(bags[0], *words).returncode == 0
    assert tree_of(two, without=_OURS) == before


def test_the_second_months_bundle_carries_only_what_the_inventory_lacks(
    writer: Writer, tmp_path: Path
) -> None:
    one, two = stick_folders(tmp_path, 2)
    cache = tmp_path / "target"
    first = writer.create([f"{TWO}@{OLD}", SHARDS], [one])
    imported(first.bags, cache)
    inventory = tmp_path / "inventory.json"
    for words in ([], ["--hashes-only"]):
        ended = importing(
            first.bags[0], "inventory", "--cache", str(cache), "-o", str(inventory), *words
        )
        assert ended.returncode == 0, ended.stderr
        draft = writer.draft([TWO, SHARDS, f"{TWO}@{OLD}"], [two], base=str(inventory))
        assert draft.to_send == 9 + len(b'{"new": 1}')
    second = writer.create([TWO, SHARDS, f"{TWO}@{OLD}"], [two], base=str(inventory))
    (bag,) = second.bags
    assert_valid(bag)
    bundle, _ = documents(bag)
    assert sorted(item.size for item in bundle.objects.values()) == [9, 10]
    # Somewhere else it must not be half imported: what it builds on is checked first.
    empty = tmp_path / "empty"
    refused = importing(bag, "import", "--cache", str(empty), "--reserve", "0")
    assert refused.returncode == 8
    assert "E-PREREQ" in refused.stderr
    assert not list(empty.glob("*--*/snapshots/*"))
    imported(second.bags, cache)
    snapshots = {path.name for path in cache.glob("models--org--two/snapshots/*")}
    assert len(snapshots) == 2
    refs = cache / "models--org--two" / "refs"
    assert (refs / "main").read_text() in snapshots


def test_a_commit_whose_files_the_target_has_is_still_carried_by_name(
    writer: Writer, tmp_path: Path
) -> None:
    one, two = stick_folders(tmp_path, 2)
    cache = tmp_path / "target"
    imported(writer.create([TWO, SHARDS], [one]).bags, cache)
    inventory = tmp_path / "inventory.json"
    words = ["inventory", "--cache", str(cache), "-o", str(inventory)]
    assert importing(next(one.glob("hfb-*")), *words).returncode == 0
    (folder,) = cache.glob("models--org--shards")
    subprocess.run(["rm", "-r", str(folder / "snapshots"), str(folder / "refs")], check=True)
    (bag,) = writer.create([SHARDS], [two], base=str(inventory)).bags
    assert_valid(bag)
    assert not [path for path in (bag / "data").rglob("*") if path.is_file()]
    imported([bag], cache)
    assert len(list(folder.glob("snapshots/*/*"))) == 6
    assert (folder / "refs" / "main").exists()


@pytest.mark.parametrize("base", ["{tmp}/needs.json", "{tmp}/words.txt"])
def test_what_is_no_inventory_is_refused_as_a_base(
    base: str, writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    path = Path(base.format(tmp=tmp_path))
    path.write_text('{"format":"hfaria-needs/1"}' if path.suffix == ".json" else "words\n")
    with pytest.raises(UsageError, match="is no inventory"):
        writer.create([TWO], [place], base=str(path))


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("kind", ["in-place", "part", "pack"])
def test_a_flipped_byte_costs_one_piece_on_the_next_stick(
    kind: str, writer: Writer, tmp_path: Path
) -> None:
    place, other = stick_folders(tmp_path, 2)
    options = {} if kind == "in-place" else {"in_place": InPlace.NONE, "part_size": PIECE_SIZE}
    (bag,) = writer.create([SHARDS, MANY], [place], **options).bags
    pattern = {"in-place": "model-2-of-3.safetensors", "part": "*.o000001000000", "pack": "*.tar"}
    victim = min(bag.rglob(pattern[kind]))
    _flip(victim, 514 if kind == "pack" else 100_000)
    cache = tmp_path / "target"
    asked = tmp_path / "asked"
    asked.mkdir()
    ended = importing(bag, "import", "--cache", str(cache), "--reserve", "0", cwd=asked)
    assert ended.returncode == 4, ended.stderr
    assert "E-PIECE" in ended.stderr
    assert_clean(cache)
    (needs,) = asked.glob("needs-*.json")
    run = writer.user.run("bundle", "repair", str(needs), "--to", str(other), "-q")
    assert run.code == 0, run.stderr
    mended = Path(run.stdout.strip())
    assert_valid(mended)
    _, stick = documents(mended)
    assert sum(held.length for held in stick.ranges) <= PIECE_SIZE
    assert sum(p.stat().st_size for p in mended.rglob("*") if p.is_file()) < PIECE_SIZE + 2 * MIB
    # The same request again, with the stick still in, changes nothing.
    again = writer.user.run("bundle", "repair", str(needs), "--to", str(other), "-q")
    assert again.stdout == run.stdout
    imported([mended], cache)
    for snapshot in cache.glob("*/snapshots/*"):
        ours = writer.user.cache / snapshot.relative_to(cache)
        subprocess.run(["diff", "-r", str(snapshot), str(ours)], check=True)


@pytest.mark.parametrize(
    ("name", "code"), [("bundle.json", 2), ("stick.json", 2), ("bundle.json.sig", 8)]
)
def test_a_flipped_byte_in_a_document_is_found(
    name: str, code: int, writer: Writer, ssh_key: Path, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([TWO], [place], ssh_key=ssh_key).bags
    text = (bag / name).read_bytes()
    at = text.index(b"model.safetensors") if name == "bundle.json" else len(text) // 2
    _flip(bag / name, at)
    cache = tmp_path / "target"
    trust = ["--trust", str(ssh_key) + ".pub", "--require-signature"]
    ended = importing(bag, "import", "--cache", str(cache), "--reserve", "0", *trust)
    assert ended.returncode in {code, 4, 8}, ended.stderr
    assert not list(cache.glob("*--*/snapshots/*"))


def test_giving_up_on_an_import_drops_its_partials_alone(
    writer: Writer, maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    (bag,) = writer.create([SHARDS, TWO], [place]).bags
    _flip(next(bag.rglob("model-2-of-3.safetensors")), 5)
    cache = tmp_path / "target"
    ended = importing(bag, "import", "--cache", str(cache), "--reserve", "0", cwd=tmp_path)
    assert ended.returncode == 4, ended.stderr
    assert list(cache.glob("*/.hfaria-import/*.part"))
    blobs = {path.name for path in cache.glob("*/blobs/*")}
    elsewhere = maker.having(HFARIA_STATE_DIR=str(tmp_path / "state-over-there"))
    name = bag.name.split("-")[1]
    run = elsewhere.run("bundle", "abort", name, "--to", str(place), "--cache", str(cache))
    assert run.code == 0, run.stderr
    assert "dropped" in run.stderr
    assert not list(cache.glob("*/.hfaria-import"))
    assert {path.name for path in cache.glob("*/blobs/*")} == blobs
    assert documents(bag)
    unknown = elsewhere.run("bundle", "abort", name, "--cache", str(cache))
    assert unknown.code == 8


def test_a_repair_of_a_set_that_was_made_elsewhere_is_refused(
    writer: Writer, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    created = writer.create([TWO], [place])
    needs = tmp_path / "needs.json"
    bundle, _ = documents(created.bags[0])
    sha256 = next(iter(bundle.objects))
    document = {
        "format": "hfaria-needs/1",
        "piece_size": PIECE_SIZE,
        "pieces": [[sha256, [0]]],
        "set_id": "0" * 64,
    }

    def ask(**changes: object) -> None:
        text = json.dumps({**document, **changes}, sort_keys=True, separators=(",", ":"))
        needs.write_text(text)
        repair(
            RepairRequest(needs, place),
            settings=load_settings(Overrides(), writer.user.environ),
            reporter=SilentReporter(),
        )

    with pytest.raises(UnknownBase, match="was not made on this machine"):
        ask()
    with pytest.raises(UsageError, match="does not carry"):
        ask(set_id=created.set_id, pieces=[["f" * 64, [0]]])
    with pytest.raises(UsageError, match="has 1 piece"):
        ask(set_id=created.set_id, pieces=[[sha256, [1]]])
    with pytest.raises(UsageError, match="asks for no piece"):
        ask(set_id=created.set_id, pieces=[])


@pytest.fixture
def ssh_key(tmp_path: Path) -> Path:
    key = tmp_path / "approved"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "officer", "-f", str(key)], check=True
    )
    return key


def test_a_set_signed_with_an_ssh_key_is_valid_by_that_key_alone(
    maker: User, ssh_key: Path, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    run = maker.run("bundle", "create", TWO, "--to", str(place), "--sign-ssh", str(ssh_key), "-q")
    assert run.code == 0, run.stderr
    bag = Path(run.stdout.strip())
    assert_valid(bag)
    assert "SSH, of bundle.json" in (bag / "REVIEW.txt").read_text()
    allowed = tmp_path / "allowed"
    allowed.write_text(f"officer {Path(f'{ssh_key}.pub').read_text()}")
    with (bag / "bundle.json").open("rb") as text:
        subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", "officer",
             "-n", "hfaria-bundle", "-s", str(bag / "bundle.json.sig")],
            stdin=text, check=True, capture_output=True,
        )  # fmt: skip
    words = ["--require-signature", "--cache", str(tmp_path / "cache"), "--reserve", "0"]
    good = importing(bag, "import", "--trust", f"{ssh_key}.pub", *words)
    assert good.returncode == 0, good.stderr
    assert "signature VALID" in good.stderr
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    assert importing(bag, "import", "--trust", f"{other}.pub", *words).returncode == 8


def test_a_key_of_a_kind_that_the_importer_cannot_check_is_said(
    maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    key = tmp_path / "ecdsa"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(key)], check=True
    )  # fmt: skip
    run = maker.run("bundle", "create", ODD, "--to", str(place), "--sign-ssh", str(key))
    assert run.code == 0, run.stderr
    assert "the importer can't check a signature by this kind of key" in run.stderr


def test_a_stick_that_is_finished_can_be_signed_later(
    maker: User, ssh_key: Path, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    command = ["bundle", "create", TWO, "--to", str(place), "-q"]
    (bag,) = map(Path, maker.run(*command).stdout.split())
    before = payload(bag)
    assert "signature   none" in (bag / "REVIEW.txt").read_text()
    signed = maker.run(*command, "--sign-ssh", str(ssh_key))
    assert signed.code == 0, signed.stderr
    assert_valid(bag)
    after = payload(bag)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"bundle.json.sig", "REVIEW.txt", "tagmanifest-sha256.txt"}
    ended = importing(bag, "verify", "--trust", f"{ssh_key}.pub", "--require-signature")
    assert ended.returncode == 0, ended.stderr


def test_a_set_signed_with_minisign_is_valid_by_that_key_alone(maker: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    if shutil.which("minisign") is None:
        # Without the program nothing can be signed, and that has to be said.
        run = maker.run("bundle", "create", TWO, "--to", str(place), "--sign-minisign", __file__)
        assert run.code == 8
        assert "`minisign` is not installed" in run.error
        return
    secret, public = tmp_path / "key.sec", tmp_path / "key.pub"
    subprocess.run(
        ["minisign", "-G", "-W", "-s", str(secret), "-p", str(public)],
        check=True, capture_output=True,
    )  # fmt: skip
    run = maker.run("bundle", "create", TWO, "--to", str(place), "--sign-minisign", str(secret))
    assert run.code == 0, run.stderr
    bag = Path(run.stdout.strip())
    assert_valid(bag)
    subprocess.run(
        ["minisign", "-V", "-p", str(public), "-m", "bundle.json"],
        cwd=bag, check=True, capture_output=True,
    )  # fmt: skip
    words = ["--require-signature", "--cache", str(tmp_path / "cache"), "--reserve", "0"]
    good = importing(bag, "import", "--trust", str(public), *words)
    assert good.returncode == 0, good.stderr
    assert "signature VALID" in good.stderr
    strange = tmp_path / "strange.pub"
    strange.write_text(public.read_text().splitlines()[0] + "\n" + _another_key() + "\n")
    assert importing(bag, "import", "--trust", str(strange), *words).returncode == 8


def _another_key() -> str:
    """Return a minisign public key that nobody has the secret of."""
    return base64.b64encode(b"Ed" + bytes(8) + bytes([1]) + bytes(31)).decode()


def test_a_signature_that_could_not_be_made_stops_before_any_byte(
    maker: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    wrong = tmp_path / "no-key"
    wrong.write_text("this is no key\n")
    run = maker.run("bundle", "create", TWO, "--to", str(place), "--sign-ssh", str(wrong))
    assert run.code == 8
    assert "did not sign with" in run.error
    assert list(place.iterdir()) == []


def test_a_filtered_bundle_never_poisons_a_later_full_download(
    writer: Writer, maker: User, tmp_path: Path
) -> None:
    from hfaria.rules.selection import Selection  # noqa: PLC0415

    (place,) = stick_folders(tmp_path, 1)
    created = writer.create([SHARDS], [place], selection=Selection(include=("*.json",)))
    cache = tmp_path / "target"
    imported(created.bags, cache)
    assert list(cache.rglob("trees")) == []
    program = f"import huggingface_hub as h; print(h.snapshot_download({SHARDS!r}))"
    snapshot = Path(maker.python(program, HF_HUB_CACHE=str(cache)))
    assert [path.name for path in snapshot.iterdir()] == ["config.json"]
    # A reader at the Hub has to see what is missing: it has no listing to believe.
    later = writer.create([SHARDS], stick_folders(tmp_path / "later", 1))
    imported(later.bags, cache)
    assert len(list(snapshot.iterdir())) == 6
