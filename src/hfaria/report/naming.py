"""Let the messages about one of several repos begin with its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfaria.report.reporter import Reporter
    from hfaria.rules.progress import Progress


class NamingReporter:
    """Passes on what is said, with the repo's name; keeps its progress for a view over all."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._name = name
        self.progress: Progress | None = None

    def note(self, text: str) -> None:
        """Say something once."""
        self._reporter.note(f"{self._name}: {text}")

    def warn(self, text: str) -> None:
        """Say something once that the user should look at."""
        self._reporter.warn(f"{self._name}: {text}")

    def show(self, progress: Progress) -> None:
        """Keep this moment."""
        self.progress = progress

    def close(self) -> None:
        """Leave the terminal to whoever shows all of them."""
