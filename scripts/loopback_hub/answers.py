"""Answers as values: decided by the protocol, bent by effects, delivered elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopback_hub.content import Content
    from loopback_hub.repos import StoredFile


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence of ``seconds`` after so many payload bytes; None is before the headers."""

    seconds: float
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, and how its delivery goes wrong, if it does.

    ``span`` is the half-open range of ``body`` to send with 206.
    ``file`` is the repo's file whose bytes these are, if they are.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Content | bytes = b""
    span: tuple[int, int] | None = None
    file: StoredFile | None = None
    declared_length: int | None = None
    has_length: bool = True
    is_chunked: bool = False
    may_compress: bool = False
    sends_body: bool = True
    pauses: tuple[Pause, ...] = ()
    stop_after: int | None = None
    stops_by_reset: bool = False
    resets_per_megabyte: float = 0.0
    drops_connection: bool = False

    @property
    def size(self) -> int:
        """Length of the whole body, whatever part of it is sent."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.size

    @property
    def sent_span(self) -> tuple[int, int]:
        """Half-open range of the body that is sent."""
        return self.span or (0, self.size)

    def header(self, name: str) -> str | None:
        """Return a header's value, looked up without regard to case."""
        return next((v for key, v in self.headers if key.lower() == name.lower()), None)

    def with_headers(self, **headers: str | None) -> Answer:
        """Set or, with None, drop headers; underscores in names stand for dashes."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        kept = tuple((key, value) for key, value in self.headers if key.title() not in named)
        added = tuple((key, value) for key, value in named.items() if value is not None)
        return replace(self, headers=kept + added)


def json_answer(value: object, *, status: int = 200, **headers: str) -> Answer:
    """Answer with JSON."""
    return text_answer(json.dumps(value), "application/json; charset=utf-8", status, **headers)


def text_answer(text: str, content_type: str, status: int = 200, **headers: str) -> Answer:
    """Answer with a text of some type."""
    answer = Answer(status, (("Content-Type", content_type),), text.encode(), may_compress=True)
    return answer.with_headers(**headers)


def error_answer(status: int, code: str | None, message: str, **headers: str) -> Answer:
    """Refuse as the Hub does: the reason in headers and in a small JSON."""
    named = {"X_Error_Message": message, **headers}
    if code is not None:
        named["X_Error_Code"] = code
    return json_answer({"error": message}, status=status, **named)


def redirect_answer(status: int, location: str, **headers: str) -> Answer:
    """Redirect, with the short text the Hub sends along."""
    text = f"{HTTPStatus(status).phrase}. Redirecting to {location}"
    return text_answer(text, "text/plain; charset=utf-8", status, Location=location, **headers)


def file_answer(file: StoredFile, wanted: str | None, **headers: str) -> Answer:
    """Answer with a file's bytes, or with the single range of them that was asked for."""
    base = Answer(200, (), file.content, file=file)
    base = base.with_headers(Content_Type=content_type(file.path), Accept_Ranges="bytes", **headers)
    span = parse_range(wanted, file.size)
    if span is None:
        return base
    if span[0] >= span[1]:
        refused = error_answer(416, None, "Requested range not satisfiable")
        return refused.with_headers(Content_Range=f"bytes */{file.size}")
    return replace(base, status=206, span=span)


def parse_range(wanted: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header; None asks for all, an empty range can't be satisfied."""
    if wanted is None or not wanted.startswith("bytes=") or "," in wanted:
        return None
    first, dash, last = wanted.removeprefix("bytes=").strip().partition("-")
    if not dash or not (first + last).isdigit():
        return None
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def content_type(path: str) -> str:
    """Return the type the Hub gives a file of this name."""
    if path.endswith(".json"):
        return "application/json"
    if path.endswith((".txt", ".md", ".py")):
        return "text/plain; charset=utf-8"
    return "application/octet-stream"
