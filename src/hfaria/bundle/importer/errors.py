"""Why the work stops: one error, with a stable code and the exit code of hfaria."""

from __future__ import annotations


class BundleError(Exception):
    """Why a bundle, or this machine, stops the work; `code` is stable, `exit_code` is hfaria's."""

    def __init__(self, code: str, exit_code: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code
        self.message = message
        self.hint = hint


USAGE, INCOMPLETE, INTEGRITY, DESTINATION, POLICY, INTERRUPTED = 2, 3, 4, 7, 8, 130


def malformed(message: str, code: str = "E-FORMAT") -> BundleError:
    """Return the refusal of a document that hfaria would not have written."""
    hint = "the bundle was not made by hfaria or was altered; all of it is refused"
    return BundleError(code, USAGE, message, hint)


def shown(text: str) -> str:
    """Return text from a bundle so that it can't play tricks on a terminal: quoted, in ASCII."""
    return ascii(text)
