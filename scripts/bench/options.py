"""The options all benchmarks share, and how one runs alone."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import TOOL_NAMES, markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.results import Finding


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure, and where the tools may write."""

    rounds: int = 3
    is_quick: bool = False
    """A tenth of the size: shows that the scripts work, not what the tools can do."""
    folder: Path | None = None
    tools: tuple[str, ...] = TOOL_NAMES

    def scaled(self, amount: int) -> int:
        """Return an amount of bytes or files, less if it must be quick."""
        return amount // 10 if self.is_quick else amount

    def only(self, tools: Sequence[str]) -> Options:
        """Return these options for fewer tools."""
        return replace(self, tools=tuple(tools))


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the shared options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all tools [default: 3]")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, one round")
    parser.add_argument("--folder", type=Path, help="where the tools write [default: a new one]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to FILE")
    parser.add_argument(
        "--tool", dest="tools", action="append", choices=TOOL_NAMES, help="only this; repeatable"
    )
    return parser


def read_options(parsed: argparse.Namespace) -> Options:
    """Return the shared options as a value."""
    return Options(
        rounds=1 if parsed.quick else parsed.rounds,
        is_quick=parsed.quick,
        folder=parsed.folder,
        tools=tuple(parsed.tools or TOOL_NAMES),
    )


def run_alone(measure: Callable[[Options], Sequence[Finding]], description: str | None) -> None:
    """Run one benchmark from the command line."""
    parsed = make_parser(description).parse_args()
    show(measure(read_options(parsed)), parsed.json)


def show(findings: Sequence[Finding], file: Path | None) -> None:
    """Print the table, and write all samples to a file if one is named."""
    print(markdown(findings))
    for finding in findings:
        for note in finding.notes:
            print(f"- {finding.what}: {note}")
    if file is not None:
        document = {
            "machine": f"{platform.system()} {platform.machine()}, Python {sys.version.split()[0]}",
            "findings": [finding.as_json() for finding in findings],
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def tell(line: str) -> None:
    """Say on stderr what is going on."""
    print(line, file=sys.stderr, flush=True)
