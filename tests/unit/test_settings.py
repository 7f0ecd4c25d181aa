from __future__ import annotations

import math
import ssl
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hfaria.errors import InvalidConfig, UsageError
from hfaria.redact import Secret
from hfaria.rules.endpoints import KNOWN_MIRRORS, ORIGIN_URL, Api, ConfiguredEndpoint, Endpoint
from hfaria.rules.proxies import Proxies
from hfaria.rules.staleness import Stale
from hfaria.settings import (
    DEFAULT_CONNECTIONS,
    DEFAULT_JOBS,
    DEFAULT_PATIENCE_SECONDS,
    Overrides,
    Settings,
    load_settings,
    read_secret,
)

NOTHING_SAID = Overrides()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An empty config file, so that no test reads the user's own."""
    path = tmp_path / "config.toml"
    path.touch()
    return path


def load(
    config: Path, text: str = "", overrides: Overrides = NOTHING_SAID, /, **env: str
) -> Settings:
    config.write_text(text, encoding="utf-8")
    return load_settings(overrides, {"HFARIA_CONFIG": str(config), **env})


def test_defaults(config: Path) -> None:
    settings = load(config, HOME=str(config.parent))
    assert settings.endpoint == settings.origin == Endpoint(ORIGIN_URL)
    assert settings.trusted == (Endpoint(ORIGIN_URL),)
    assert settings.connections == DEFAULT_CONNECTIONS
    assert settings.jobs == DEFAULT_JOBS
    assert settings.reserve == 10**10
    assert settings.patience_seconds == DEFAULT_PATIENCE_SECONDS
    assert settings.allow_symlinks
    assert settings.may_use_stored_token
    assert settings.show_progress
    assert not settings.is_offline
    unset = (
        settings.aria2c, settings.aria2_conf, settings.rpc_url, settings.rpc_secret,
        settings.ca_bundle,
    )  # fmt: skip
    assert set(unset) == {None}
    assert settings.proxies == Proxies()
    assert settings.engine_ca_bundle is not None
    assert settings.cache_dir.parts[-3:] == (".cache", "huggingface", "hub")


# One row for each setting: what it is in the result, then flag, environment and config file.
Row: TypeAlias = tuple[str, dict[str, Any], dict[str, str], str, list[Any]]
SOURCES: list[Row] = [
    (
        "endpoint",
        {"endpoints": ("https://flag.example",)},
        {"HFARIA_ENDPOINTS": "https://env.example"},
        'endpoint = "https://file.example"',
        [Endpoint(f"https://{each}.example") for each in ("flag", "env", "file")],
    ),
    (
        "reserve",
        {"reserve": "1GB"},
        {"HFARIA_RESERVE": "2GB"},
        'reserve = "3GB"',
        [10**9, 2 * 10**9, 3 * 10**9],
    ),
    (
        "cache_dir",
        {"cache_dir": Path("flag")},
        {"HF_HUB_CACHE": "env"},
        'cache_dir = "file"',
        [Path("flag"), Path("env"), Path("file")],
    ),
    (
        "rpc_url",
        {"rpc_url": "http://127.0.0.1:1"},
        {"HFARIA_RPC_URL": "http://127.0.0.1:2"},
        'rpc_url = "http://127.0.0.1:3"',
        [f"http://127.0.0.1:{n}" for n in (1, 2, 3)],
    ),
    ("origin", {}, {"HFARIA_ORIGIN": "http://127.0.0.1:2"}, 'origin = "http://127.0.0.1:3"',
     [None, Endpoint("http://127.0.0.1:2"), Endpoint("http://127.0.0.1:3")]),
    ("aria2c", {}, {"HFARIA_ARIA2C": "env"}, 'aria2c = "file"', [None, "env", "file"]),
    ("aria2_conf", {}, {"HFARIA_ARIA2_CONF": "env"}, 'aria2_conf = "file"',
     [None, Path("env"), Path("file")]),
    ("jobs", {"jobs": 7}, {}, "jobs = 9", [7, None, 9]),
    ("connections", {"connections": 3}, {}, "connections = 5", [3, None, 5]),
    ("patience_seconds", {"patience": 5.0}, {"HFARIA_PATIENCE": "2h"}, "patience = 60",
     [5.0, 7200.0, 60.0]),
    ("stale", {"stale": "accept"}, {"HFARIA_STALE": "origin"}, 'stale = "fail"',
     [Stale.ACCEPT, Stale.ORIGIN, Stale.FAIL]),
    ("uses_origin", {"use_origin": True, "endpoints": ("hf-mirror",)}, {},
     'use_origin = false\nendpoint = "hf-mirror"', [True, None, False]),
]  # fmt: skip


