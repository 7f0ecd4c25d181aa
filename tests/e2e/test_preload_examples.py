"""What the guide on preloading shows for schedulers: it can be read, and its commands exist."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from hfaria.cli.main import cli

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "preload.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(GUIDE.read_text(encoding="utf-8"))


def blocks(kind: str) -> list[str]:
    return [block for language, block in BLOCKS if language == kind]


def understand(words: list[str]) -> None:
    program, command, *arguments = words
    assert program.rpartition("/")[2] == "hfaria"
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    found.make_context(command, arguments)


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    spec = document["spec"]
    pod = spec.get("template", {}).get("spec", spec)
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("block", blocks("yaml"))
def test_kubernetes_is_told_commands_that_exist(block: str) -> None:
    document = yaml.safe_load(block)
    commands = [each["command"] for each in containers(document) if "command" in each]
    assert commands
    for command in commands:
        understand(command)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_volume_that_is_mounted_is_there(block: str) -> None:
    document = yaml.safe_load(block)
    pod = document["spec"].get("template", {}).get("spec", document["spec"])
    mounted = {m["name"] for each in containers(document) for m in each["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_systemd_is_told_a_command_that_exists() -> None:
    service, timer = blocks("ini")
    unit = configparser.RawConfigParser(strict=True)
    unit.read_string(service)
    understand(shlex.split(unit["Service"]["ExecStart"]))
    assert unit["Service"]["Type"] == "oneshot"
    unit = configparser.RawConfigParser(strict=True)
    unit.read_string(timer)
    assert set(unit.sections()) == {"Unit", "Timer", "Install"}


def test_cron_is_told_a_command_that_exists() -> None:
    (line,) = [line for block in blocks("") for line in block.splitlines() if "hfaria" in line]
    understand(shlex.split(line.partition("&&")[2]))
