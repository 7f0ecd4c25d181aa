"""What can go wrong with an answer, as small values.

Most effects bend the answer the protocol gave. `Behind` and `Lacks` change which repos a site
has, `Hangup` acts on the connection, `RateLimit` counts requests. Sites that are down as a whole
are in `outages`.
"""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from loopback_hub.answers import Answer, Pause, error_answer, redirect_answer, text_answer
from loopback_hub.content import BytesContent, Content, Flipped, Generated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopback_hub.repos import RepoSpec


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an effect acts: the request, and the base URLs of all sites."""

    url: str
    target: str
    prefix: str
    site_urls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Effect:
    """Base of all effects; leaves everything as it is."""

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Return the answer as this effect leaves it."""
        del scene
        return answer

    def limit_view(self, spec: RepoSpec) -> RepoSpec | None:
        """Return the repo as a site under this effect has it."""
        return spec

    def concerns(self, answer: Answer) -> bool:
        """Tell whether there is anything to do; otherwise the fault isn't used up."""
        del answer
        return True


@dataclass(frozen=True, slots=True)
class Reset(Effect):
    """Reset the connection after some payload bytes, or at random, so often per megabyte."""

    after: int | None = None
    per_megabyte: float = 0.0

    def concerns(self, answer: Answer) -> bool:
        """Act only on bodies longer than what may pass."""
        return _has_more_than(answer, self.after or 0)

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Cut by RST."""
        del scene
        after = 0 if self.after is None and not self.per_megabyte else self.after
        return replace(
            answer, stop_after=after, stops_by_reset=True, resets_per_megabyte=self.per_megabyte
        )


@dataclass(frozen=True, slots=True)
class Close(Effect):
    """Close the connection in an orderly way after some payload bytes."""

    after: int = 0

    def concerns(self, answer: Answer) -> bool:
        """Act only on bodies longer than what may pass."""
        return _has_more_than(answer, self.after)

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Cut by FIN."""
        del scene
        return replace(answer, stop_after=self.after)


@dataclass(frozen=True, slots=True)
class Stall(Effect):
    """Send nothing for some seconds, after some payload bytes or, with None, before headers."""

    seconds: float
    after: int | None = None

    def concerns(self, answer: Answer) -> bool:
        """Act on anything before its headers, later only on bodies longer than that."""
        return self.after is None or _has_more_than(answer, self.after)

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Add a pause."""
        del scene
        return replace(answer, pauses=(*answer.pauses, Pause(self.seconds, self.after)))


@dataclass(frozen=True, slots=True)
class Status(Effect):
    """Refuse with a status, with Retry-After (seconds or any text) and an error code if given."""

    status: int
    retry_after: float | str | None = None
    code: str | None = None
    message: str = "Injected fault"

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Replace the answer by a refusal."""
        del answer, scene
        refusal = error_answer(self.status, self.code, self.message)
        if self.retry_after is not None:
            refusal = refusal.with_headers(Retry_After=f"{self.retry_after}")
        if self.status == 429 and isinstance(self.retry_after, int | float):
            refusal = refusal.with_headers(RateLimit=f'"api";r=0;t={self.retry_after:.0f}')
        return refusal


@dataclass(frozen=True, slots=True)
class Hangup(Effect):
    """Accept the connection, read the request, close without a byte of answer."""

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Drop the connection."""
        del scene
        return replace(answer, drops_connection=True)


@dataclass(frozen=True, slots=True)
class Length(Effect):
    """Declare a Content-Length that is off by ``delta`` bytes, or none at all."""

    delta: int = 0
    mode: Literal["wrong", "absent", "chunked"] = "wrong"

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Lie about the length; what is sent stays the same."""
        del scene
        if self.mode == "absent":
            return replace(answer, has_length=False)
        if self.mode == "chunked":
            return replace(answer, is_chunked=True)
        start, stop = answer.sent_span
        return replace(answer, declared_length=max(0, stop - start + self.delta))