@pytest.mark.parametrize("row", SOURCES, ids=[row[0] for row in SOURCES])
def test_a_flag_wins_over_the_environment_which_wins_over_the_file(config: Path, row: Row) -> None:
    name, flag, env, file, values = row
    by_flag, by_env, by_file = values
    assert getattr(load(config, file), name) == by_file
    if env:
        assert getattr(load(config, file, **env), name) == by_env
        empty = dict.fromkeys(env, "")
        assert getattr(load(config, file, **empty), name) == by_file
    if flag:
        assert getattr(load(config, file, Overrides(**flag), **env), name) == by_flag


def test_without_an_endpoint_the_origin_is_asked(config: Path) -> None:
    settings = load(config, HFARIA_ORIGIN="http://127.0.0.1:9/")
    assert settings.endpoint == Endpoint("http://127.0.0.1:9")


MIRROR, MODELSCOPE = KNOWN_MIRRORS["hf-mirror"], KNOWN_MIRRORS["modelscope"]
HF = Endpoint(ORIGIN_URL)
CAMPUS = Endpoint("https://hub.example.edu/hf")
BOOK = """
[mirrors]
campus = "https://hub.example.edu/hf/"
[mirrors.hf-mirror]
connections = 4
[mirrors.lab]
url = "https://lab.example"
proxy = "http://me:swordfish@proxy.example:3128"
trusted = true
"""


def order(settings: Settings) -> list[Endpoint]:
    return [each.endpoint for each in settings.endpoints]


def test_known_mirrors_are_not_asked_unless_they_are_named(config: Path) -> None:
    assert order(load(config)) == [HF]
    assert order(load(config, BOOK)) == [HF]


@pytest.mark.parametrize(
    ("overrides", "env", "text"),
    [
        ({"endpoints": ("campus", "hf-mirror")}, {"HFARIA_ENDPOINTS": "lab"}, ""),
        ({}, {"HFARIA_ENDPOINTS": "campus, https://HF-mirror.com/", "HF_ENDPOINT": "lab"}, ""),
        ({}, {"HF_ENDPOINT": "lab"}, 'endpoints = ["campus", "hf-mirror"]'),
    ],
    ids=["flag", "variable", "file"],
)
def test_the_strongest_source_says_the_order_and_the_origin_comes_last(
    config: Path, overrides: dict[str, Any], env: dict[str, str], text: str
) -> None:
    settings = load(config, f"{text}\n{BOOK}", Overrides(**overrides), **env)
    assert settings.endpoints == (
        ConfiguredEndpoint(CAMPUS),
        ConfiguredEndpoint(MIRROR, connections=4),
        ConfiguredEndpoint(HF, is_fallback=True),
    )
    assert settings.endpoint == CAMPUS


def test_hf_endpoint_comes_after_the_config_file(config: Path) -> None:
    named = {"HF_ENDPOINT": "https://env.example"}
    assert load(config, **named).endpoint == Endpoint("https://env.example")
    file = load(config, 'endpoint = "https://file.example"', **named)
    assert order(file) == [Endpoint("https://file.example"), HF]


def test_the_origin_is_where_it_is_named(config: Path) -> None:
    settings = load(config, "", Overrides(endpoints=("origin", "hf-mirror")))
    assert settings.endpoints == (ConfiguredEndpoint(HF), ConfiguredEndpoint(MIRROR))
    alone = load(config, "", Overrides(endpoints=("origin",), use_origin=False))
    assert order(alone) == [HF]


def test_without_the_origin_only_the_named_are_asked(config: Path) -> None:
    settings = load(config, "", Overrides(endpoints=("hf-mirror",), use_origin=False))
    assert order(settings) == [MIRROR]
    assert not settings.uses_origin


def test_options_belong_to_the_endpoint_however_it_is_named(config: Path) -> None:
    settings = load(config, BOOK, HF_ENDPOINT="https://lab.example")
    assert settings.endpoints[0].proxy == "http://me:swordfish@proxy.example:3128"
    assert Endpoint("https://lab.example") in settings.trusted
    assert "swordfish" not in repr(settings)
    origin = load(config, "[mirrors.origin]\nconnections = 2")
    assert origin.endpoints == (ConfiguredEndpoint(HF, connections=2),)


