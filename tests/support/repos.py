"""Repos that tests pull: small, but with one file that is large enough for the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopback_hub import Generated, repo

if TYPE_CHECKING:
    from loopback_hub import RepoSpec
    from loopback_hub.repos import Gate, RepoType

ENGINE_SIZE = 5_000_000
"""Bytes; the engine moves it, by several connections."""
SMALL_SIZE = 300_000
"""Bytes; our own client fetches it."""

WEIGHTS = Generated(1, ENGINE_SIZE)


def model(
    repo_id: str = "org/model",
    *,
    repo_type: RepoType = "model",
    gated: Gate | None = None,
    private: bool = False,
) -> RepoSpec:
    """Make a repo of a large LFS file, a small one, plain files, an empty one, and a copy."""
    return repo(
        repo_id,
        {"config.json": b'{"old": true}', "model.safetensors": Generated(2, 4000)},
        {
            "config.json": b'{"model_type": "bert"}',
            "model.safetensors": WEIGHTS,
            "onnx/small.onnx": Generated(3, SMALL_SIZE),
            "onnx/copy/small.onnx": Generated(3, SMALL_SIZE),
            "vocab.txt": b"a\nb\n",
            "empty.txt": b"",
        },
        repo_type=repo_type,
        tags={"v1.0": 0},
        branches={"dev/next": 0},
        pull_requests={1: 0},
        gated=gated,
        private=private,
    )


def one_file(repo_id: str = "org/one", *, size: int = ENGINE_SIZE, seed: int = 11) -> RepoSpec:
    """Make a repo of a single LFS file."""
    return repo(repo_id, {"model.safetensors": Generated(seed, size)})
