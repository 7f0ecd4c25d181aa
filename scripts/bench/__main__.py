"""Run all benchmarks, or those that are named, and print one table."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bench.options import make_parser, read_options, show

if TYPE_CHECKING:
    from bench.results import Finding

_NAMES = (
    *("kills", "many_connections", "small_files", "gated", "corruption", "rerun", "memory"),
    # Networks that fail, each in one run.
    *("bad_line", "outages", "signed_urls", "rate_limits", "flipped_bytes", "stale_mirror"),
    *("two_mirrors", "fail_over"),
    # Several repos in one run.
    *("preload_flaky", "preload_rerun", "preload_gaps"),
    # What is on the disk already.
    *("verify", "repair", "adopt"),
)


def main() -> None:
    """Run them one after the other."""
    parser = make_parser(__doc__)
    parser.add_argument("names", nargs="*", choices=[*_NAMES, []], metavar="NAME", help=str(_NAMES))
    parsed = parser.parse_args()
    options = read_options(parsed)
    findings: list[Finding] = []
    for name in parsed.names or _NAMES:
        findings += importlib.import_module(f"bench.{name}").measure(options)
    show(findings, parsed.json)


if __name__ == "__main__":
    main()
