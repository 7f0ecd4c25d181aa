"""What the documentation says is so: commands, flags, codes, settings, documents, links."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import hfaria
from hfaria import errors, settings
from hfaria.cli.main import cli
from hfaria.errors import ExitCode, HfariaError
from hfaria.project.lock_file import load_lock
from hfaria.project.manifest_file import load_manifest
from hfaria.rules import lock, preload, proxies, receipt
from hfaria.rules.config_keys import CONFIG_KEYS
from hfaria.rules.endpoints import KNOWN_MIRRORS
from hfaria.rules.jobs import JobState
from hfaria.rules.manifest import DEFAULTS_KEYS, MANIFEST_NAME, REPO_KEYS
from hfaria.rules.selection import make_selection
from hfaria.rules.spec import RepoType, parse_reference
from loopback_hub import Generated, LoopbackHub, repo
from loopback_hub.__main__ import _parser as hub_parser
from loopback_hub.builders import REAL_MODEL_ID
from loopback_hub.faults import EFFECTS
from support.cli import user_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from support.cli import User

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_VARIABLE = re.compile(r"\bHFARIA_[A-Z0-9_]+\b")
# What ends a command in a shell, as shlex tells words apart.
_SHELL_WORDS = frozenset({";", "|", "||", "&", "&&", "do", "done", "then", "fi"})


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, its subsections included."""
    level, _, _ = heading.partition(" ")
    rest = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row, without head and rule."""
    lines = [line.strip() for line in text.splitlines()]
    is_rule = [set(line) <= set("|- ") and line.startswith("|") for line in lines]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if line.startswith("|")
        and not is_rule[number]
        and not (number + 1 < len(lines) and is_rule[number + 1])
    ]


def codes_in(cells: Iterable[str]) -> list[str]:
    return [code for cell in cells for code in _CODE.findall(cell)]


def keys_in(text: str) -> set[str]:
    """Return every code in the first column."""
    return set(codes_in(row[0] for row in rows(text)))


def first_words(text: str) -> set[str]:
    """Return the first word of every code in the first column: option or key, without value."""
    return {code.split()[0] for code in codes_in(row[0] for row in rows(text))}


# --- the command line -----------------------------------------------------------------------------


def commands(group: click.Command, path: str = "hfaria") -> Iterator[tuple[str, click.Command]]:
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, f"{path} {name}")


COMMANDS = dict(commands(cli))


def options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter


def test_every_command_has_a_section_and_every_section_is_a_command() -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    headings = {heading for heading in _HEADING.findall(text) if heading.startswith("hfaria")}
    assert headings == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_options_that_exist_are_those_that_are_documented(path: str) -> None:
    documented = section((REFERENCE / "cli.md").read_text(encoding="utf-8"), f"## {path}")
    existing = {
        name
        for option in options(COMMANDS[path])
        for name in (*option.opts, *option.secondary_opts)
    }
    assert first_words(documented) == existing


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ("--reserve", settings.DEFAULT_RESERVE),
        ("--connections", settings.DEFAULT_CONNECTIONS),
        ("--jobs", settings.DEFAULT_JOBS),
        ("--patience", int(settings.DEFAULT_PATIENCE_SECONDS)),
    ],
)
def test_a_documented_default_is_the_default(option: str, default: object) -> None:
    text = section((REFERENCE / "cli.md").read_text(encoding="utf-8"), "## hfaria pull")
    found = [row[1] for row in rows(text) if option in first_words(f"\n|{row[0]}|\n")]
    meanings = [each for each in found if "as for `hfaria pull`" not in each]
    assert meanings
    assert [each for each in meanings if f"Default: `{default}`." not in each] == []


# --- exit codes and errors ------------------------------------------------------------------------


def exit_codes_in(text: str) -> dict[int, str]:
    return {int(row[0]): row[1] for row in rows(text) if row[0].isdecimal()}


@pytest.mark.parametrize("page", [ROOT / "README.md", REFERENCE / "exit-codes.md"], ids=name_of)
def test_the_exit_codes_of_a_page_are_those_of_the_tool(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert exit_codes_in(text) == {code.value: code.meaning for code in ExitCode}


def error_classes() -> dict[str, int]:
    return {
        name: int(kind.exit_code)
        for module in (errors, lock, preload, receipt)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, HfariaError) and kind is not HfariaError
    }


def test_documented_errors_exist_and_end_with_the_code_that_is_named() -> None:
    text = section((REFERENCE / "python-api.md").read_text(encoding="utf-8"), "## Errors")
    documented = {_CODE.findall(row[0])[0]: int(row[1]) for row in rows(text)}
    assert documented.items() <= error_classes().items()
    assert {code.value for code in ExitCode} - set(documented.values()) == {0, 1, 8, 130}


def test_every_error_in_the_table_of_faults_exists() -> None:
    text = section((ROOT / "docs" / "design.md").read_text(encoding="utf-8"), "## Faults")
    named = {code for code in codes_in(row[1] for row in rows(text)) if code.isalpha()}
    assert named
    assert named <= set(error_classes())


# --- the manifest and the lock --------------------------------------------------------------------


def test_the_keys_of_the_manifest_and_of_the_lock_are_those_that_are_documented() -> None:
    text = (REFERENCE / "manifest.md").read_text(encoding="utf-8")
    assert keys_in(section(text, "## The manifest")) == {*REPO_KEYS}
    assert keys_in(section(text, "## The lock")) == {*lock.LOCK_KEYS, "version"}
    assert {*REPO_KEYS} - {*DEFAULTS_KEYS} == {"id", "variant"}


def test_the_manifest_and_the_lock_that_are_shown_can_be_read(tmp_path: Path) -> None:
    text = (REFERENCE / "manifest.md").read_text(encoding="utf-8")
    manifest, locked = (block for language, block in _FENCE.findall(text) if language == "toml")
    (tmp_path / "hfaria.toml").write_text(manifest, encoding="utf-8")
    (tmp_path / "hfaria.lock").write_text(locked, encoding="utf-8")
    assert len(load_manifest(tmp_path / "hfaria.toml").repos) == 3
    assert load_lock(tmp_path / "hfaria.lock") is not None


# --- settings -------------------------------------------------------------------------------------


def read_by_the_package() -> set[str]:
    sources = (ROOT / "src").rglob("*.py")
    return {name for path in sources for name in _VARIABLE.findall(path.read_text("utf-8"))}


def test_the_variables_that_are_read_are_those_that_are_documented() -> None:
    text = section(
        (REFERENCE / "configuration.md").read_text(encoding="utf-8"), "## Environment variables"
    )
    documented = {name for name in first_words(text) if name.startswith("HFARIA_")}
    assert documented == read_by_the_package()


def test_no_page_names_a_variable_that_nobody_reads() -> None:
    named = {name for page in PAGES for name in _VARIABLE.findall(page.read_text("utf-8"))}
    assert named <= read_by_the_package()


def test_documented_variables_of_others_are_read_too() -> None:
    text = _FENCE.sub("", (REFERENCE / "configuration.md").read_text(encoding="utf-8"))
    named = {name for name in codes_in([text]) if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", name)}
    source = inspect.getsource(settings) + inspect.getsource(proxies)
    elsewhere = {"XDG_STATE_HOME"}  # platformdirs reads it for us
    assert {name for name in named if f'"{name}"' not in source} == elsewhere


def test_the_config_keys_that_exist_are_those_that_are_documented() -> None:
    text = section(
        (REFERENCE / "configuration.md").read_text(encoding="utf-8"), "## The config file"
    )
    assert first_words(text) == set(CONFIG_KEYS)


def test_the_example_of_a_config_file_is_accepted(tmp_path: Path) -> None:
    text = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
    (example,) = [block for kind, block in _FENCE.findall(text) if kind == "toml"]
    (tmp_path / "config.toml").write_text(example, encoding="utf-8")
    environ = {"HFARIA_CONFIG": str(tmp_path / "config.toml")}
    loaded = settings.load_settings(settings.Overrides(), environ)
    assert loaded.endpoint.url == "https://hf-mirror.com"


# --- the Python function, and the loopback Hub ----------------------------------------------------


def test_the_arguments_of_the_python_function_are_those_that_are_documented() -> None:
    text = (REFERENCE / "python-api.md").read_text(encoding="utf-8")
    documented = first_words(section(text, "## `hfaria.pull(reference, *, ...) -> Receipt`"))
    assert documented == set(inspect.signature(hfaria.pull).parameters)


def test_the_fields_of_the_receipt_that_are_documented_exist() -> None:
    text = section((REFERENCE / "python-api.md").read_text("utf-8"), "## `hfaria.Receipt`")
    sentence = re.sub(r"\([^)]*\)", "", text)  # what the spec has, and links
    missing = [name for name in _CODE.findall(sentence) if name not in dir(receipt.Receipt)]
    assert missing == []


def test_the_effects_of_the_loopback_hub_are_those_that_are_documented() -> None:
    text = (REFERENCE / "loopback-hub.md").read_text(encoding="utf-8")
    assert first_words(section(text, "## Faults")) == set(EFFECTS)


def test_the_options_of_the_loopback_hub_are_those_that_are_documented() -> None:
    text = (REFERENCE / "loopback-hub.md").read_text(encoding="utf-8")
    shown = hub_parser().format_help()
    existing = set(re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE))
    assert first_words(section(text, "## By hand")) == existing


# --- links and examples ---------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the fragments under which a page's headings are found."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_internal_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme() -> None:
    links = _LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links if "://" not in link}
    assert {page for page in PAGES if page.name != "README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_compile(page: Path) -> None:
    for kind, block in _FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            compile(block, page.name, "exec")


def test_scripts_that_are_shown_can_be_run() -> None:
    shown = {
        word
        for page in PAGES
        for _, block in _FENCE.findall(page.read_text(encoding="utf-8"))
        for word in re.findall(r"^\./scripts/\w+", block, re.MULTILINE)
    }
    assert shown
    assert [name for name in sorted(shown) if not (ROOT / name).stat().st_mode & 0o100] == []


def hfaria_commands(pages: Iterable[Path]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield every `hfaria` command shown in a shell block: its variables and its arguments."""
    for page in pages:
        for kind, block in _FENCE.findall(page.read_text(encoding="utf-8")):
            if kind != "sh":
                continue
            for line in block.splitlines():
                yield from in_line(line)


