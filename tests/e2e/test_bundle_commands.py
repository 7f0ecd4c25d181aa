"""`hfaria bundle inspect`, `verify`, `import` and `hfaria inventory`, as the user meets them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.bundle.importer.inventory import parse_inventory
from support.cli import refused
from support.importing import IMPORTER
from support.sticks import COMMIT, MODEL_FILES, model_set, one_stick, several_sticks
from support.trees import assert_clean

if TYPE_CHECKING:
    from support.cli import User

PYTHONS = (3, 8), (3, 9), (3, 10), (3, 11), (3, 12), (3, 13), (3, 14)


def test_sticks_are_inspected_verified_and_imported(user: User, tmp_path: Path) -> None:
    bags = several_sticks(tmp_path, model_set(), 2)
    media = [str(bag.parent) for bag in bags]  # a mount point does, too
    looked = user.run("bundle", "inspect", *media, "--files")
    assert looked.code == 0
    assert f"{COMMIT} main  6 files, 2.9 MB, complete" in looked.stdout
    assert "signature UNSIGNED" in looked.stderr
    assert user.run("bundle", "verify", *media).code == 0
    first = user.run("bundle", "import", media[1], "--reserve", "0")
    assert refused(first, 3).startswith("E-MISSING")
    assert bags[0].name in first.hint
    second = user.run("bundle", "import", media[0], "--reserve", "0", "--load-check")
    assert second.code == 0, second.stderr
    assert "loads: model org/model @ main" in second.stderr
    assert second.stdout.startswith(f"ready: HF_HUB_CACHE={user.cache} HF_HUB_OFFLINE=1")
    assert_clean(user.cache)


def test_json_is_all_that_stdout_holds(user: User, tmp_path: Path) -> None:
    bags = several_sticks(tmp_path, model_set(), 2)
    looked = user.run("bundle", "inspect", str(bags[0]), "--json").document
    assert (looked["sticks"], looked["of"], looked["repos"][0]["id"]) == ([1], 2, "org/model")
    verified = user.run("bundle", "verify", str(bags[0]), "--json").document
    assert (verified["bad"], verified["extra"]) == ([], [])
    part = user.run("bundle", "import", str(bags[0]), "--reserve", "0", "--json")
    assert part.code == 3
    assert part.document["ready"] == []
    assert part.document["missing"]
    done = user.run("bundle", "import", str(bags[1]), "--reserve", "0", "--json").document
    assert done["missing"] == []
    assert done["receipt"].startswith("HFR1-")
    (ready,) = done["ready"]
    assert Path(ready["path"], "config.json").read_bytes() == MODEL_FILES["config.json"]


def test_an_inventory_names_what_is_here_or_only_hashes(user: User, tmp_path: Path) -> None:
    user.run("bundle", "import", str(one_stick(tmp_path, model_set())), "--reserve", "0")
    for options, is_named in (((), True), (("--hashes-only",), False)):
        output = tmp_path / "inventory.json"
        assert user.run("inventory", "-o", str(output), *options).code == 0
        text = output.read_bytes()
        assert (b"org/model" in text, b"main" in text) == (is_named, is_named)
        assert len(parse_inventory(text).blobs) == len(set(MODEL_FILES.values()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bundle inspect", "Missing argument"),
        ("bundle inspect nowhere", "E-NOBUNDLE"),
        ("bundle import nowhere --reserve many", "E-USAGE"),
        ("bundle import nowhere --not-before soon", "E-USAGE"),
        ("bundle import nowhere --mode steal", "steal"),
        ("bundle verify .", "E-NOBUNDLE"),
        ("inventory", "Missing option"),
        ("inventory -o x", "E-CACHE"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = user.run(*words.split())
    assert (ended.code, said in ended.stderr) == (2, True), ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_cache_may_not_lie_on_the_stick(user: User, tmp_path: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    ended = user.run("bundle", "import", str(bag), "--cache", str(bag / "data" / "hub"))
    assert refused(ended, 2).startswith("E-CACHE")


# --- the script by itself ------------------------------------------------------------------------


def pythons() -> list[str]:
    """Return every Python that is at hand, by version; the one that runs the tests at least."""
    found = {sys.version_info[:2]: sys.executable}
    homes = Path.home().glob(".pyenv/versions/*/bin")
    folders = [*map(Path, os.environ["PATH"].split(":")), *homes]
    for version in PYTHONS:
        for folder in folders:
            python = folder / f"python{version[0]}.{version[1]}"
            works = (
                python.exists()
                and not subprocess.run(
                    [str(python), "-I", "-S", "-c", ""], capture_output=True, check=False
                ).returncode
            )
            if works:
                found.setdefault(version, str(python))
    return [found[version] for version in sorted(found)]


@pytest.mark.parametrize("python", pythons())
def test_the_selftest_passes_on_every_python_at_hand(python: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [python, "-I", "-S", str(IMPORTER), "--selftest"],
        capture_output=True,
        text=True,
        check=False,
        env={"TMPDIR": str(tmp_path)},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("selftest ok: Python 3.")
    assert list(tmp_path.iterdir()) == []


def test_the_script_on_a_stick_finds_its_own_stick(user: User, tmp_path: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    script = bag / "import_bundle.py"
    script.write_bytes(IMPORTER.read_bytes())
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(script), "import", "--reserve", "0"],
        env=user.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert_clean(user.cache)


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_a_console_without_unicode_gets_ascii(tmp_path: Path, locale: str) -> None:
    bag = one_stick(tmp_path / "stick-ü", model_set())
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8=0", str(IMPORTER), "inspect", str(bag), "--files"],
        env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert b"sub dir/deep/\\xfc.txt" in ended.stdout


def test_on_a_terminal_one_line_is_drawn_over(tmp_path: Path) -> None:
    bag = one_stick(tmp_path, model_set())
    master, slave = pty.openpty()
    words = ["import", str(bag), "--cache", str(tmp_path / "hub"), "--reserve", "0"]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(IMPORTER), *words], stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        seen = b""
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            if select.select([master], [], [], 0.05)[0]:
                try:
                    seen += os.read(master, 1 << 16)
                except OSError:  # the terminal's other end is closed
                    break
    os.close(master)
    assert process.returncode == 0
    lines = seen.decode().replace("\r\n", "\n").splitlines()
    assert any(line.startswith("ready: ") for line in lines), lines
    assert any("2.2 MB of 2.2 MB" in line for line in lines), lines
