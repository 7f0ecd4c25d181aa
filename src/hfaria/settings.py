"""Where every setting comes from: flag, then environment, then config file, then default.

The only module that reads the environment. It makes one frozen value; everything below gets its
parts as arguments.
"""

from __future__ import annotations

import os
import ssl
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfaria.errors import InvalidConfig, UsageError
from hfaria.redact import Secret, without_secrets
from hfaria.rules.config_keys import check_config, endpoints_in
from hfaria.rules.endpoint_order import (
    put_in_order,
    read_address_book,
    strongest,
    trusted_endpoints,
)
from hfaria.rules.endpoints import ORIGIN_URL, Api, ConfiguredEndpoint, Endpoint, parse_endpoint
from hfaria.rules.proxies import Proxies, proxies_of, read_proxies
from hfaria.rules.rate_limit import UNLIMITED, RateSchedule, parse_rate_schedule
from hfaria.rules.sizes import parse_duration, parse_size
from hfaria.rules.staleness import Stale

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - depends on the interpreter
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_RESERVE = "10GB"
DEFAULT_JOBS = 4
DEFAULT_CONNECTIONS = 8
DEFAULT_PATIENCE_SECONDS = 1800.0
MOST_CONNECTIONS = 16
"""aria2's own limit for one host."""
MOST_JOBS = 32

