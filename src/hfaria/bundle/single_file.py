"""Make one file of the importer's modules: `import_bundle.py`, which each stick carries.

The modules' bodies are copied word for word, so that what runs from a stick is what `hfaria bundle
import` runs. `python3 -m hfaria.bundle.single_file` prints the file.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections import defaultdict
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from hfaria.errors import SourceMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOM = "hfaria.bundle.importer"
SECTIONS = (
    *("errors", "format", "canonical", "names", "hub_format", "values", "bundle_json"),
    *("stick_json", "needs", "console", "options"),
    *("ed25519", "signatures", "trust", "folders", "locks", "filesystem"),
    *("reading", "unfinished", "bags", "policy"),
    *("cache", "holdings", "partials", "store", "work"),
    *("taking", "survey", "pieces", "batches", "copying", "placing", "receipts", "publishing"),
    *("outcome", "importing", "inspecting", "verifying", "inventory", "load_check"),
    *("selftest", "command_line"),
)
"""The modules in the order in which they are read: each imports only those before it."""

_WIDTH = 100
_HEAD = '''\
#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Look at, verify and import a bundle: a Hugging Face cache that was carried in on a stick.

    python3 -I -S import_bundle.py inspect|verify|import|inventory|--selftest

One file, the standard library alone, Python 3.8 or newer. hfaria made it of the modules that
`hfaria bundle import` runs, word for word, so that there is no second implementation to drift.

Nothing on the stick is believed. What becomes visible in the cache has the sha256 that bundle.json
names, and every path that is written is computed here from repo, commit, path and ETag.

To check it: `python3 -m hfaria.bundle.single_file` prints these very bytes where you trust an
hfaria of the version that bundle.json names; REVIEW.txt has their sha256. It opens no connection,
and starts no program but Python, for `import --load-check`. It writes into the cache, receipts and
needs-*.json beside the cache, the latter also where it was started, and the files that options
name; `--selftest` writes into a scratch folder.

Its sections, each of which uses only those before it:

{sections}
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    # Until `main` takes over, a Ctrl-C ends in silence, not in a traceback out of some import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

'''
_FOOT = """

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
"""


@lru_cache(maxsize=1)
def importer_text() -> bytes:
    """Return the importer as it goes onto sticks. Raises `SourceMissing`."""
    return assembled({name: _source(name) for name in SECTIONS}).encode("ascii")


def _source(name: str) -> str:
    try:
        return (resources.files(ROOM) / f"{name}.py").read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise SourceMissing(f"this hfaria came without the source of `{ROOM}.{name}`") from exc


def assembled(sources: Mapping[str, str]) -> str:
    """Make one file of modules, given in the order in which they build on each other."""
    imports = _Imports()
    sections = []
    listed = []
    for name, source in sources.items():
        tree = ast.parse(source)
        purpose = ast.get_docstring(tree) or ""
        for node in heading(tree)[1:]:
            imports.add(node, source)
        title = f"# === {name} "
        comment = textwrap.indent(purpose, "# ", lambda _: True).replace("# \n", "#\n")
        sections.append(f"\n\n{title.ljust(_WIDTH, '=')}\n{comment}\n\n{body_of(source)}")
        listed.append(f"    {name:<14}{purpose.splitlines()[0]}")
    head = _HEAD.format(sections="\n".join(listed))
    return head + imports.text() + "".join(sections) + _FOOT


def heading(tree: ast.Module) -> list[ast.stmt]:
    """Return the docstring of a module, and its imports: all that stands before its body."""
    nodes = [tree.body[0]]
    for node in tree.body[1:]:
        if not _is_import(node):
            break
        nodes.append(node)
    return nodes


def body_of(source: str) -> str:
    """Return what follows the imports of a module, as it is."""
    end = heading(ast.parse(source))[-1].end_lineno
    return "".join(source.splitlines(keepends=True)[end:]).strip("\n") + "\n"


def _is_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return all(map(_is_import, [*node.body, *node.orelse]))
    return isinstance(node, ast.Import | ast.ImportFrom)


class _Imports:
    """The imports of all modules, each once; those from the room itself are dropped."""

    def __init__(self) -> None:
        self._plain: set[str] = set()
        self._named: dict[str, set[str]] = defaultdict(set)
        self._for_types: dict[str, set[str]] = defaultdict(set)
        self._conditional: dict[str, None] = {}

    def add(self, node: ast.stmt, source: str) -> None:
        """Take up an import of a module."""
        if isinstance(node, ast.Import):
            self._plain.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            _add_names(self._named, node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in node.body:
                if isinstance(inner, ast.ImportFrom):
                    _add_names(self._for_types, inner)
                else:
                    self.add(inner, source)
        else:
            self._conditional[ast.get_source_segment(source, node) or ""] = None

    def text(self) -> str:
        """Return them as they stand in the one file."""
        plain = [f"import {name}" for name in sorted(self._plain - {"signal"})]
        lines = [*plain, *_named(self._named)]
        for statement in self._conditional:
            lines += ["", statement]
        lines += ["", "if TYPE_CHECKING:"]
        lines += [f"    {line}" for line in _named(self._for_types)]
        return "\n".join(lines) + "\n"


def _add_names(found: dict[str, set[str]], node: ast.ImportFrom) -> None:
    module = node.module or ""
    if module != "__future__" and not module.startswith(ROOM):
        found[module].update(alias.name for alias in node.names)


def _named(names: Mapping[str, Iterable[str]]) -> Iterator[str]:
    for module, values in sorted(names.items()):
        yield f"from {module} import {', '.join(sorted(values))}"


if __name__ == "__main__":
    sys.stdout.buffer.write(importer_text())
