"""Whoever runs the script on the stick: a Python, no hfaria, no environment to speak of."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from hfaria.bundle.single_file import importer_text
from support.cli import Run, Running


def _written() -> Path:
    """Write the importer as it goes onto sticks, for as long as the tests run."""
    folder = Path(tempfile.mkdtemp(prefix="hfaria-importer-"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "import_bundle.py"
    path.write_bytes(importer_text())
    return path


IMPORTER = _written()


def start(*words: str | Path, python: str = sys.executable, **environ: str) -> Running:
    """Start the importer, and return while it runs."""
    command = [python, "-I", "-S", str(IMPORTER), *map(str, words)]
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return Running(command, {**kept, **environ})


def run(*words: str | Path, **environ: str) -> Run:
    """Run the importer to its end."""
    return start(*words, **environ).wait()


def bring(*paths: Path, cache: Path, options: tuple[str, ...] = (), symlinks: bool = True) -> Run:
    """Import sticks, as many as are at hand."""
    environ = {} if symlinks else {"HF_HUB_DISABLE_SYMLINKS": "1"}
    return run("import", *paths, "--cache", cache, "--reserve", "0", *options, **environ)


def brought(*paths: Path, cache: Path, options: tuple[str, ...] = ()) -> Run:
    """Import sticks, which must bring all that is wanted."""
    ended = bring(*paths, cache=cache, options=options)
    assert ended.code == 0, ended.stderr
    return ended


def code_of(ended: Run) -> str:
    """Return the code of the one error, such as E-PIECE."""
    return ended.error.split()[0]