@dataclass(frozen=True, slots=True)
class IgnoreRange(Effect):
    """Answer 200 with everything to a request for a range."""

    def concerns(self, answer: Answer) -> bool:
        """Act on partial answers only."""
        return answer.span is not None

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Forget the range."""
        del scene
        whole = replace(answer, status=200, span=None)
        return whole.with_headers(Accept_Ranges=None)


@dataclass(frozen=True, slots=True)
class Portal(Effect):
    """Answer with a captive portal's page and status 200."""

    page: str = "<!DOCTYPE html><html><title>Welcome</title><p>Please log in.</p></html>\n" * 50

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Replace the answer by a page."""
        del answer, scene
        return text_answer(self.page, "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Replace(Effect):
    """Answer with any text, such as JSON of another shape or none at all."""

    text: str = '{"not": "a list"}'
    content_type: str = "application/json; charset=utf-8"
    status: int = 200

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Replace the answer's body and drop its other headers."""
        del answer, scene
        return text_answer(self.text, self.content_type, self.status)


@dataclass(frozen=True, slots=True)
class WrongBytes(Effect):
    """Invert bytes: one at offset ``at`` of the file, or amid what is sent.

    With ``within``, ``count`` of them at offsets drawn from the first so many bytes that are sent:
    whoever asks for more than it reads, as aria2 does, gets them all the same.
    """

    at: int | None = None
    within: int | None = None
    count: int = 1
    seed: int = 0

    def concerns(self, answer: Answer) -> bool:
        """Act only if the byte is among those sent."""
        start, stop = answer.sent_span
        at = start if self.at is None else self.at
        return answer.sends_body and answer.status < 300 and start <= at < stop

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Keep the size, change the content."""
        del scene
        start, stop = answer.sent_span
        offsets = [(start + stop) // 2 if self.at is None else self.at]
        if self.within is not None:
            dice = random.Random(f"{self.seed} {start} {answer.size}")
            chosen = range(start, min(stop, start + self.within))
            offsets = dice.sample(chosen, min(self.count, len(chosen)))
        body = _content(answer)
        for at in offsets:
            body = Flipped(body, at)
        return replace(answer, body=body, may_compress=False)


@dataclass(frozen=True, slots=True)
class OtherVersion(Effect):
    """Serve another content of the same size and another ETag, as two servers out of step do."""

    seed: int = 1

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Keep the size, change content and ETag."""
        del scene
        other = replace(answer, body=Generated(self.seed, answer.size), may_compress=False)
        return other.with_headers(ETag=f'"other-{self.seed}"')


@dataclass(frozen=True, slots=True)
class Gzip(Effect):
    """Compress what nobody asked to have compressed."""

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Send the whole body, compressed."""
        del scene
        # Stored, not squeezed: noise gets no smaller, and the other sites must not wait for it.
        packed = gzip.compress(_content(answer).whole(), compresslevel=0)
        whole = replace(answer, status=200, span=None, body=packed, may_compress=False)
        return whole.with_headers(Content_Encoding="gzip")


@dataclass(frozen=True, slots=True)
class ETag(Effect):
    """Drop the ETag, weaken it, or replace it by ``value``; the linked one too if told."""

    mode: Literal["missing", "weak", "value"] = "missing"
    value: str = '"mangled"'
    linked: bool = True

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Change the ETag headers that are there."""
        del scene
        for name in ("ETag", "X-Linked-Etag") if self.linked else ("ETag",):
            present = answer.header(name)
            if present is not None:
                weak = f"W/{present.removeprefix('W/')}"  # nobody weakens it twice
                values = {"missing": None, "weak": weak, "value": self.value}
                answer = answer.with_headers(**{name.replace("-", "_"): values[self.mode]})
        return answer


