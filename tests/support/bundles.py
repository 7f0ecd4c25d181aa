"""Bundles for tests: repos that span sticks, and a user who writes them with no Hub in reach."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import bagit

from hfaria.bundle.importer.bundle_json import parse_bundle
from hfaria.bundle.importer.stick_json import parse_stick
from hfaria.report.reporter import SilentReporter
from hfaria.rules.spec import parse_pinned
from hfaria.settings import Overrides, load_settings
from hfaria.workflows import bundle_create
from hfaria.workflows.bundle_request import BundleRequest
from loopback_hub import Generated, LoopbackHub, repo
from support.cli import User, user_of
from support.filesystems import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hfaria.bundle.importer.values import Bundle, Stick
    from hfaria.rules.bundle_plan import Stick as PlanStick
    from hfaria.workflows.bundle_create import Created
    from hfaria.workflows.bundle_draft import Draft
    from loopback_hub import RepoSpec

MIB = 2**20
SHARDS = "org/shards"
TWO = "org/two"
MANY = "datasets/org/many"
ODD = "org/odd"
OLD = "refs/pr/1"
"""A name of the older revision of `TWO`."""


def repos() -> tuple[RepoSpec, ...]:
    """Make the repos: one of several files of several pieces, one of two revisions, small ones."""
    shards = {f"model-{n}-of-3.safetensors": Generated(n, 20 * MIB) for n in range(1, 4)}
    card = b"---\nlicense: apache-2.0\n---\nA model.\n"
    weights = Generated(7, 3 * MIB)
    return (
        repo(SHARDS, {**shards, "config.json": b"{}", "README.md": card, "empty.txt": b""}),
        repo(
            TWO,
            {"config.json": b'{"old": 1}', "model.safetensors": weights, "run.py": b"pass"},
            {"config.json": b'{"new": 1}', "model.safetensors": weights, "x/y/z.bin": b"\0" * 9},
            pull_requests={1: 0},
        ),
        repo(
            "org/many",
            {f"part/{n:04d}.txt": f"line {n}\n".encode() for n in range(600)},
            repo_type="dataset",
        ),
        repo(ODD, {"aüx.txt": b"1", "what?.txt": b"2", "100%.txt": b"3", "same.txt": b"1"}),
    )


def stocked_user(home: Path) -> User:
    """Return a user whose cache holds all repos, and who is offline since."""
    with LoopbackHub() as hub:
        for spec in repos():
            hub.put_repo(spec)
        user = user_of(hub, home)
        for name in (SHARDS, TWO, f"hf://{MANY}", ODD):
            user.pulled(name, "-q")
        user.pulled(TWO, "--revision", OLD, "-q")
    return user.having(HF_HUB_OFFLINE="1")


@dataclass(frozen=True, slots=True)
class Writer:
    """Somebody who makes bundles, in this process, so that filesystems' rules can be injected."""

    user: User

    def create(self, names: Sequence[str], places: Sequence[Path], **options: object) -> Created:
        """Make a bundle; ``options`` are fields of `BundleRequest`."""
        return bundle_create.create(
            request_of(names, places, **options),
            settings=load_settings(Overrides(), self.user.environ),
            reporter=SilentReporter(),
            on_plan=lambda _draft: None,
        )

    def draft(self, names: Sequence[str], places: Sequence[Path], **options: object) -> Draft:
        """Plan a bundle."""
        return bundle_create.plan_only(
            request_of(names, places, **options),
            settings=load_settings(Overrides(), self.user.environ),
            reporter=SilentReporter(),
        )


def request_of(
    names: Sequence[str],
    places: Sequence[Path],
    **options: Any,  # noqa: ANN401 - fields
) -> BundleRequest:
    """Return a request for these repos; ``options`` are its fields."""
    return BundleRequest(tuple(parse_pinned(name) for name in names), tuple(places), **options)


def stick_folders(folder: Path, count: int) -> list[Path]:
    """Make empty folders for sticks."""
    places = [folder / f"stick{number}" for number in range(1, count + 1)]
    for place in places:
        place.mkdir(parents=True)
    return places


def sized(kind: str, sizes: Mapping[Path, int]) -> Callable[[Path], PlanStick]:
    """Return a probe by which each place is a stick of this kind and with this much room."""

    def probe(place: Path) -> PlanStick:
        return replace(rules(kind)(place), free_bytes=sizes[place])

    return probe


def documents(bag: Path) -> tuple[Bundle, Stick]:
    """Read a stick as the importer does."""
    bundle = parse_bundle((bag / "bundle.json").read_bytes())
    return bundle, parse_stick((bag / "stick.json").read_bytes(), bundle)


def assert_valid(bag: Path) -> None:
    """Let the standard tools look at it, and read every range that stick.json promises."""
    assert not (bag / ".hfaria-journal.jsonl").exists()
    bagit.Bag(str(bag)).validate()
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        if (bag / manifest).stat().st_size:
            subprocess.run(
                ["sha256sum", "--quiet", "--strict", "-c", manifest], cwd=bag, check=True
            )
    _, stick = documents(bag)
    for held in stick.ranges:
        with (bag / held.path).open("rb") as file:
            file.seek(held.start)
            body = file.read(held.length)
        assert len(body) == held.length
        size = 16 * MIB
        pieces = [body[at : at + size] for at in range(0, max(len(body), 1), size)]
        assert [hashlib.sha256(piece).hexdigest() for piece in pieces] == list(held.pieces)


def contents(bags: Sequence[Path]) -> dict[str, int]:
    """Return how many bytes of each content the sticks hold, each range once."""
    ranges = {
        (one.sha256, one.offset, one.length) for bag in bags for one in documents(bag)[1].ranges
    }
    held: dict[str, int] = {}
    for sha256, _, length in ranges:
        held[sha256] = held.get(sha256, 0) + length
    return held


def assert_whole(bags: Sequence[Path]) -> None:
    """See that the sticks together hold every object of the set once."""
    bundle, _ = documents(bags[0])
    assert contents(bags) == {sha256: item.size for sha256, item in bundle.objects.items()}


def payload(folder: Path) -> dict[str, bytes]:
    """Return everything below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_json(path: Path) -> dict[str, Any]:
    """Read a document."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