def in_line(line: str) -> Iterator[tuple[dict[str, str], list[str]]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=";|&")
    words.whitespace_split = True
    before: list[str] = []
    arguments: list[str] | None = None
    for word in words:
        if arguments is None and word == "hfaria":
            arguments = []
        elif arguments is None:
            before.append(word)
        elif word in _SHELL_WORDS:
            break
        else:
            arguments.append(word)
    if arguments is not None:
        yield dict(word.split("=", 1) for word in before if "=" in word), arguments


# The same command may be shown twice.
SHOWN = list(
    {
        shlex.join([*environ, *arguments]): (environ, arguments)
        for environ, arguments in hfaria_commands([*GUIDES, *sorted(REFERENCE.glob("*.md"))])
    }.values()
)
# These need another machine, another Hub or a file of the user's: read, but not run.
_ELSEWHERE = ("http://", "https://", "/", "~", "meta-llama/", *KNOWN_MIRRORS)


def is_runnable(environ: Mapping[str, str], arguments: list[str]) -> bool:
    if arguments[0] != "pull":
        return False  # sticks, and files that come back from elsewhere
    return not any(word.startswith(_ELSEWHERE) for word in (*environ.values(), *arguments))


def shown_id(shown: tuple[dict[str, str], list[str]]) -> str:
    return " ".join([*shown[0], *shown[1]])


