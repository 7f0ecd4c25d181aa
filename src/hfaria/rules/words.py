"""What endpoints say of a repo at first: the commit a revision names there, or why not.

From all first words follows whether a pull can begin, has to wait, or must end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfaria.errors import (
    AccessDenied,
    EndpointUnreachable,
    HubError,
    RepoNotFound,
    RevisionNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from hfaria.rules.endpoints import ConfiguredEndpoint, Endpoint


@dataclass(frozen=True, slots=True)
class Head:
    """What an endpoint says of a repo at a revision."""

    commit_hash: str
    is_gated: bool
    is_private: bool
    last_modified: datetime | None = None

    @property
    def needs_token(self) -> bool:
        """Whether its bytes are refused to anonymous requests."""
        return self.is_gated or self.is_private


@dataclass(frozen=True, slots=True)
class Word:
    """An endpoint's first word: a head, or an error, or neither while it is silent.

    ``may_pass``: asked later, it may say something else.
    """

    configured: ConfiguredEndpoint
    head: Head | None = None
    error: HubError | None = None
    may_pass: bool = False

    @property
    def endpoint(self) -> Endpoint:
        """Who said it."""
        return self.configured.endpoint

    @property
    def is_refusal(self) -> bool:
        """Whether it is about the repo: not there, or not for us."""
        return isinstance(self.error, RepoNotFound | RevisionNotFound | AccessDenied)

    @property
    def reason(self) -> str:
        """Why there is no head, for messages."""
        if self.error is None:
            return f"{self.endpoint.host} has not answered yet"
        return self.error.message


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint that has the repo at the revision."""

    configured: ConfiguredEndpoint
    head: Head

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        return self.configured.endpoint


def candidates(words: Iterable[Word]) -> tuple[Candidate, ...]:
    """Return those who have it, in order."""
    return tuple(Candidate(w.configured, w.head) for w in words if w.head is not None)


def is_outage(words: Sequence[Word]) -> bool:
    """Tell whether nobody said anything of the repo, and somebody may yet.

    A refusal is an answer: a wrong name is told at once, though others could not be asked.
    """
    if any(word.head is not None or word.is_refusal for word in words):
        return False
    return any(word.may_pass for word in words)


def authority(words: Iterable[Word], trusted: Collection[Endpoint]) -> Word | None:
    """Return the first word, a head or a refusal, of an endpoint that may see the token."""
    for word in words:
        if word.endpoint in trusted and (word.head is not None or word.is_refusal):
            return word
    return None


def verdict(words: Sequence[Word], trusted: Collection[Endpoint]) -> HubError:
    """Return the error to end with when nobody has the repo, and no waiting helps.

    The authority's refusal counts most, then any refusal; what an endpoint is comes last.
    """
    leading = authority(words, trusted)
    refusals = [word for word in words if word.is_refusal]
    if leading is not None and leading.error is not None:
        return leading.error
    if refusals and refusals[0].error is not None:
        return _with_those_who_were_not_heard(refusals[0].error, words)
    errors = [word.error for word in words if word.error is not None]
    if len(errors) == 1:
        return errors[0]
    reasons = "; ".join(word.reason for word in words)
    return EndpointUnreachable(f"no endpoint can be used: {reasons}")


def _with_those_who_were_not_heard(error: HubError, words: Sequence[Word]) -> HubError:
    silent = [word for word in words if not word.is_refusal]
    if silent:
        reasons = "; ".join(word.reason for word in silent)
        error.message = f"{error.message}; and {reasons}"
    return error
