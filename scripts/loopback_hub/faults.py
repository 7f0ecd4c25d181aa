"""Faults: which requests an effect befalls, how often, and the list tests change live."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import threading
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from loopback_hub.answers import error_answer
from loopback_hub.effects import (
    AlterListing,
    Behind,
    Close,
    Effect,
    ETag,
    Gzip,
    Hangup,
    Headers,
    IgnoreRange,
    Lacks,
    Length,
    NextLink,
    OtherVersion,
    Portal,
    RateLimit,
    RedirectTo,
    Replace,
    Reset,
    Stall,
    Status,
    WrongBytes,
)
from loopback_hub.outages import Blackhole, Outage, Reach, Refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from loopback_hub.answers import Answer
    from loopback_hub.effects import Scene
    from loopback_hub.repos import RepoSpec

MatchKind = Literal[
    "*",
    "api",
    "info",
    "tree",
    "refs",
    "paths-info",
    "whoami",
    "resolve",
    "bytes",
    "cached",
    "cdn",
    "commits",
    "other",
]

EFFECTS: dict[str, type[Effect]] = {
    effect.__name__: effect
    for effect in (
        *(Reset, Close, Stall, Status, Hangup, Refuse, Blackhole, Length, IgnoreRange, Portal),
        *(Replace, WrongBytes, OtherVersion, Gzip, ETag, Headers, RateLimit, Behind, Lacks),
        *(RedirectTo, NextLink, AlterListing),
    )
}


@dataclass(frozen=True, slots=True)
class Fault:
    """An effect, the requests it is for, and how often it strikes.

    ``kind`` is "api" (or one of its routes), "resolve", or "bytes" for every answer that carries
    a file's bytes, whoever sends it. ``path`` is a glob for the URL's path, the file's path or
    the blob's name, where ``*`` crosses ``/``. Of the matching requests it skips ``skip``, then
    takes every ``every``-th, at most ``first`` of them, each with ``probability``; counted over
    all, or ``per`` blob, URL path or connection. It is in force from ``begins`` to ``ends``,
    seconds after it was added, and in between, with ``window`` (on, period), for the first ``on``
    seconds of each ``period``.
    """

    effect: Effect
    site: str = "*"
    method: str = "*"
    path: str = "*"
    kind: MatchKind = "*"
    probability: float = 1.0
    first: int | None = None
    every: int = 1
    skip: int = 0
    per: Literal["all", "blob", "path", "connection"] = "all"
    begins: float = 0.0
    ends: float | None = None
    window: tuple[float, float] | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which `from_json` makes an equal fault."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        effect = {"name": type(self.effect).__name__, **dataclasses.asdict(self.effect)}
        return json.loads(json.dumps({**plain, "effect": effect}))  # type: ignore[no-any-return]

    @staticmethod
    def from_json(plain: dict[str, Any]) -> Fault:
        """Make the fault that `to_json` described."""
        fields = {name: _frozen(value) for name, value in plain.items() if name != "effect"}
        effect = {name: _frozen(value) for name, value in plain["effect"].items() if name != "name"}
        return Fault(EFFECTS[plain["effect"]["name"]](**effect), **fields)


@dataclass(frozen=True, slots=True)
class Sight:
    """What of a request and its answer a fault looks at."""

    site: str
    method: str
    kinds: frozenset[str]
    url_path: str
    file_path: str | None
    blob: str | None
    connection: int


@dataclass(slots=True)
class _Tally:
    seen: dict[object, int] = field(default_factory=dict)
    struck: dict[object, int] = field(default_factory=dict)
    window_started: float = -math.inf
    window_count: int = 0


class ActiveFault:
    """A fault in force, with its counts and its dice."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._started = time.monotonic()
        self._sent_before: dict[str, int] = {}
        self._views: dict[RepoSpec, RepoSpec | None] = {}
        self._dice = random.Random(fault.seed)
        self._tally = _Tally()

    def is_on(self) -> bool:
        """Tell whether it is in force by now, still, and within its window, if it has one."""
        fault = self.fault
        elapsed = time.monotonic() - self._started - fault.begins
        if elapsed < 0 or (fault.ends is not None and elapsed >= fault.ends - fault.begins):
            return False
        if fault.window is None:
            return True
        on_seconds, period = fault.window
        return elapsed % period < on_seconds

    def reach(self, site: str, sent: int) -> Reach:
        """Tell how this fault lets a site be reached that has sent so many bytes of files."""
        effect = self.fault.effect
        if not isinstance(effect, Outage) or self.fault.site not in {"*", site} or not self.is_on():
            return Reach.OPEN
        return effect.reach(sent - self._sent_before.setdefault(site, sent))

    def matches(self, sight: Sight) -> bool:
        """Tell whether the request is one this fault is for."""
        fault = self.fault
        if fault.site not in {"*", sight.site} or fault.method not in {"*", sight.method}:
            return False
        if fault.kind != "*" and fault.kind not in sight.kinds:
            return False
        if fault.path == "*":
            return True
        names = (sight.url_path, sight.file_path, sight.blob)
        return any(name is not None and fnmatchcase(name, fault.path) for name in names)

    def strikes(self, sight: Sight) -> bool:
        """Count a matching request and tell whether the effect befalls it."""
        fault = self.fault
        key = {
            "all": None,
            "blob": sight.blob,
            "path": sight.url_path,
            "connection": sight.connection,
        }[fault.per]
        number = self._tally.seen.get(key, 0)
        self._tally.seen[key] = number + 1
        struck = self._tally.struck.get(key, 0)
        if number < fault.skip or (number - fault.skip) % fault.every:
            return False
        if fault.first is not None and struck >= fault.first:
            return False
        if fault.probability < 1.0 and self._dice.random() >= fault.probability:
            return False
        self._tally.struck[key] = struck + 1
        return True

    def view(self, spec: RepoSpec) -> RepoSpec | None:
        """Return a repo as the effect leaves it, the same value every time."""
        if spec not in self._views:
            self._views[spec] = self.fault.effect.limit_view(spec)
        return self._views[spec]

    def limit(self, limit: RateLimit, answer: Answer) -> tuple[Answer, bool]:
        """Count a request against a rate limit: the answer with its headers, or a 429."""
        now = time.monotonic()
        tally = self._tally
        if now - tally.window_started >= limit.window_seconds:
            tally.window_started, tally.window_count = now, 0
        tally.window_count += 1
        remaining = max(0, limit.requests - tally.window_count)
        reset = math.ceil(tally.window_started + limit.window_seconds - now)
        is_over = tally.window_count > limit.requests
        if is_over:
            answer = error_answer(429, None, "You have been rate limited", Retry_After=str(reset))
        policy = (
            f'"fixed window";"{limit.resource}";q={limit.requests};w={limit.window_seconds:.0f}'
        )
        answer = answer.with_headers(
            RateLimit=f'"{limit.resource}";r={remaining};t={reset}', RateLimit_Policy=policy
        )
        return answer, is_over


