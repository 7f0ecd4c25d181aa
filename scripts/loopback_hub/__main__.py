"""Run a hub from the command line: ``python -m loopback_hub --repo real --human``."""

from __future__ import annotations

import argparse
import base64
import json
import pickle
import signal
import sys
import threading
from dataclasses import replace

from loopback_hub.builders import (
    generated_repo,
    many_small_files,
    odd_names_repo,
    real_model,
    sharded_model,
)
from loopback_hub.config import HubConfig
from loopback_hub.control import ControlServer
from loopback_hub.repos import RepoSpec
from loopback_hub.server import LoopbackHub
from loopback_hub.shaping import Shape

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_SITE_CHOICES = ("origin", "mirror", "cdn")


def parse_size(text: str) -> int:
    """Read a size such as ``600M``; units are decimal."""
    unit = text[-1].upper() if text[-1].isalpha() else ""
    return int(float(text.removesuffix(text[-1]) if unit else text) * _UNITS[unit])


def parse_repo(text: str) -> RepoSpec:
    """Make the repo an option describes."""
    kind, *given = text.split(":")
    if kind == "real":
        return real_model(*given)
    if kind == "odd":
        return odd_names_repo(*given)
    if kind == "generated":
        shards = int(given[2]) if len(given) > 2 else 1
        return sharded_model(given[0], parse_size(given[1]), shards)
    if kind == "small":
        return many_small_files(given[0], int(given[1]), parse_size(given[2]))
    if kind == "file":
        return generated_repo(given[0], [(given[1], parse_size(given[2]))])
    raise argparse.ArgumentTypeError(f"no such kind of repo: `{kind}`")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loopback_hub", description=__doc__)
    parser.add_argument(
        "--repo",
        dest="repos",
        action="append",
        default=[],
        type=parse_repo,
        metavar="SPEC",
        help="real[:ID] | odd[:ID] | generated:ID:SIZE[:SHARDS] | small:ID:COUNT:SIZE"
        " | file:ID:PATH:SIZE",
    )
    parser.add_argument("--latency-ms", type=float, default=0.0, help="one round trip")
    parser.add_argument("--rate-per-connection", type=parse_size, help="bytes a second, e.g. 5M")
    parser.add_argument("--rate-total", type=parse_size, help="bytes a second of each site")
    parser.add_argument(
        "--shape-site",
        dest="shaped",
        action="append",
        choices=_SITE_CHOICES,
        help="shape only this site (default: all)",
    )
    parser.add_argument("--https", action="store_true", help="serve TLS with a private CA")
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--url-lifetime", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--mirror-prefix", default="", help="path before everything at the mirror")
    parser.add_argument("--human", action="store_true", help="print lines instead of JSON")
    parser.add_argument("--piped", action="store_true", help=argparse.SUPPRESS)
    return parser


def configured(options: argparse.Namespace, base: HubConfig) -> HubConfig:
    """Return ``base`` with what the command line adds to it."""
    shape = Shape(options.latency_ms / 1000.0, options.rate_per_connection, options.rate_total)
    shaped = options.shaped or _SITE_CHOICES
    sites = []
    for site in base.sites:
        prefix = options.mirror_prefix if site.role == "mirror" else site.prefix
        chosen = shape if site.role in shaped and shape != Shape() else site.shape
        sites.append(replace(site, shape=chosen, prefix=prefix or site.prefix))
    return replace(
        base,
        repos=(*base.repos, *options.repos),
        sites=tuple(sites),
        https=base.https or options.https,
        page_size=min(base.page_size, options.page_size),
        url_lifetime_seconds=min(base.url_lifetime_seconds, options.url_lifetime),
    )


def main() -> None:
    """Serve until the parent is gone or a signal comes."""
    options = _parser().parse_args()
    base = _read_value() if options.piped else None
    config = configured(options, base if isinstance(base, HubConfig) else HubConfig())
    with LoopbackHub(config) as hub, ControlServer(hub) as control:
        hub.prepare()
        _announce(hub, control, is_human=options.human)
        if options.piped:
            threading.Thread(target=_follow_parent, args=(hub, control), daemon=True).start()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            control.serve_forever(poll_interval=0.05)
        except KeyboardInterrupt:
            return


def _announce(hub: LoopbackHub, control: ControlServer, *, is_human: bool) -> None:
    if not is_human:
        ready = {"urls": hub.urls, "ca_bundle": hub.ca_bundle, "control": control.url}
        repos = {spec.repo_id: spec.commit_id for spec in hub.config.repos}
        print(json.dumps({**ready, "repos": repos}), flush=True)
        return
    for name, url in hub.urls.items():
        print(f"{name:8} {url}")
    for spec in hub.config.repos:
        print(f"repo     {spec.repo_id} @ {spec.commit_id}, {spec.head.total_size} bytes")
    if hub.ca_bundle is not None:
        print(f"CA       {hub.ca_bundle}")
    print(f"control  {control.url}", flush=True)


def _read_value() -> object:
    line = sys.stdin.buffer.readline()
    return pickle.loads(base64.b64decode(line)) if line else None


def _follow_parent(hub: LoopbackHub, control: ControlServer) -> None:
    while True:
        value = _read_value()
        if not isinstance(value, RepoSpec):
            break
        value.prepare()
        hub.put_repo(value)
        print(json.dumps({"put": value.repo_id}), flush=True)
    control.shutdown()


if __name__ == "__main__":
    main()
