"""The daemon's options: tunables that a user may change, and must-haves that nobody may."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

from hfaria.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hfaria.rules.proxies import Proxy

CONF_NAME = "aria2.conf"

# Resuming is only safe with these; see `partial`. They can also be given per transfer.
SAFE_TRANSFER: Mapping[str, str] = MappingProxyType(
    {
        "continue": "true",
        "always-resume": "true",  # never begin again in silence
        "allow-overwrite": "false",  # a conflict has to be an error
        "auto-file-renaming": "false",
        "remove-control-file": "false",  # with `continue` it makes holes look complete
        "file-allocation": "none",  # holes tell what arrived
        "check-integrity": "false",
        "http-accept-gzip": "false",  # the compressed bytes would be stored
        "follow-torrent": "false",
        "follow-metalink": "false",
        "no-netrc": "true",  # a netrc would send credentials to wherever a redirect leads
        "no-want-digest-header": "true",
        "realtime-chunk-checksum": "false",
    }
)

MUST_HAVES: Mapping[str, str] = MappingProxyType(
    {
        **SAFE_TRANSFER,
        "enable-rpc": "true",
        "rpc-listen-all": "false",
        "rpc-allow-origin-all": "false",
        "rpc-secure": "false",  # loopback only
        "rpc-save-upload-metadata": "false",  # a Metalink has a signed URL in it
        "check-certificate": "true",
        "no-proxy": "127.0.0.1,localhost,::1",
        "enable-dht": "false",
        "enable-dht6": "false",
        "enable-color": "false",
        "daemon": "false",
        "quiet": "true",
        "summary-interval": "0",
    }
)

# Set per start, or never to be set: credentials would follow every redirect.
_RESERVED = frozenset(
    {
        *("all-proxy", "ca-certificate", "conf-path", "dir", "input-file", "log", "out"),
        *("rpc-listen-port", "rpc-secret", "save-session", "stop-with-process", "stop"),
        *("certificate", "private-key", "rpc-certificate", "rpc-private-key", "no-conf"),
        *("header", "http-user", "http-passwd", "load-cookies", "save-cookies", "referer"),
        *("rpc-user", "rpc-passwd", "checksum", "gid", "pause", "parameterized-uri"),
        *("http-proxy", "https-proxy", "ftp-proxy", "netrc-path", "dry-run", "piece-length"),
        *("index-out", "select-file", "force-save", "save-not-found", "hash-check-only"),
    }
)


def proxy_options(proxy: Proxy) -> tuple[tuple[str, str], ...]:
    """Return the options of a transfer that goes through an HTTP proxy."""
    options = [("all-proxy", str(proxy)), ("no-proxy", "")]
    if proxy.username is not None:
        password = "" if proxy.password is None else proxy.password.reveal()
        options += [("all-proxy-user", proxy.username), ("all-proxy-passwd", password)]
    return tuple(options)


@dataclass(frozen=True, slots=True)
class Tunables:
    """Options for the daemon, and the names of those that were left out because they aren't ours.

    ``ignored`` is for a warning.
    """

    options: Mapping[str, str]
    ignored: tuple[str, ...] = ()


def load_tunables(path: Path | None = None) -> Tunables:
    """Read the shipped tunables, overridden by those of the file ``path``."""
    shipped = resources.files("hfaria.engine").joinpath(CONF_NAME).read_text(encoding="utf-8")
    options = dict(_parse(shipped, CONF_NAME))
    ignored: list[str] = []
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise InvalidConfig(f"engine options `{path}` can't be read: {exc}") from exc
        for name, value in _parse(text, str(path)):
            if _is_reserved(name, value):
                ignored.append(name)
            else:
                options[name] = value
    return Tunables(MappingProxyType(options), tuple(ignored))


def _is_reserved(name: str, value: str) -> bool:
    if name == "auto-save-interval" and not value.strip("0"):
        return True  # never saved, a killed engine's partial looks complete
    return (
        name in MUST_HAVES
        or name in _RESERVED
        or name.startswith(("on-", "bt-", "http-proxy-", "https-proxy-", "ftp-", "all-proxy-"))
    )


def _parse(text: str, source: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip() or " #" in value:
            raise InvalidConfig(
                f"line {number} of engine options `{source}` is not `name=value`",
                hint="comments go on lines of their own",
            )
        pairs.append((name.strip(), value.strip()))
    return pairs