SECRET_VARIABLES = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HFARIA_RPC_SECRET"})
JOB_VARIABLES = (
    *("HFARIA_ARIA2C", "HFARIA_ARIA2_CONF", "HFARIA_CONFIG", "HFARIA_ENDPOINTS"),
    *("HFARIA_LIMIT_RATE", "HFARIA_ORIGIN", "HFARIA_PATIENCE", "HFARIA_RESERVE"),
    *("HFARIA_RPC_SECRET", "HFARIA_RPC_URL", "HFARIA_STALE", "HFARIA_TRUSTED_ENDPOINTS"),
    *("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_DISABLE_IMPLICIT_TOKEN"),
    *("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_SYMLINKS", "HF_HUB_OFFLINE"),
    *("HF_STORED_TOKENS_PATH", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGINGFACE_HUB_CACHE"),
    *("HUGGING_FACE_HUB_TOKEN", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"),
    *("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
    *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    *("all_proxy", "https_proxy", "http_proxy", "no_proxy"),
    *("PATH", "TMPDIR", "TZ"),
)
"""What a job's outcome depends on, so that it can be done again from another environment."""

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})  # as huggingface_hub reads its switches
# Where systems keep their CA bundle when OpenSSL was not told (RHEL, Alpine, SUSE, macOS).
_CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line, or the caller of the Python function, says; None says nothing."""

    cache_dir: Path | None = None
    endpoints: tuple[str, ...] = ()
    use_origin: bool | None = None
    stale: str | None = None
    trusted_endpoints: tuple[str, ...] = ()
    connections: int | None = None
    jobs: int | None = None
    reserve: str | int | None = None
    patience: str | float | None = None
    limit_rate: str | int | None = None
    rpc_url: str | None = None
    rpc_secret_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is not about one particular repo."""

    cache_dir: Path
    endpoints: tuple[ConfiguredEndpoint, ...]
    """In the order they are asked; one Hub at least. The origin is the last unless refused."""
    stale: Stale | None
    """What to do about a mirror that is behind; None: say it, and take the newest commit."""
    origin: Endpoint
    trusted: tuple[Endpoint, ...]
    """Endpoints that may see the token: the origin first, then those the user named."""
    connections: int
    jobs: int
    reserve: int
    """Bytes that are left free on the destination's filesystem."""
    patience_seconds: float
    rate_schedule: RateSchedule
    """How many bytes a second may be taken, by the time of day."""
    aria2c: str | None
    aria2_conf: Path | None
    rpc_url: str | None
    rpc_secret: Secret | None
    ca_bundle: Path | None
    """A CA bundle that was named; None means the system's trust."""
    engine_ca_bundle: Path | None
    """The bundle for the engine, which can't use the system's trust by itself everywhere."""
    allow_symlinks: bool
    is_offline: bool
    may_use_stored_token: bool
    show_progress: bool
    state_dir: Path
    """Where the state of jobs is, and which bundles were made."""
    engine_environ: Mapping[str, str] = field(repr=False)
    """The environment as it is; the engine's process gets it less its proxy variables."""
    proxies: Proxies
    """Which proxy each request goes through, whoever sends it."""
    endpoints_named: Callable[[Sequence[tuple[str, str]]], tuple[ConfiguredEndpoint, ...]]
    """Makes `endpoints` of other names and URLs, each with who named it."""
    config_path: Path | None = None
    """The config file, if there is one."""

    @property
    def endpoint(self) -> Endpoint:
        """The Hub or mirror that is asked first."""
        return next(c.endpoint for c in self.endpoints if c.endpoint.api is Api.HUB)

    @property
    def uses_origin(self) -> bool:
        """Whether the origin may be asked at all."""
        return any(configured.endpoint == self.origin for configured in self.endpoints)


def load_settings(overrides: Overrides, environ: Mapping[str, str] | None = None) -> Settings:
    """Combine all sources. Raises `InvalidConfig` or `UsageError`, naming the source at fault."""
    env = os.environ if environ is None else environ
    config, config_path = _read_config(env)

    def named(key: str) -> str:
        return f"`{key}` in {config_path}"

    origin = _endpoint(
        (env.get("HFARIA_ORIGIN"), "HFARIA_ORIGIN"), (config.get("origin"), named("origin"))
    ) or Endpoint(ORIGIN_URL)
    book = read_address_book(config.get("mirrors", {}), origin, named_by=named("mirrors"))
    use_origin = _first(overrides.use_origin, config.get("use_origin"), default=True)
    endpoints = put_in_order(
        strongest(
            [(text, "--endpoint") for text in overrides.endpoints],
            [(text, "HFARIA_ENDPOINTS") for text in _words(env.get("HFARIA_ENDPOINTS"))],
            endpoints_in(config, named),
            [(text, "HF_ENDPOINT") for text in [env.get("HF_ENDPOINT")] if text],
        ),
        book,
        use_origin=use_origin,
    )
    trusted = [
        *((text, "--trust-endpoint") for text in overrides.trusted_endpoints),
        *((t, "HFARIA_TRUSTED_ENDPOINTS") for t in _words(env.get("HFARIA_TRUSTED_ENDPOINTS"))),
        *((str(text), named("trusted_endpoints")) for text in config.get("trusted_endpoints", ())),
    ]
    stale = _stale(
        (overrides.stale, "--stale"),
        (env.get("HFARIA_STALE"), "HFARIA_STALE"),
        (config.get("stale"), named("stale")),
    )
    if stale is Stale.ORIGIN and not any(each.endpoint == origin for each in endpoints):
        raise UsageError("`--stale origin` asks the origin, which `--no-origin` rules out")
    return Settings(
        cache_dir=_cache_dir(overrides, env, config),
        endpoints=endpoints,
        stale=stale,
        origin=origin,
        trusted=trusted_endpoints(trusted, book),
        connections=_within(
            (overrides.connections, "--connections"),
            (config.get("connections"), named("connections")),
            default=DEFAULT_CONNECTIONS,
            most=MOST_CONNECTIONS,
        ),
        jobs=_within(
            (overrides.jobs, "--jobs"),
            (config.get("jobs"), named("jobs")),
            default=DEFAULT_JOBS,
            most=MOST_JOBS,
        ),
        reserve=_reserve(
            (overrides.reserve, "--reserve"),
            (env.get("HFARIA_RESERVE"), "HFARIA_RESERVE"),
            (config.get("reserve"), named("reserve")),
        ),
        patience_seconds=_patience(
            (overrides.patience, "--patience"),
            (env.get("HFARIA_PATIENCE"), "HFARIA_PATIENCE"),
            (config.get("patience"), named("patience")),
        ),
        rate_schedule=_rate_schedule(
            (overrides.limit_rate, "--limit-rate"),
            (env.get("HFARIA_LIMIT_RATE"), "HFARIA_LIMIT_RATE"),
            (config.get("limit_rate"), named("limit_rate")),
        ),
        aria2c=env.get("HFARIA_ARIA2C") or config.get("aria2c"),
        aria2_conf=_path(env.get("HFARIA_ARIA2_CONF") or config.get("aria2_conf")),
        rpc_url=overrides.rpc_url or env.get("HFARIA_RPC_URL") or config.get("rpc_url"),
        rpc_secret=_rpc_secret(overrides, env, config),
        ca_bundle=(named_bundle := _named_ca_bundle(env, config)),
        engine_ca_bundle=named_bundle or _system_ca_bundle(),
        allow_symlinks=not _is_true(env.get("HF_HUB_DISABLE_SYMLINKS")),
        is_offline=_is_true(env.get("HF_HUB_OFFLINE")) or _is_true(env.get("TRANSFORMERS_OFFLINE")),
        may_use_stored_token=not _is_true(env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
        show_progress=not _is_true(env.get("HF_HUB_DISABLE_PROGRESS_BARS")),
        engine_environ=dict(env),
        proxies=read_proxies(env, proxies_of(book.entries.values())),
        endpoints_named=partial(put_in_order, book=book, use_origin=use_origin),
        config_path=config_path if config_path.is_file() else None,
        state_dir=_state_dir(env, config),
    )


def environment() -> dict[str, str]:
    """Return the environment, for whoever loads settings from a part of it."""
    return dict(os.environ)


def environment_of_job(
    environ: Mapping[str, str] | None = None,
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the variables that a job needs again, and the names of those that are secrets."""
    env = os.environ if environ is None else environ
    return without_secrets(env, names=JOB_VARIABLES, secrets=SECRET_VARIABLES)


def _read_config(env: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    named = env.get("HFARIA_CONFIG")
    if named:
        path = Path(named).expanduser()
    else:
        from platformdirs import user_config_path  # noqa: PLC0415 - only when it is needed

        path = user_config_path("hfaria") / "config.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        if named:
            raise InvalidConfig(f"HFARIA_CONFIG: `{path}` does not exist") from exc
        return {}, path
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidConfig(f"the config file `{path}` can't be read: {exc}") from exc
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidConfig(f"the config file `{path}` is not TOML: {exc}") from exc
    check_config(config, path=str(path))
    return config, path


def _endpoint(*candidates: tuple[str | None, str]) -> Endpoint | None:
    for text, source in candidates:
        if text:
            return parse_endpoint(text, named_by=source)
    return None


def _first(*candidates: bool | None, default: bool) -> bool:
    return next((value for value in candidates if value is not None), default)


def _stale(*candidates: tuple[str | None, str]) -> Stale | None:
    for text, source in candidates:
        if text:
            try:
                return Stale(text)
            except ValueError as exc:
                known = ", ".join(each.value for each in Stale)
                raise UsageError(f"{source}: `{text}` is not one of {known}") from exc
    return None


def _cache_dir(overrides: Overrides, env: Mapping[str, str], config: Mapping[str, Any]) -> Path:
    if overrides.cache_dir is not None:
        return overrides.cache_dir.expanduser()
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if env.get(name):
            return _expanded(env[name])
    if config.get("cache_dir"):
        return Path(config["cache_dir"]).expanduser()
    home = env.get("HF_HOME")
    if home:
        return _expanded(home) / "hub"
    base = env.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(base) / "huggingface" / "hub"


def _state_dir(env: Mapping[str, str], config: Mapping[str, Any]) -> Path:
    if env.get("HFARIA_STATE_DIR"):
        return _expanded(env["HFARIA_STATE_DIR"])
    if config.get("state_dir"):
        return Path(config["state_dir"]).expanduser()
    from platformdirs import user_state_path  # noqa: PLC0415 - only when it is needed

    return user_state_path("hfaria", appauthor=False)


def _expanded(text: str) -> Path:
    # As huggingface_hub expands these.
    return Path(os.path.expandvars(text)).expanduser()


def _within(*candidates: tuple[int | None, str], default: int, most: int) -> int:
    for value, source in candidates:
        if value is not None:
            if not 1 <= value <= most:
                raise UsageError(f"{source} is {value}: it must be from 1 to {most}")
            return value
    return default


def _reserve(*candidates: tuple[str | int | None, str]) -> int:
    for value, source in candidates:
        if value is not None and value != "":
            return parse_size(str(value), named_by=source)
    return parse_size(DEFAULT_RESERVE, named_by="reserve")


def _patience(*candidates: tuple[str | float | None, str]) -> float:
    for value, source in candidates:
        if value is not None and value != "":
            seconds = value
            if isinstance(seconds, str):
                seconds = parse_duration(seconds, named_by=source)
            if not seconds > 0:  # TOML can say nan, too
                raise UsageError(f"{source} is {value}: it must be more than 0 seconds")
            return float(seconds)
    return DEFAULT_PATIENCE_SECONDS


def _rate_schedule(*candidates: tuple[str | int | None, str]) -> RateSchedule:
    for value, source in candidates:
        if value is not None and value != "":
            return parse_rate_schedule(str(value), named_by=source)
    return UNLIMITED


def _rpc_secret(
    overrides: Overrides, env: Mapping[str, str], config: Mapping[str, Any]
) -> Secret | None:
    file = overrides.rpc_secret_file or _path(config.get("rpc_secret_file"))
    if file is not None:
        return read_secret(file, what="the RPC secret")
    value = env.get("HFARIA_RPC_SECRET")
    return Secret(value) if value else None


def read_secret(path: Path, *, what: str) -> Secret:
    """Read a secret from the first line of a file; raises `UsageError` if there is none."""
    try:
        value = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise UsageError(f"{what} can't be read from `{path}`: {reason}") from exc
    if not value or any(character.isspace() for character in value):
        raise UsageError(f"`{path}` should hold {what} and nothing else")
    return Secret(value)


def _named_ca_bundle(env: Mapping[str, str], config: Mapping[str, Any]) -> Path | None:
    for name, value in (
        *((n, env.get(n)) for n in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")),
        ("`ca_bundle`", config.get("ca_bundle")),
    ):
        if not value:
            continue
        path = Path(value).expanduser()
        if path.is_dir():
            continue  # a folder of certificates: OpenSSL's own variables cover it
        if not path.is_file():
            raise InvalidConfig(f"{name}: the CA bundle `{path}` does not exist")
        return path
    return None


def _system_ca_bundle() -> Path | None:
    default = ssl.get_default_verify_paths().cafile
    for candidate in (default, *_CA_BUNDLES):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    import certifi  # noqa: PLC0415 - the last resort, and slow to import

    return Path(certifi.where())


def _words(text: str | None) -> list[str]:
    return (text or "").replace(",", " ").split()


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _is_true(text: str | None) -> bool:
    return (text or "").upper() in _TRUE
