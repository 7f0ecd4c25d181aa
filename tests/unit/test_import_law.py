"""Hold the import law: a module imports only rooms below it, and a few imports have one home."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.single_file import importer_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "hfaria"
MODULES = sorted(PACKAGE.rglob("*.py"))
MIDDLE = {"hub", "engine", "cache", "bundle", "jobs", "report", "project"}
RULES = {"rules", "errors", "redact"}
BELOW_WORKFLOWS = MIDDLE | RULES | {"settings", "hfaria"}
MAY_IMPORT = {
    "errors": set(),
    "redact": set(),
    "rules": RULES,
    "settings": RULES,
    **{room: RULES | {room} for room in MIDDLE},
    "workflows": BELOW_WORKFLOWS | {"workflows"},
    "cli": BELOW_WORKFLOWS | {"workflows", "cli"},
    "api": BELOW_WORKFLOWS | {"workflows"},
    "__main__": {"cli"},
    "hfaria": {"api", "rules"},  # the package itself: what `import hfaria` offers
}
# Parts of huggingface_hub that only compute.
PURE_HUGGINGFACE_HUB = {
    "huggingface_hub.errors.HFValidationError",
    "huggingface_hub.errors.HfUriError",
    "huggingface_hub.utils.WeakFileLock",
    "huggingface_hub.utils.filter_repo_objects",
    "huggingface_hub.utils.parse_hf_uri",
    "huggingface_hub.utils.validate_repo_id",
}
MOST_LINES = 450
# It travels on sticks, made into one file.
IMPORTER = PACKAGE / "bundle" / "importer"
IMPORTER_MAY_IMPORT = {
    "__future__", "argparse", "base64", "collections", "contextlib", "errno", "fcntl", "hashlib",
    "io", "json", "msvcrt", "os", "platform", "queue", "re", "secrets", "shutil", "signal", "stat",
    "struct", "subprocess", "sys", "tempfile", "threading", "time", "typing", "unicodedata",
}  # fmt: skip


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each imported name in full, those under TYPE_CHECKING and in functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the room"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def room_of_name(name: str) -> str:
    """Return the room of ``hfaria.room…``; what the package itself offers is room ``hfaria``."""
    parts = name.split(".")
    if len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists()):
        return parts[1]
    return "hfaria"


def room_of_file(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return "hfaria" if first == "__init__.py" else first.removesuffix(".py")


def all_imports() -> Iterator[tuple[Path, int, str]]:
    for path in MODULES:
        for line, name in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, line, name


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def importers_of(*packages: str) -> dict[str, str]:
    """Return the places that import one of these packages, with their rooms."""
    return {
        where(path, line): room_of_file(path)
        for path, line, name in all_imports()
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    }


def test_there_are_modules_to_look_at() -> None:
    assert {room_of_file(path) for path in MODULES} == set(MAY_IMPORT)


def test_each_module_imports_only_rooms_below_its_own() -> None:
    trespasses = [
        f"{where(path, line)} imports {name}"
        for path, line, name in all_imports()
        if name.split(".")[0] == "hfaria"
        and room_of_name(name) not in MAY_IMPORT[room_of_file(path)]
    ]
    assert trespasses == []


@pytest.mark.parametrize(
    ("packages", "home"),
    [
        (("aria2p", "requests", "aria2c", "python_socks"), "engine"),
        (("tqdm",), "report"),
        (("click",), "cli"),
        (("platformdirs",), "settings"),
        (("tomlkit",), "project"),
        (("huggingface_hub.utils.httpx", "huggingface_hub.get_token", "socksio"), "hub"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_some_packages_have_one_home(packages: tuple[str, ...], home: str) -> None:
    found = importers_of(*packages)
    assert {place: room for place, room in found.items() if room != home} == {}
    assert found


def test_only_those_who_read_a_users_files_parse_toml() -> None:
    assert {*importers_of("tomllib", "tomli").values()} == {"settings", "project"}


def test_nobody_imports_httpx_by_its_own_name() -> None:
    # It is httpx in huggingface_hub 1.x and httpx2 in 2.x.
    assert importers_of("httpx", "httpx2", "urllib.request", "http.client") == {}


def test_outside_hub_only_the_pure_parts_of_huggingface_hub_are_used() -> None:
    used = {
        name: where(path, line)
        for path, line, name in all_imports()
        if name.split(".")[0] == "huggingface_hub" and room_of_file(path) != "hub"
    }
    assert {name: at for name, at in used.items() if name not in PURE_HUGGINGFACE_HUB} == {}


def test_rules_touch_neither_disk_nor_clock_nor_network() -> None:
    impure = {
        "asyncio", "io", "os", "queue", "random", "shutil", "socket", "subprocess", "tempfile",
        "threading", "time", "filelock",
    }  # fmt: skip
    trespasses = [
        f"{where(path, line)} imports {name}"
        for path, line, name in all_imports()
        if room_of_file(path) in RULES and name.split(".")[0] in impure
    ]
    assert trespasses == []


def test_only_settings_reads_the_environment() -> None:
    readers = {
        where(path, node.lineno)
        for path in MODULES
        if room_of_file(path) != "settings"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "environb", "getenv", "putenv"}
    }
    assert readers == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_grows_too_long_and_each_says_why_it_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert ast.get_docstring(ast.parse(text)) or path.name == "__main__.py"


def test_only_the_standard_library_and_our_dependencies_are_imported() -> None:
    declared = {
        "aria2c", "aria2p", "certifi", "click", "filelock", "huggingface_hub", "platformdirs",
        "python_socks", "requests", "socksio", "tomli", "tomlkit", "tqdm",
        "typing_extensions",
    }  # fmt: skip
    known = declared | set(sys.stdlib_module_names) | {"hfaria", "tomllib"}
    strangers = [
        where(path, line) for path, line, name in all_imports() if name.split(".")[0] not in known
    ]
    assert strangers == []


def test_the_importer_room_stands_alone() -> None:
    strangers = [
        f"{where(path, line)} imports {name}"
        for path, line, name in all_imports()
        if path.is_relative_to(IMPORTER)
        and name.split(".")[0] not in IMPORTER_MAY_IMPORT
        and not name.startswith("hfaria.bundle.importer.")
    ]
    assert strangers == []


def test_the_file_on_a_stick_imports_the_standard_library_and_speaks_python_3_8() -> None:
    text = importer_text().decode("ascii")
    tree = ast.parse(text, feature_version=(3, 8))
    strangers = {name.split(".")[0] for _, name in imports_of(tree)} - IMPORTER_MAY_IMPORT
    assert strangers == set()
    # Run as a script, it has no settings: its last line hands the environment to `main`.
    assert [line for line in text.splitlines() if "os.environ" in line] == [
        "    sys.exit(main(sys.argv[1:], os.environ))"
    ]


def test_nothing_names_a_private_machine() -> None:
    # Spelled so that this file passes its own test.
    folders = "|".join(["wo" + "rk", "ro" + "ot", r"home/\w+", r"Users/\w+"])
    private = re.compile(
        rf"(?<![\w.$}}/*-])/(?:{folders})/?(?![\w.])|\b[\w-]+\.(?:internal|corp)\b"
    )
    kinds = {".py", ".md", ".toml", ".conf", ".yml", ".yaml", ".json", ".sh", ".txt", ".cfg", ""}
    found = []
    for folder in ("src", "tests", "scripts", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if "__pycache__" in path.parts or path.suffix not in kinds or not path.is_file():
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if match := private.search(line):
                    found.append(f"{where(path, number)}: {match.group()}")
    assert found == []
