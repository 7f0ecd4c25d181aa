"""The file on a stick is the importer's modules, word for word, and they can be put together."""

from __future__ import annotations

import ast
import compileall
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hfaria
from hfaria.bundle.single_file import (
    ROOM,
    SECTIONS,
    assembled,
    body_of,
    heading,
    importer_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(hfaria.__file__).parent / "bundle" / "importer"
SOURCES = {name: (FOLDER / f"{name}.py").read_text(encoding="utf-8") for name in SECTIONS}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
TEXT = importer_text().decode("ascii")
STATEMENTS = ("from __future__ import annotations", "import signal")


def named(tree: ast.Module) -> Iterator[str]:
    """Yield what a module defines at its top level."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (leaf.id for leaf in ast.walk(target) if isinstance(leaf, ast.Name))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the names that imports bind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def test_every_module_of_the_room_is_a_section() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert Counter(SECTIONS) == Counter(modules)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_modules_body_is_in_the_file_word_for_word(name: str) -> None:
    body = body_of(SOURCES[name])
    assert body
    assert SOURCES[name].endswith(body)
    assert TEXT.count(f"\n{body}") == 1
    nodes = len(heading(TREES[name])) + len(ast.parse(body).body)
    assert nodes == len(TREES[name].body)


def test_the_sections_stand_in_their_order_under_what_they_are_for() -> None:
    at = [TEXT.index(f"\n# === {name} ===") for name in SECTIONS]
    assert at == sorted(at)
    listed = TEXT[: TEXT.index("\nfrom __future__")]
    for name in SECTIONS:
        purpose = (ast.get_docstring(TREES[name]) or "").splitlines()[0]
        assert f"    {name:<14}{purpose}\n" in listed
        assert f"\n# {purpose}\n" in TEXT
    assert max(map(len, TEXT.splitlines())) <= 100


@pytest.mark.parametrize("name", SECTIONS)
def test_a_module_imports_in_its_heading_alone_and_in_a_form_that_can_be_merged(name: str) -> None:
    before = SECTIONS[: SECTIONS.index(name)]
    body = ast.parse(body_of(SOURCES[name]))
    assert [n for n in ast.walk(body) if isinstance(n, ast.Import | ast.ImportFrom)] == []
    for node in heading(TREES[name])[1:]:
        condition = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        assert condition in {"", "TYPE_CHECKING"} or condition.startswith("sys.platform ")
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                assert [alias.asname for alias in inner.names] == [None] * len(inner.names)
            if isinstance(inner, ast.Import):
                assert all("." not in alias.name for alias in inner.names)
            elif isinstance(inner, ast.ImportFrom):
                assert inner.module is not None
                assert not condition.startswith("sys.")
                if inner.module.startswith("hfaria"):
                    room, _, module = inner.module.rpartition(".")
                    assert room == ROOM  # names of modules, never a module as a name
                    assert module in (SECTIONS if condition else before)
                    defined = set(named(TREES[module]))
                    assert {alias.name for alias in inner.names} <= defined


def test_no_name_has_two_meanings() -> None:
    defined = Counter(name for tree in TREES.values() for name in named(tree))
    assert [name for name, count in defined.items() if count > 1] == []
    standard = set(imported(ast.parse(TEXT)))
    assert standard & defined.keys() == set()


def test_only_the_load_check_starts_programs() -> None:
    starters = [name for name, tree in TREES.items() if "subprocess" in set(imported(tree))]
    assert starters == ["load_check"]


def test_the_file_depends_on_the_source_alone() -> None:
    assert assembled(SOURCES) == TEXT
    other = assembled({**SOURCES, "errors": SOURCES["errors"] + "\nX = 1\n"})
    assert "\nX = 1\n" in other
    for statement in STATEMENTS:
        assert Counter(TEXT.splitlines())[statement] == 1


def test_it_can_be_printed() -> None:
    command = [sys.executable, "-m", "hfaria.bundle.single_file"]
    ended = subprocess.run(command, capture_output=True, check=True)
    assert ended.stdout == importer_text()


def test_without_sources_there_is_one_clear_error(tmp_path: Path) -> None:
    package = tmp_path / "hfaria"
    shutil.copytree(FOLDER.parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    room = package / "bundle" / "importer"
    assert compileall.compile_dir(room, quiet=1, legacy=True)
    for path in room.glob("*.py"):
        path.unlink()
    ended = subprocess.run(
        [sys.executable, "-c", "from hfaria.bundle.single_file import *; importer_text()"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("hfaria.errors.SourceMissing: this hfaria came without the source of")
