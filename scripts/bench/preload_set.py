"""What the benchmarks of `hfaria preload` share: a set of repos, and a run over it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.running import RunningTool
from bench.tools import Job, environment
from loopback_hub import Generated, repo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.options import Options
    from loopback_hub import HubProcess, RepoSpec

SMALL_FILES = 3_500
_LARGE = 100_000_000
_SHARED = 60_000_000


def five_repos(options: Options) -> tuple[tuple[RepoSpec, ...], Generated]:
    """Make five repos of 3,500 files, two of which share a content; return it, too."""
    large, shared = options.scaled(_LARGE), Generated(77, options.scaled(_SHARED))
    count = options.scaled(SMALL_FILES) // 5
    voices: dict[str, Any] = {f"voices/{n:04}.json": b'{"voice": %d}' % n for n in range(count)}
    texts: dict[str, Any] = {f"text/{n:04}.txt": b"text %d" % n for n in range(2 * count)}
    audio: dict[str, Any] = {
        f"audio/{n:04}.flac": Generated(1000 + n, 20_000) for n in range(2 * count)
    }
    return (
        repo(
            "bench/tts",
            {"model.safetensors": Generated(1, large), "tokenizer.model": shared, **voices},
        ),
        repo(
            "bench/vocoder",
            {"vocoder.safetensors": Generated(2, large // 2), "tokenizer.model": shared},
        ),
        repo("bench/tokenizer", {"tokenizer.json": b"{}", "vocab.txt": b"a\nb\n"}),
        repo("bench/text", texts, repo_type="dataset"),
        repo("bench/speech", audio, repo_type="dataset"),
    ), shared


def bytes_of(specs: Sequence[RepoSpec]) -> int:
    """Sum up the contents of a set, each once."""
    return sum({f.blob_name: f.size for spec in specs for f in spec.head.files}.values())


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder with a manifest of all repos, a cache, and nothing else."""

    folder: Path
    hub: HubProcess

    def write_manifest(self, specs: Sequence[RepoSpec]) -> None:
        """Name all repos."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tables = (f'[[repo]]\nid = "{spec.repo_id}"\ntype = "{spec.repo_type}"\n' for spec in specs)
        (self.folder / "hfaria.toml").write_text("\n".join(tables), "utf-8")

    def run(self, *arguments: str) -> float:
        """Run hfaria in the folder, to a good end; return the seconds it took."""
        home = self.folder / "home"
        environ = environment(Job("", self.hub.url(), self.cache), home)
        environ["HF_HUB_CACHE"] = str(self.cache)
        program = str(Path(sys.executable).with_name("hfaria"))
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        with RunningTool([program, *arguments], environ=environ, log=log) as run:
            return run.finish()

    @property
    def cache(self) -> Path:
        """Where the repos go."""
        return self.folder / "cache"

    def document(self) -> dict[str, Any]:
        """Return what the last run printed with `--json`, after whatever else it said."""
        text = (self.folder / "log").read_text("utf-8")
        document: dict[str, Any] = json.loads(text[text.index("{\n") :])
        return document
