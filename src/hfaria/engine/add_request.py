"""What aria2 is told when a transfer is added, and what it must never be told."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfaria.engine.metalink import encode_metalink

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LONGEST_NAME = 243  # with a longer one aria2 writes no control file, and says nothing
_MOST_CONNECTIONS = 16
_MIB = 1024 * 1024
_GID = re.compile(r"[0-9a-f]{16}")

# Credentials would follow every redirect; the others would override what resuming rests on.
_FORBIDDEN_OPTIONS = frozenset(
    {
        *("header", "http-user", "http-passwd", "referer", "load-cookies", "checksum"),
        *("gid", "dir", "out", "continue", "allow-overwrite", "auto-file-renaming"),
        *("remove-control-file", "file-allocation", "check-certificate"),
    }
)


@dataclass(frozen=True, slots=True)
class AddRequest:
    """One transfer for aria2. Call `prepare_partial` on its file right before adding it.

    With a ``size`` all of its GETs have a range, the first ones too.
    """

    gid: str
    uris: tuple[str, ...]
    directory: Path
    out: str
    size: int | None = None
    split: int = 8
    connections: int = 8
    min_split_size: int = _MIB
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not _GID.fullmatch(self.gid) or not int(self.gid, 16):
            raise ValueError(f"`{self.gid}` is no GID")
        if not self.uris:
            raise ValueError("a transfer needs a URI")
        if not self.directory.is_absolute():
            raise ValueError(f"`{self.directory}` depends on the daemon's working directory")
        if (
            not self.out
            or set(self.out) & {"/", "\\", "\0"}
            or self.out in {".", ".."}
            or len(self.out.encode()) > _LONGEST_NAME
        ):
            raise ValueError(f"`{self.out}` is no safe name of a partial")
        refused = _FORBIDDEN_OPTIONS.intersection(name for name, _ in self.options)
        if refused:
            raise ValueError(f"options that aria2 must not be given: {sorted(refused)}")

    def call(self, common: Mapping[str, str], *, tells_size: bool) -> tuple[str, list[Any]]:
        """Return the method that adds it, and its parameters."""
        options = self._options(common)
        if self.size is None or not tells_size:
            named = {"gid": self.gid, "out": self.out}
            return "aria2.addUri", [list(self.uris), {**options, **named}]
        return "aria2.addMetalink", [encode_metalink(self.out, self.size, self.uris), options]

    def _options(self, common: Mapping[str, str]) -> dict[str, str]:
        return {
            **common,
            "split": str(max(1, self.split)),
            "max-connection-per-server": str(min(max(1, self.connections), _MOST_CONNECTIONS)),
            "min-split-size": str(min(max(_MIB, self.min_split_size), 1024 * _MIB)),
            **dict(self.options),
            "dir": str(self.directory),
        }


def gid_for(blob_name: str, scope: str = "") -> str:
    """Return the GID of a blob's transfer: the same in each run, different in each ``scope``."""
    return hashlib.sha256(f"{scope}\n{blob_name}".encode()).hexdigest()[:16]