@pytest.mark.parametrize(
    "text", ["modelscope", "https://modelscope.cn", "modelscope+https://modelscope.cn/"]
)
def test_modelscope_gives_bytes_and_is_not_asked_for_listings(config: Path, text: str) -> None:
    settings = load(config, "", Overrides(endpoints=(text,)))
    assert order(settings) == [MODELSCOPE, HF]
    assert settings.endpoint == HF
    own = load(config, "", Overrides(endpoints=("modelscope+http://127.0.0.1:9/ms", "origin")))
    assert order(own)[0] == Endpoint("http://127.0.0.1:9/ms", Api.MODELSCOPE)


@pytest.mark.parametrize(
    ("overrides", "text", "said"),
    [
        ({"endpoints": ("campus",)}, "", "--endpoint: `campus` is neither a URL nor a short name"),
        ({"endpoints": ("hf-mirror", "https://hf-mirror.com")}, "", "named twice"),
        ({"endpoints": ("origin", ORIGIN_URL)}, "", "named twice"),
        ({"use_origin": False}, "", "`--no-origin` leaves no endpoint"),
        ({"endpoints": ("modelscope",), "use_origin": False}, "", "no Hub to list the repo"),
        ({"endpoints": ("hf-mirror",), "use_origin": False, "stale": "origin"}, "", "rules out"),
        ({"trusted_endpoints": ("modelscope",)}, "", "never gets the token"),
        ({}, "[mirrors]\ncampus = 5", "`campus` in"),
        ({}, "[mirrors]\n'a b' = 'https://a.example'", "no short name"),
        ({}, "[mirrors]\ncampus = 'x'", "`campus` in"),
        ({}, "[mirrors.campus]\nconnections = 4", "has no `url`"),
        ({}, "[mirrors.origin]\nurl = 'https://a.example'", "set by the key `origin`"),
        ({}, "[mirrors.hf-mirror]\nconnections = 0", "must be 1 or more"),
        ({}, "[mirrors.hf-mirror]\nconnections = true", "`connections` of"),
        ({}, "[mirrors.hf-mirror]\nspeed = 1", "unknown key `speed`"),
        ({}, "[mirrors.hf-mirror]\nproxy = 'ftp://me:swordfish@host'", "`proxy` of"),
        ({}, "[mirrors.modelscope]\ntrusted = true", "never gets the token"),
    ],
)
def test_endpoints_that_can_t_be_are_said_in_one_line(
    config: Path, overrides: dict[str, Any], text: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(config, text, Overrides(**overrides))
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert "swordfish" not in f"{caught.value.message}{caught.value.hint}"


def test_patience_is_said_as_people_say_it(config: Path) -> None:
    for text, seconds in {"forever": math.inf, "90s": 90, "30m": 1800, "1.5h": 5400}.items():
        assert load(config, "", Overrides(patience=text)).patience_seconds == seconds
        assert load(config, f"patience = '{text}'").patience_seconds == seconds
    assert load(config, "patience = inf").patience_seconds == math.inf


def test_a_mirror_is_not_trusted_by_being_asked(config: Path) -> None:
    settings = load(config, HF_ENDPOINT="https://mirror.example")
    assert settings.trusted == (Endpoint(ORIGIN_URL),)


def test_trusted_endpoints_of_all_sources_count(config: Path) -> None:
    settings = load(
        config,
        'trusted_endpoints = ["https://file.example"]',
        Overrides(trusted_endpoints=("https://flag.example",)),
        HFARIA_TRUSTED_ENDPOINTS="https://one.example, https://two.example/prefix",
    )
    assert [each.url for each in settings.trusted] == [
        ORIGIN_URL, "https://flag.example", "https://one.example", "https://two.example/prefix",
        "https://file.example",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("env", "path"),
    [
        ({"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/b"),
        ({"HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/c/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    config: Path, env: dict[str, str], path: str
) -> None:
    assert load(config, **env).cache_dir == Path(path)


def test_a_tilde_is_the_home_folder(config: Path) -> None:
    settings = load(config, 'cache_dir = "~/x"', HFARIA_ARIA2_CONF="~/y")
    assert settings.cache_dir == Path.home() / "x"
    assert settings.aria2_conf == Path.home() / "y"
    assert load(config, "", Overrides(cache_dir=Path("~/z"))).cache_dir == Path.home() / "z"


@pytest.mark.parametrize("value", ["1", "on", "YES", "True"])
def test_switches_are_read_as_huggingface_hub_reads_them(config: Path, value: str) -> None:
    settings = load(
        config,
        HF_HUB_DISABLE_SYMLINKS=value,
        HF_HUB_OFFLINE=value,
        HF_HUB_DISABLE_IMPLICIT_TOKEN=value,
        HF_HUB_DISABLE_PROGRESS_BARS=value,
    )
    assert settings.is_offline
    assert not settings.allow_symlinks
    assert not settings.may_use_stored_token
    assert not settings.show_progress


def test_transformers_can_say_offline_too(config: Path) -> None:
    assert load(config, TRANSFORMERS_OFFLINE="1").is_offline
    assert not load(config, TRANSFORMERS_OFFLINE="0", HF_HUB_OFFLINE="no").is_offline


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_is_read_and_not_shown(config: Path, name: str) -> None:
    settings = load(config, **{name: "http://me:swordfish@proxy.example:3128"})
    proxy = settings.proxies.find("https://far.example/x", Endpoint("https://far.example"))
    assert proxy is not None
    assert proxy.reveal_url() == "http://me:swordfish@proxy.example:3128"
    assert settings.engine_environ[name] == proxy.reveal_url()
    assert "swordfish" not in repr(settings)


def test_an_endpoint_s_own_proxy_is_for_all_that_it_leads_to(config: Path) -> None:
    settings = load(config, BOOK, Overrides(endpoints=("lab",)), ALL_PROXY="socks5h://far:1")
    lab, origin = (each.endpoint for each in settings.endpoints)
    ways = [settings.proxies.find("https://cdn.example/x", each) for each in (lab, origin)]
    assert [str(way) for way in ways] == ["http://proxy.example:3128", "socks5h://far:1"]


# --- bad values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "env", "text", "source"),
    [
        ({"endpoints": ("x",)}, {}, "", "--endpoint"),
        ({"endpoints": ("ftp://x.example",)}, {}, "", "--endpoint"),
        ({}, {"HFARIA_ENDPOINTS": "hf-mirror x"}, "", "HFARIA_ENDPOINTS"),
        ({}, {}, "endpoints = ['x']", "`endpoints` in {file}"),
        ({}, {}, "endpoints = [5]", "`endpoints` in {file}"),
        ({}, {}, "endpoints = ['origin']\nendpoint = 'origin'", "`endpoint` in {file}"),
        ({"stale": "maybe"}, {}, "", "--stale"),
        ({}, {"HFARIA_STALE": "maybe"}, "", "HFARIA_STALE"),
        ({}, {}, 'stale = "maybe"', "`stale` in {file}"),
        ({}, {}, "use_origin = 1", "`use_origin` in {file}"),
        ({}, {"HF_ENDPOINT": "x"}, "", "HF_ENDPOINT"),
        ({}, {}, 'endpoint = "x"', "`endpoint` in {file}"),
        ({}, {"HFARIA_ORIGIN": "x"}, "", "HFARIA_ORIGIN"),
        ({}, {}, 'origin = "x"', "`origin` in {file}"),
        ({"trusted_endpoints": ("x",)}, {}, "", "--trust-endpoint"),
        ({}, {"HFARIA_TRUSTED_ENDPOINTS": "x"}, "", "HFARIA_TRUSTED_ENDPOINTS"),
        ({}, {}, "trusted_endpoints = [5]", "`trusted_endpoints` in {file}"),
        ({"connections": 17}, {}, "", "--connections"),
        ({"connections": 0}, {}, "", "--connections"),
        ({}, {}, "connections = 17", "`connections` in {file}"),
        ({"jobs": 0}, {}, "", "--jobs"),
        ({}, {}, "jobs = 33", "`jobs` in {file}"),
        ({"reserve": "much"}, {}, "", "--reserve"),
        ({}, {"HFARIA_RESERVE": "much"}, "", "HFARIA_RESERVE"),
        ({}, {}, 'reserve = "much"', "`reserve` in {file}"),
        ({}, {}, "reserve = -1", "`reserve` in {file}"),
        ({"patience": 0.0}, {}, "", "--patience"),
        ({"patience": "0"}, {}, "", "--patience"),
        ({"patience": "soon"}, {}, "", "--patience"),
        ({}, {"HFARIA_PATIENCE": "-5"}, "", "HFARIA_PATIENCE"),
        ({}, {}, 'patience = "soon"', "`patience` in {file}"),
        ({}, {}, "patience = -1", "`patience` in {file}"),
        ({}, {}, "patience = nan", "`patience` in {file}"),
        ({}, {"SSL_CERT_FILE": "/does/not/exist"}, "", "SSL_CERT_FILE"),
        ({}, {"REQUESTS_CA_BUNDLE": "/does/not/exist"}, "", "REQUESTS_CA_BUNDLE"),
        ({}, {"CURL_CA_BUNDLE": "/does/not/exist"}, "", "CURL_CA_BUNDLE"),
        ({}, {}, 'ca_bundle = "/does/not/exist"', "`ca_bundle`"),
        ({"rpc_secret_file": Path("/does/not/exist")}, {}, "", "the RPC secret"),
        ({}, {}, 'rpc_secret_file = "/does/not/exist"', "the RPC secret"),
        ({}, {}, "surprise = 1", "{file}"),
        ({}, {}, "jobs = true", "`jobs` in {file}"),
        ({}, {}, 'jobs = "4"', "`jobs` in {file}"),
        ({}, {}, "endpoint = 5", "`endpoint` in {file}"),
        ({}, {}, 'trusted_endpoints = "https://a.example"', "`trusted_endpoints` in {file}"),
        ({}, {}, "[endpoint]\na = 1", "`endpoint` in {file}"),
        ({}, {}, "not TOML at all", "{file}"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_source(
    config: Path, overrides: dict[str, Any], env: dict[str, str], text: str, source: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(config, text, Overrides(**overrides), **env)
    assert source.format(file=config) in caught.value.message
    assert "\n" not in caught.value.message


def test_an_unknown_key_is_answered_with_the_known_ones(config: Path) -> None:
    with pytest.raises(InvalidConfig, match="unknown key `surprise`") as caught:
        load(config, "surprise = 1")
    assert caught.value.hint is not None
    assert "cache_dir" in caught.value.hint


def test_a_config_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"HFARIA_CONFIG: `.*` does not exist"):
        load_settings(Overrides(), {"HFARIA_CONFIG": str(tmp_path / "missing.toml")})


def test_a_config_file_that_is_no_text_or_no_file_is_refused(config: Path) -> None:
    config.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfig, match="can't be read"):
        load_settings(Overrides(), {"HFARIA_CONFIG": str(config)})
    with pytest.raises(InvalidConfig, match="can't be read"):
        load_settings(Overrides(), {"HFARIA_CONFIG": str(config.parent)})


def test_a_config_file_in_its_usual_place_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_settings(Overrides(), {}).jobs == DEFAULT_JOBS
    (tmp_path / "hfaria").mkdir()
    (tmp_path / "hfaria" / "config.toml").write_text("jobs = 2", encoding="utf-8")
    assert load_settings(Overrides(), {}).jobs == 2


def test_the_environment_of_the_process_is_the_default(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFARIA_CONFIG", str(config))
    monkeypatch.setenv("HFARIA_RESERVE", "7")
    assert load_settings(Overrides()).reserve == 7


# --- CA bundles ----------------------------------------------------------------------------------


def test_a_named_bundle_is_for_all(config: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        settings = load(config, **{name: str(bundle)})
        assert settings.ca_bundle == settings.engine_ca_bundle == bundle
    assert load(config, f"ca_bundle = '{bundle}'").ca_bundle == bundle
    other = tmp_path / "other.pem"
    other.touch()
    assert load(config, f"ca_bundle = '{bundle}'", SSL_CERT_FILE=str(other)).ca_bundle == other


def test_a_folder_of_certificates_names_no_bundle(config: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    assert load(config, REQUESTS_CA_BUNDLE=str(tmp_path)).ca_bundle is None
    both = load(config, REQUESTS_CA_BUNDLE=str(tmp_path), SSL_CERT_FILE=str(bundle))
    assert both.ca_bundle == bundle


def test_the_engine_gets_a_bundle_even_where_the_system_has_none(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ssl.DefaultVerifyPaths("", "", "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr("hfaria.settings._CA_BUNDLES", ())
    settings = load(config)
    assert settings.ca_bundle is None
    assert settings.engine_ca_bundle is not None
    assert settings.engine_ca_bundle.is_file()


# --- secrets -------------------------------------------------------------------------------------


def test_the_rpc_secret_comes_from_a_file_or_the_environment(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-file\n", encoding="utf-8")
    by_env = load(config, HFARIA_RPC_SECRET="from-env")
    assert by_env.rpc_secret == Secret("from-env")
    assert "from-env" not in repr(by_env)
    configured = f"rpc_secret_file = '{file}'"
    assert load(config, configured, HFARIA_RPC_SECRET="x").rpc_secret == Secret("from-file")
    assert load(config, "", Overrides(rpc_secret_file=file)).rpc_secret == Secret("from-file")


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"a\nb\n", b"\xff\xfe"])
def test_a_file_that_holds_no_single_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="the token") as caught:
        read_secret(file, what="the token")
    assert "words" not in caught.value.message
    assert str(file) in caught.value.message


def test_a_secret_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("  hf_x \n\n", encoding="utf-8")
    assert read_secret(file, what="the token") == Secret("hf_x")
