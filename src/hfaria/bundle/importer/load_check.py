"""Let huggingface_hub load what was imported."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.errors import INTEGRITY, BundleError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfaria.bundle.importer.console import Console

_LOAD_CHECK = """
import sys
try:
    from huggingface_hub import snapshot_download
except ImportError:
    sys.exit(77)
cache, kind, repo_id, revision = sys.argv[1:]
print(snapshot_download(repo_id, repo_type=kind, revision=revision, cache_dir=cache))
"""


def load_check(
    document: dict[str, Any], cache: str, environ: Mapping[str, str], console: Console
) -> BundleError | None:
    """Let huggingface_hub load each ref that is ready, offline, in a process of its own."""
    for item in document["ready"]:
        for revision in item["refs"] or [item["commit"]]:
            name = f"{item['type']} {item['id']} @ {revision}"
            ended = subprocess.run(
                [sys.executable, "-c", _LOAD_CHECK, cache, item["type"], item["id"], revision],
                env={**environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            if ended.returncode == 77:
                console.say("note: huggingface_hub is not installed here: nothing was loaded")
                return None
            if ended.returncode:
                last = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
                reason = shown(last[0][:300])[1:-1] if last else f"code {ended.returncode}"
                hint = "all bytes are right; look at the version of huggingface_hub"
                return BundleError("E-LOAD", INTEGRITY, f"{name} does not load: {reason}", hint)
            console.say(f"loads: {name}")
    return None
