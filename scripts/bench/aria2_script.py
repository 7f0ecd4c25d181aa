"""What people write themselves: list a repo, hand the URLs to aria2c, and verify nothing."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

from aria2c import ARIA2C


def list_files(endpoint: str, repo_id: str, revision: str) -> list[str]:
    """Return the paths of a repo's files, over all pages of its listing."""
    url: str | None = f"{endpoint}/api/models/{repo_id}/tree/{revision}?recursive=true"
    paths: list[str] = []
    while url is not None:
        with urllib.request.urlopen(url, timeout=30) as answer:
            paths += [entry["path"] for entry in json.load(answer) if entry["type"] == "file"]
            link = re.search(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        url = None if link is None else link[1]
    return paths


def main() -> None:
    """Become aria2c."""
    endpoint, repo_id, revision, dest, connections, jobs = sys.argv[1:]
    lines = [
        f"{endpoint}/{repo_id}/resolve/{revision}/{quote(path)}\n  out={path}\n"
        for path in list_files(endpoint, repo_id, revision)
    ]
    folder = Path(dest)
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder.with_name(f"{folder.name}.input")
    listed.write_text("".join(lines), encoding="utf-8")
    options = [
        *("--no-conf", "--quiet", "-c", "-k1M", "--file-allocation=none", "--no-netrc"),
        *(f"-x{connections}", f"-s{connections}", f"-j{jobs}", f"--dir={dest}"),
        *("-i", str(listed), "--auto-file-renaming=false", "--max-tries=0", "--retry-wait=1"),
    ]
    os.execv(ARIA2C, [str(ARIA2C), *options])


if __name__ == "__main__":
    main()
