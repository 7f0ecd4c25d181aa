"""The command line: parse, make settings, call one workflow, render, exit with a code."""

from __future__ import annotations

from hfaria.cli.main import main

__all__ = ["main"]
