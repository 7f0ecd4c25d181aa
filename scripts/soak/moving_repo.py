"""A repo that moves on: every push replaces some files, adds one and takes one away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopback_hub import BytesContent, Content, Generated, RepoSpec, repo

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from loopback_hub import Commit

REPO_ID = "soak/mixed"


class MovingRepo:
    """All commits so far; sizes and contents follow from the dice alone."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._seed = dice.randrange(1 << 30)
        self._files: dict[str, Content | bytes | str | Path] = {
            "config.json": b'{"model_type": "llama"}',
            "empty.txt": b"",
            "same/one.bin": Generated(self._seed, 300_000),
            "same/two.bin": Generated(self._seed, 300_000),
        }
        for number in range(5):
            self._put(f"model-{number}.safetensors", 2_000_000, 7_000_000)
        for number in range(3):
            self._put(f"tables/part-{number}.json", 100_000, 900_000)
        for number in range(40):
            self._put(f"notes/{number % 4}/note-{number}.txt", 200, 60_000)
        self._commits = [dict(self._files)]
        self.spec = self._made()

    @property
    def head(self) -> Commit:
        """What `main` names now."""
        return self.spec.head

    @property
    def commits(self) -> dict[str, Commit]:
        """All commits by their ids."""
        return {commit.commit_id: commit for commit in self.spec.commits}

    def push(self) -> None:
        """Make another commit."""
        names = sorted(self._files)
        models = [name for name in names if name.startswith("model-")]
        notes = [name for name in names if name.startswith("notes/")]
        for name in self._dice.sample(models, 3):
            self._put(name, 2_000_000, 7_000_000)
        for name in self._dice.sample(notes, 10):
            self._put(name, 200, 60_000)
        del self._files[self._dice.choice(notes)]
        self._put(f"notes/new-{len(self._commits)}.txt", 200, 60_000)
        self._files["config.json"] = BytesContent(b'{"commit": %d}' % len(self._commits))
        self._commits.append(dict(self._files))
        self.spec = self._made()

    def _put(self, name: str, least: int, most: int) -> None:
        self._seed += 1
        self._files[name] = Generated(self._seed, self._dice.randint(least, most))

    def _made(self) -> RepoSpec:
        return repo(REPO_ID, *self._commits)
