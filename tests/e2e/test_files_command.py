"""`hfaria files`, and what `--variant` of a pull brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopback_hub import Generated, repo
from support.cli import refused
from support.trees import assert_clean, assert_holds

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub
    from support.cli import User

QUANTISED = repo(
    "org/name-GGUF",
    {
        "README.md": b"# name\n",
        "name-Q4_K_M.gguf": Generated(1, 40_000),
        "Q8_0/name-Q8_0-00001-of-00002.gguf": Generated(2, 50_000),
        "Q8_0/name-Q8_0-00002-of-00002.gguf": Generated(3, 30_000),
    },
)


@pytest.fixture(autouse=True)
def quantised(hub: LoopbackHub) -> None:
    hub.put_repo(QUANTISED)


def test_the_variants_are_shown_with_what_a_pull_would_bring(user: User) -> None:
    run = user.run("files", QUANTISED.repo_id)
    assert run.code == 0, run.stderr
    assert "  Q4_K_M   40.0 kB  1 file of gguf\n" in run.stdout
    assert "  Q8_0     80.0 kB  2 files of gguf\n" in run.stdout
    assert all(len(line) <= 80 for line in run.stdout.splitlines())
    assert "name-Q4_K_M.gguf" not in run.stdout
    assert "   40.0 kB  name-Q4_K_M.gguf" in user.run("files", QUANTISED.repo_id, "--all").stdout
    assert not user.cache.exists()


def test_the_names_alone_are_for_scripts(user: User) -> None:
    assert user.run("files", QUANTISED.repo_id, "-q").stdout == "Q4_K_M\nQ8_0\n"


def test_a_variant_is_pulled_with_its_shards_and_what_it_needs(
    hub: LoopbackHub, user: User
) -> None:
    run = user.pulled(QUANTISED.repo_id, "--variant", "q8_0")
    wanted = frozenset(file.path for file in QUANTISED.head.files if "Q4" not in file.path)
    assert_holds(run.path, QUANTISED, paths=wanted)
    assert_clean(user.cache)
    hub.reset_records()
    assert user.pulled(QUANTISED.repo_id, "--variant", "Q8_0").path == run.path
    assert hub.file_bytes_sent() == 0


def test_a_variant_that_is_not_there_is_refused_with_the_choices(user: User) -> None:
    run = user.pull(QUANTISED.repo_id, "--variant", "Q5_K_M")
    assert refused(run, 2) == "`Q5_K_M` is no variant of this repo"
    assert run.hint == "it has Q4_K_M, Q8_0"


def test_filenames_and_a_variant_exclude_each_other(user: User) -> None:
    run = user.pull(QUANTISED.repo_id, "README.md", "--variant", "Q8_0")
    assert "can't be combined with `--variant`" in refused(run, 2)