def parsed(arguments: list[str]) -> tuple[click.Command, dict[str, object]]:
    """Return the command that is meant, and its parameters; raises if click refuses them."""
    command: click.Command = cli
    rest = list(arguments)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest.pop(0))
        assert found is not None
        command = found
    return command, command.make_context(command.name, rest).params


@pytest.mark.parametrize("shown", SHOWN, ids=shown_id)
def test_a_shown_command_is_understood(shown: tuple[dict[str, str], list[str]]) -> None:
    command, _ = parsed(shown[1])
    assert command is not cli


@pytest.mark.parametrize("shown", [one for one in SHOWN if one[1][0] == "pull"], ids=shown_id)
def test_what_a_shown_pull_names_can_be(
    shown: tuple[dict[str, str], list[str]], tmp_path: Path
) -> None:
    environ = shown[0]
    context = COMMANDS["hfaria pull"].make_context("pull", shown[1][1:])
    given = context.params
    kind = given["repo_type"]
    _, names = parse_reference(
        given["reference"],
        repo_type=None if kind is None else RepoType(kind),
        revision=given["revision"],
        filenames=given.get("filenames", ()),
    )
    _, warning = make_selection(
        names=names, include=given.get("include", ()), exclude=given.get("exclude", ())
    )
    _, warning = make_selection(
        names=names, include=given["include"], exclude=given["exclude"], variant=given["variant"]
    )
    assert warning is None
    overrides = settings.Overrides(
        endpoints=given["endpoints"],
        use_origin=given["use_origin"],
        stale=given.get("stale"),
        trusted_endpoints=given["trusted_endpoints"],
        patience=given.get("patience"),
    )
    config = tmp_path / "config.toml"
    config.touch()
    assert settings.load_settings(overrides, {"HFARIA_CONFIG": str(config), **environ}).endpoints


