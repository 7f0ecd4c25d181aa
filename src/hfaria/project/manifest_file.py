"""Read `hfaria.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.errors import ManifestNotFound
from hfaria.project.toml import faults_of, parse, read_text
from hfaria.rules.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from pathlib import Path


def load_manifest(path: Path) -> Manifest:
    """Read a manifest; raises `ManifestNotFound`, or `InvalidManifest` with line and key."""
    text = read_text(path)
    if text is None:
        raise ManifestNotFound(f"there is no manifest `{path}`")
    return understand(text, path)


def understand(text: str, path: Path) -> Manifest:
    """Make the values of a manifest's text, found at ``path``."""
    document = parse(text, path)
    with faults_of(text, path):
        return read_manifest(document)
