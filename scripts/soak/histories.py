"""A history: a repo, its sources, what befalls them when, and how a pull may end. From a seed."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from loopback_hub import Behind, Fault, Generated, RateLimit, Refuse, RepoSpec, Shape, repo
from soak.fault_menu import (
    FOR_A_WHILE,
    HARMLESS,
    LASTING,
    LIES,
    OF_MIRRORS,
    SO_OFTEN,
    for_a_while,
    serve,
)

if TYPE_CHECKING:
    from pathlib import Path

    from loopback_hub import Content

Fate: TypeAlias = Literal["passing", "one honest", "hopeless"]
Way: TypeAlias = Literal["kill the engine", "stop the engine", "sleep"]

PATIENCE_SECONDS = 12.0
OTHER_HUB = "modelscope"
_MOST_FAULTS = 3
_SITES = ("origin", "mirror", "second", "cdn", OTHER_HUB)


@dataclass(frozen=True, slots=True)
class Attack:
    """Something that befalls this machine, not the network.

    To sleep is to be stopped as a whole for a while, and to wake up without connections.
    """

    at: float
    way: Way
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """All of it; equal seeds make equal histories.

    ``honest`` is the source without a lasting fault where there is one honest. ``endpoints`` are
    named to the pull, in order. ``is_head_due`` tells whether a pull that is done must have brought
    the newest commit.
    """

    seed: int
    fate: Fate
    honest: str
    spec: RepoSpec
    endpoints: tuple[str, ...]
    uses_origin: bool
    prefix: str
    shapes: tuple[tuple[str, Shape], ...]
    faults: tuple[Fault, ...]
    attacks: tuple[Attack, ...]
    url_lifetime_seconds: float
    is_head_due: bool
    most_sent: int

    @property
    def has_honest(self) -> bool:
        """Whether an honest source stays in reach: then the pull has to be done, in one run."""
        return self.fate != "hopeless"

    @property
    def size(self) -> int:
        """Bytes to fetch: equal content counts once."""
        return sum({file.blob_name: file.size for file in self.spec.head.files}.values())

    def lines(self) -> list[str]:
        """Describe it, for somebody who has to find out what went wrong."""
        files = ", ".join(f"{file.path} {file.size}" for file in self.spec.head.files)
        origin = "then the origin" if self.uses_origin else "no origin"
        named = ", ".join(self.endpoints) or "none named"
        return [
            f"seed {self.seed}: {self.fate}"
            + (f", and that is {self.honest}" if self.fate == "one honest" else ""),
            f"repo: {files}",
            f"endpoints: {named}; {origin}; prefix of `second`: `{self.prefix}`",
            *(
                f"line of {site}: {shape.rate_total} B/s, {shape.latency_seconds:.3f} s"
                for site, shape in self.shapes
            ),
            f"signed URLs live {self.url_lifetime_seconds} s",
            *(f"fault: {_described(fault)}" for fault in self.faults),
            *(f"attack: {attack}" for attack in self.attacks),
        ]


def make_history(seed: int) -> History:
    """Draw a history."""
    dice = random.Random(seed)
    endpoints: tuple[str, ...] = dice.choice(
        [(), ("mirror",), ("mirror",), ("mirror", "second"), ("second", "mirror")]
    )
    uses_origin = not endpoints or dice.random() < 0.85
    sources = [*endpoints, *(["origin"] if uses_origin else [])]
    if endpoints and dice.random() < 0.15:
        # Another hub has the large files alone, so what becomes of it is nobody's excuse.
        endpoints = (*endpoints, OTHER_HUB)
    fate: Fate = dice.choices(["passing", "one honest", "hopeless"], [45, 40, 15])[0]  # type: ignore[assignment]
    honest = dice.choice(sources)
    faults: list[Fault] = []
    if OTHER_HUB in endpoints:
        faults += _befall(dice, OTHER_HUB, lasts=dice.random() < 0.5)
    for source in sources:
        lasts = fate == "hopeless" or (fate == "one honest" and source != honest)
        faults += _befall(dice, source, lasts=lasts)
        # Only an honest origin knows better than a mirror that is behind or lacks something.
        knows_better = uses_origin and (fate == "passing" or honest == "origin")
        if source != "origin" and knows_better and dice.random() < 0.25:
            faults.append(serve(OF_MIRRORS, dice, source))
    if dice.random() < 0.15:
        faults.append(for_a_while(Fault(Refuse()), dice))
    spec = _make_repo(dice, f"soak/history-{seed}")
    origin_is_spotless = uses_origin and not any(f.site in {"*", "origin"} for f in faults)
    lies = sum(isinstance(fault.effect, LIES) for fault in faults)
    size = spec.head.total_size
    return History(
        seed=seed,
        fate=fate,
        honest=honest,
        spec=spec,
        endpoints=endpoints,
        uses_origin=uses_origin,
        prefix=dice.choice(["", "", "/hugging-face"]),
        shapes=tuple((site, _make_shape(dice)) for site in _SITES),
        faults=tuple(faults),
        attacks=_make_attacks(dice),
        url_lifetime_seconds=dice.choice([5.0, 5.0, 3600.0]),
        is_head_due=origin_is_spotless or not any(isinstance(f.effect, Behind) for f in faults),
        most_sent=(2 + 3 * lies) * size + 8_000_000,
    )


def _befall(dice: random.Random, source: str, *, lasts: bool) -> list[Fault]:
    sites = ("origin", "cdn") if source == "origin" else (source,)
    drawn: list[Fault] = []
    for _ in range(dice.randint(0, _MOST_FAULTS)):
        menu = dice.choices([FOR_A_WHILE, SO_OFTEN, HARMLESS], [4, 4, 2])[0]
        fault = serve(menu, dice, dice.choice(sites))
        if menu is FOR_A_WHILE:
            fault = for_a_while(fault, dice)
        # Wrong for the third time, and there is nobody else: that is a reason to give up. Two
        # limits would count each request twice.
        if any(_is_one_too_many(fault, other) for other in drawn):
            continue
        drawn.append(fault)
    if lasts:
        drawn.append(serve(LASTING, dice, dice.choice(sites)))
    return drawn


def _is_one_too_many(fault: Fault, other: Fault) -> bool:
    return any(
        isinstance(fault.effect, kinds) and isinstance(other.effect, kinds)
        for kinds in (LIES, RateLimit)
    )


def _make_repo(dice: random.Random, repo_id: str) -> RepoSpec:
    first = dice.randrange(1 << 30)
    sizes = {
        f"large-{n}.safetensors": dice.randint(1, 8) * 10**6 for n in range(dice.randint(1, 3))
    }
    sizes |= {f"tables/{n}.json": dice.randint(1, 900_000) for n in range(dice.randint(0, 3))}
    sizes |= {f"notes/{n}.txt": dice.randint(0, 60_000) for n in range(dice.randint(1, 15))}
    new: dict[str, Content | bytes | str | Path] = {
        path: Generated(first + number, size + number)
        for number, (path, size) in enumerate(sizes.items())
    }
    new["config.json"] = b'{"model_type": "llama"}'
    new["empty.txt"] = b""
    if dice.random() < 0.3:
        new["copy.safetensors"] = new["large-0.safetensors"]
    changed = dice.sample(sorted(new), dice.randint(1, max(1, len(new) // 3)))
    old = {**new, **{path: Generated(first - number, 5000) for number, path in enumerate(changed)}}
    return repo(repo_id, old, new)


def _make_shape(dice: random.Random) -> Shape:
    return Shape(latency_seconds=dice.uniform(0.0, 0.02), rate_total=dice.uniform(3e6, 12e6))


def _make_attacks(dice: random.Random) -> tuple[Attack, ...]:
    if dice.random() < 0.7:
        return ()
    ways: list[Way] = ["kill the engine", "kill the engine", "stop the engine", "sleep"]
    return tuple(
        Attack(dice.uniform(0.5, 3.0), dice.choice(ways), dice.uniform(0.5, 2.0))
        for _ in range(dice.randint(1, 2))
    )


def _described(fault: Fault) -> str:
    effect = fault.effect
    return f"{type(effect).__name__}({_told(effect)}) {_told(fault)}"


def _told(value: object) -> str:
    """Name the fields that are not as they are by default, long texts shortened."""
    if not dataclasses.is_dataclass(value):
        return ""
    differing = {
        field.name: getattr(value, field.name)
        for field in dataclasses.fields(value)
        if field.name != "effect" and getattr(value, field.name) != field.default
    }
    return ", ".join(f"{name}={str(given)[:60]}" for name, given in differing.items())