@dataclass(frozen=True, slots=True)
class Headers(Effect):
    """Drop some headers and set others, e.g. ``Headers(drop=("X-Repo-Commit",))``."""

    drop: tuple[str, ...] = ()
    add: tuple[tuple[str, str], ...] = ()

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Change headers."""
        del scene
        return answer.with_headers(**dict.fromkeys(self.drop), **dict(self.add))


@dataclass(frozen=True, slots=True)
class RateLimit(Effect):
    """Allow so many requests per window, then answer 429 until the window ends."""

    requests: int
    window_seconds: float = 300.0
    resource: str = "api"


@dataclass(frozen=True, slots=True)
class Behind(Effect):
    """Have the repos as they were some commits ago."""

    commits: int = 1

    def limit_view(self, spec: RepoSpec) -> RepoSpec:
        """Take the newest commits away."""
        return spec.behind(self.commits)


@dataclass(frozen=True, slots=True)
class Lacks(Effect):
    """Lack whole repos by id, or files by path, in every repo."""

    paths: tuple[str, ...] = ()
    repos: tuple[str, ...] = ()

    def limit_view(self, spec: RepoSpec) -> RepoSpec | None:
        """Take repos and files away."""
        if spec.repo_id in self.repos:
            return None
        return spec.lacking(self.paths) if self.paths else spec


@dataclass(frozen=True, slots=True)
class RedirectTo(Effect):
    """Redirect to the same path of another site, or of any base URL on loopback."""

    base: str = "origin"
    status: int = 308

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Replace the answer by a redirect."""
        del answer
        base = scene.site_urls.get(self.base, self.base)
        return redirect_answer(self.status, base + scene.target.removeprefix(scene.prefix))


@dataclass(frozen=True, slots=True)
class NextLink(Effect):
    """Name a wrong next page: at another site or base URL, or, with ``loop``, this one again."""

    base: str = "loop"

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Rewrite the Link header; only a loop adds one where there is none."""
        if self.base == "loop":
            here = scene.url.removesuffix(scene.prefix) + scene.target
            return answer.with_headers(Link=f'<{here}>; rel="next"')
        link = answer.header("Link")
        if link is None:
            return answer
        base = scene.site_urls.get(self.base, self.base)
        return answer.with_headers(Link=link.replace(scene.url, base))


@dataclass(frozen=True, slots=True)
class AlterListing(Effect):
    """Alter entries of a tree page: their oid, size or sha256, or any field by ``fields``."""

    path: str = "*"
    field_name: Literal["pointer", "size", "sha256", "path", "fields"] = "sha256"
    value: str | int | None = None
    fields: tuple[tuple[str, str], ...] = field(default=())

    def concerns(self, answer: Answer) -> bool:
        """Act on pages only."""
        return answer.status == 200 and isinstance(answer.body, bytes)

    def alter(self, answer: Answer, scene: Scene) -> Answer:
        """Rewrite the page."""
        del scene
        entries = json.loads(_content(answer).whole())
        for entry in entries:
            if entry["type"] == "file" and self.path in {"*", entry["path"]}:
                self._change(entry)
        return replace(answer, body=json.dumps(entries).encode())

    def _change(self, entry: dict[str, object]) -> None:
        lfs = entry.get("lfs")
        if self.field_name == "pointer":
            entry["oid"] = self.value or "0" * 40
        elif self.field_name == "size":
            entry["size"] = 1 if self.value is None else self.value
        elif self.field_name == "path":
            entry["path"] = self.value
        elif self.field_name == "sha256" and isinstance(lfs, dict):
            lfs["oid"] = self.value or "0" * 64
        entry.update({name: json.loads(text) for name, text in self.fields})


def _has_more_than(answer: Answer, size: int) -> bool:
    start, stop = answer.sent_span
    return answer.sends_body and stop - start > size


def _content(answer: Answer) -> Content:
    return BytesContent(answer.body) if isinstance(answer.body, bytes) else answer.body
