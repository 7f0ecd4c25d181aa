"""What a config file may hold: its keys and their types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfaria.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIG_KEYS: dict[str, type | tuple[type, ...]] = {
    "aria2_conf": str,
    "aria2c": str,
    "ca_bundle": str,
    "cache_dir": str,
    "connections": int,
    "endpoint": str,
    "endpoints": list,
    "jobs": int,
    "limit_rate": (str, int),
    "mirrors": dict,
    "origin": str,
    "patience": (int, float, str),
    "reserve": (str, int),
    "rpc_secret_file": str,
    "rpc_url": str,
    "stale": str,
    "state_dir": str,
    "trusted_endpoints": list,
    "use_origin": bool,
}


def check_config(config: Mapping[str, Any], *, path: str) -> None:
    """Refuse a key that is not known, and a value of another type; raises `InvalidConfig`."""
    for key, value in config.items():
        if key not in CONFIG_KEYS:
            raise InvalidConfig(
                f"the config file `{path}` has an unknown key `{key}`",
                hint=f"known keys: {', '.join(CONFIG_KEYS)}",
            )
        is_switch = CONFIG_KEYS[key] is bool
        if not isinstance(value, CONFIG_KEYS[key]) or isinstance(value, bool) is not is_switch:
            raise InvalidConfig(f"`{key}` in {path} has the wrong type")


def endpoints_in(config: Mapping[str, Any], named: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return the endpoints that a config file names, in order, each with the key that does."""
    if "endpoint" in config and "endpoints" in config:
        raise InvalidConfig(f"{named('endpoint')} and `endpoints` say the same: keep one of them")
    listed = [(str(text), named("endpoints")) for text in config.get("endpoints", ())]
    return listed or [(text, named("endpoint")) for text in [config.get("endpoint")] if text]
