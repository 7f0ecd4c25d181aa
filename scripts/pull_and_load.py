"""Pull a repo with the installed hfaria, then load it offline: what `scripts/demo` shows.

Without arguments the repo is a real model on a loopback Hub that ends with this process. With
arguments they go to ``hfaria pull``, and the environment says which Hub is asked.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from loopback_hub import HubProcess
from loopback_hub.builders import REAL_MODEL_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT = Path(__file__).resolve().parent.parent
_CACHE = _ROOT / "cache_hub"
_HUB_ARGUMENTS = ("--repo", "real", "--rate-total", "40M", "--latency-ms", "20")
_DESTINATIONS = ("--dest", "--cache-dir", "--local-dir")
_REPO_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space", "kernels": "kernel"}
_PATIENCE_SECONDS = 15.0


def main() -> int:
    """Pull, then load; return the exit code."""
    signal.signal(signal.SIGTERM, _end)
    given = sys.argv[1:]
    try:
        with ExitStack() as stack:
            if given:
                printed = _pull(given, os.environ)
            else:
                hub = stack.enter_context(HubProcess(arguments=_HUB_ARGUMENTS))
                _say(f"a Hub on loopback serves the real model at {hub.url()}")
                printed = _pull([REAL_MODEL_ID], _loopback_environ(hub.url()))
    except subprocess.CalledProcessError as exc:
        return exc.returncode
    except KeyboardInterrupt:
        return 130
    lines = printed.splitlines()
    snapshot = Path(lines[-1]) if lines else None
    if snapshot is not None and snapshot.parent.name == "snapshots":
        _load(snapshot)
    else:
        sys.stdout.write(printed)
    return 0


def _loopback_environ(url: str) -> dict[str, str]:
    """Return the environment for a pull that knows the loopback Hub and no token of the user."""
    environ = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    environ.update(HF_ENDPOINT=url, HFARIA_ORIGIN=url, HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    environ.setdefault("HFARIA_RESERVE", "1GB")
    environ.pop("HF_HUB_OFFLINE", None)
    return environ


def _pull(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Run ``hfaria pull`` and return what it printed on stdout; its progress is on stderr."""
    command = ["hfaria", "pull", *arguments]
    if not any(argument.split("=")[0] in _DESTINATIONS for argument in arguments):
        command += ["--dest", str(_CACHE)]
    _say(f"$ {shlex.join(command)}")
    program = Path(sys.executable).with_name("hfaria")
    with subprocess.Popen(
        [program, *command[1:]], env=dict(environ), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            printed, _ = process.communicate()
        except KeyboardInterrupt:
            _let_end(process)  # the terminal interrupted it, too
            raise
        except SystemExit:
            process.terminate()
            _let_end(process)
            raise
    if process.returncode:
        sys.stdout.write(printed)
        raise subprocess.CalledProcessError(process.returncode, command)
    return printed


def _let_end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()


def _load(snapshot: Path) -> None:
    """Load a snapshot as an offline machine does: by name, with the installed huggingface_hub."""
    # Read when huggingface_hub is imported.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    repo_folder = snapshot.parent.parent
    kind, _, name = repo_folder.name.partition("--")
    try:
        found = snapshot_download(
            name.replace("--", "/"),
            repo_type=_REPO_TYPES[kind],
            revision=snapshot.name,
            cache_dir=repo_folder.parent,
        )
    except LocalEntryNotFoundError:
        _say("only a part of the repo is here, so it isn't loaded as a whole")
        print(snapshot)
        return
    files = [path for path in Path(found).rglob("*") if path.is_file()]
    tensors = sum(_count_tensors(path) for path in files if path.suffix == ".safetensors")
    for path in files:
        if path.name == "tokenizer.json":
            json.loads(path.read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in files)
    what = f"{tensors} tensors, " if tensors else ""
    print(f"loads offline: {what}{len(files)} files, {size / 1e6:.1f} MB")
    print(found)


def _count_tensors(path: Path) -> int:
    """Read a safetensors header and check it against the file's size."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    end = max((entry["data_offsets"][1] for entry in tensors), default=0)
    if 8 + length + end != path.stat().st_size:
        raise ValueError(f"`{path}` is not as long as its header says")
    return len(tensors)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _end(number: int, frame: object) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