# What the project of somebody who reads the guides holds.
PROJECT = """\
[[repo]]
id = "our-org/tts"
revision = "v1.2"
groups = ["serve"]

[[repo]]
id = "our-org/speech"
type = "dataset"
"""


@pytest.fixture(scope="module")
def documented_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user of a hub that has the repos that the guides name."""
    paths = ("config.json", "tokenizer.json", "1_Pooling/config.json", "train/a")
    files: dict[str, Generated] = {path: Generated(1, 100) for path in paths}
    model = {**files, "model.safetensors": Generated(1, 5_000_000)}
    tags, requests = {"v1.0": 0}, {1: 0}
    with LoopbackHub() as hub:
        for spec in (
            repo(REAL_MODEL_ID, files, tags=tags, pull_requests=requests),
            repo("org/name", model),
            repo("org/name", files, repo_type="dataset", tags=tags),
            repo("our-org/tts", model, tags={"v1.2": 0}),
            repo("our-org/speech", {"clean/a.txt": b"a"}, repo_type="dataset"),
        ):
            hub.put_repo(spec)
        user = user_of(hub, tmp_path_factory.mktemp("reader"))
        # What the guides do offline was pulled before.
        user.pulled(REAL_MODEL_ID)
        (user.home / MANIFEST_NAME).write_text(PROJECT, encoding="utf-8")
        run = user.run("preload", str(user.home / MANIFEST_NAME))
        assert run.code == 0, run.stderr
        yield user


@pytest.mark.aria2
@pytest.mark.parametrize("shown", [shown for shown in SHOWN if is_runnable(*shown)], ids=shown_id)
def test_a_shown_command_does_what_it_says(
    shown: tuple[dict[str, str], list[str]], documented_hub: User, tmp_path: Path
) -> None:
    environ, arguments = shown
    for name in (MANIFEST_NAME, "hfaria.lock"):
        (tmp_path / name).write_bytes((documented_hub.home / name).read_bytes())
    ended = subprocess.run(
        [sys.executable, "-m", "hfaria", *arguments],
        env={**documented_hub.environ, **environ},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.aria2
@pytest.mark.parametrize(
    ("heading", "arguments"),
    [
        ("## The receipt: `hfaria pull --json`", ["pull", "org/name", "--json"]),
        (
            "## The plan: `hfaria pull --dry-run --json`",
            ["pull", "org/name", "--dry-run", "--json"],
        ),
        ("## The set: `hfaria preload --json`", ["preload", MANIFEST_NAME, "--json"]),
        (
            "## The set's plan: `hfaria preload --dry-run --json`",
            ["preload", MANIFEST_NAME, "--dry-run", "--json"],
        ),
        ("## The lock: `hfaria lock --json`", ["lock", "--manifest", MANIFEST_NAME, "--json"]),
        ("## The groups: `hfaria files --json`", ["files", "org/name", "--json"]),
        ("## The cache: `hfaria ls --json`", ["ls", "--json"]),
        ("## The findings: `hfaria verify --json`", ["verify", "--json"]),
        ("## The repair: `hfaria repair --json`", ["repair", "--json"]),
        ("## The comparison: `hfaria outdated --json`", ["outdated", "--json"]),
        ("## The leftovers: `hfaria clean --json`", ["clean", "--json"]),
    ],
)
def test_the_keys_of_a_json_document_are_those_that_are_documented(
    heading: str, arguments: list[str], documented_hub: User
) -> None:
    manifest = str(documented_hub.home / MANIFEST_NAME)
    run = documented_hub.run(*(manifest if word == MANIFEST_NAME else word for word in arguments))
    assert run.code == 0, run.stderr
    document = json.loads(run.stdout)
    text = (REFERENCE / "json.md").read_text(encoding="utf-8")
    assert first_words(section(text, heading)) == set(document)


def test_the_keys_of_the_endpoints_are_those_that_are_documented(documented_hub: User) -> None:
    run = documented_hub.run("mirrors", "org/name", "--json")
    assert run.code == 0, run.stderr
    heading = "## The endpoints: `hfaria mirrors --json`"
    text = section((REFERENCE / "json.md").read_text(encoding="utf-8"), heading)
    whole, each = text.split("Each of `endpoints`:")
    assert keys_in(whole) == set(run.document)
    assert keys_in(each) == set(run.document["endpoints"][0])


@pytest.mark.aria2
def test_the_keys_of_the_jobs_are_those_that_are_documented(documented_hub: User) -> None:
    begun = documented_hub.run("pull", "our-org/tts", "--revision", "v1.2", "--detach", "--json")
    assert {*begun.document} == {"job", "log"}
    run = documented_hub.run("status", "--json")
    heading = "## The jobs: `hfaria status --json`"
    text = section((REFERENCE / "json.md").read_text(encoding="utf-8"), heading)
    whole, each = text.split("Each of `jobs`:")
    assert keys_in(whole) == set(run.document)
    assert keys_in(each) == set(run.document["jobs"][0])


def test_the_states_of_jobs_are_those_that_are_documented() -> None:
    text = section((REFERENCE / "cli.md").read_text(encoding="utf-8"), "## hfaria status")
    states = {row[0] for row in rows(text) if not row[0].startswith("`")}
    assert states == {state.value for state in JobState}


@pytest.mark.aria2
def test_the_keys_of_the_check_up_are_those_that_are_documented(documented_hub: User) -> None:
    run = documented_hub.run("doctor", "org/name", "--json")
    assert run.code == 0, run.stderr
    heading = "## The check-up: `hfaria doctor --json`"
    text = section((REFERENCE / "json.md").read_text(encoding="utf-8"), heading)
    assert keys_in(text) == set(run.document)
    assert set(run.document["checks"][0]) <= set(codes_in([text]))


@pytest.mark.aria2
def test_the_checks_that_are_made_are_those_that_are_documented(documented_hub: User) -> None:
    text = section((REFERENCE / "cli.md").read_text(encoding="utf-8"), "## hfaria doctor")
    table = rows(text.split("| check |")[1].join(["| check |", ""]))
    documented = {name for row in table for name in row[0].split(", ")}
    made = {check["name"] for check in documented_hub.run("doctor", "--json").document["checks"]}
    assert made | {"tls"} == documented  # the loopback Hub speaks plain HTTP here


@pytest.mark.aria2
@pytest.mark.parametrize(
    ("heading", "arguments"),
    [
        ("## A bundle's plan: `hfaria bundle create --plan-only --json`", ["--plan-only"]),
        ("## A bundle: `hfaria bundle create --json`", []),
    ],
)
def test_the_keys_of_a_bundles_document_are_those_that_are_documented(
    heading: str, arguments: list[str], documented_hub: User, tmp_path: Path
) -> None:
    command = ["bundle", "create", "org/name", "--to", str(tmp_path), "--json", *arguments]
    run = documented_hub.having(HFARIA_STATE_DIR=str(tmp_path / "state")).run(*command)
    assert run.code == 0, run.stderr
    text = (REFERENCE / "json.md").read_text(encoding="utf-8")
    assert first_words(section(text, heading)) == set(run.document)