class FaultBook:
    """The faults in force. Any thread may change them; the serving thread applies them."""

    def __init__(
        self, faults: Iterable[Fault] = (), *, on_change: Callable[[], None] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._on_change = on_change or (lambda: None)
        self._active: tuple[ActiveFault, ...] = tuple(ActiveFault(fault) for fault in faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter([active.fault for active in self._active])

    def __len__(self) -> int:
        return len(self._active)

    def add(self, *faults: Fault) -> None:
        """Put faults in force, after those that are."""
        with self._lock:
            self._active = (*self._active, *(ActiveFault(fault) for fault in faults))
        self._on_change()

    def remove(self, fault: Fault) -> None:
        """Lift a fault, and all that are equal to it."""
        with self._lock:
            self._active = tuple(active for active in self._active if active.fault != fault)
        self._on_change()

    def clear(self) -> None:
        """Lift all faults; counts are forgotten with them."""
        with self._lock:
            self._active = ()
        self._on_change()

    def reach(self, site: str, sent: int) -> Reach:
        """Tell how a site is reached right now; of several faults the first that acts decides."""
        for active in self._active:
            reach = active.reach(site, sent)
            if reach is not Reach.OPEN:
                return reach
        return Reach.OPEN

    def view(self, site: str, spec: RepoSpec | None) -> RepoSpec | None:
        """Return a repo as a site has it under the faults in force."""
        for active in self._active:
            if spec is not None and active.fault.site in {"*", site} and active.is_on():
                spec = active.view(spec)
        return spec

    def apply(self, answer: Answer, sight: Sight, scene: Scene) -> tuple[Answer, tuple[str, ...]]:
        """Bend an answer by every fault that strikes; also return the effects' names."""
        names: list[str] = []
        for active in self._active:
            effect = active.fault.effect
            if not active.is_on() or not active.matches(sight):
                continue
            if isinstance(effect, RateLimit):
                answer, is_over = active.limit(effect, answer)
                if is_over:
                    names.append("RateLimit")
                continue
            if effect.concerns(answer) and active.strikes(sight):
                answer = effect.alter(answer, scene)
                names.append(type(effect).__name__)
        return answer, tuple(names)


def _frozen(value: object) -> Any:  # noqa: ANN401  # JSON has lists where values have tuples
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
