"""A Hub on loopback: the protocol of a Hugging Face endpoint, its CDN and its mirrors.

It stands in for the network in tests, demos and benchmarks. Real clients pull from it, every
request is recorded, and every site can be made slow, wrong or absent while a test runs::

    from loopback_hub import Fault, HubConfig, LoopbackHub, Reset, Shape, repo

    def test_pull_survives_a_reset():
        spec = repo("org/tiny", {"config.json": b"{}", "model.safetensors": bytes(2_000_000)})
        with LoopbackHub(HubConfig(repos=(spec,))) as hub:
            hub.faults.add(Fault(Reset(after=100_000), site="cdn", kind="bytes", first=1))
            hub.shape("cdn", Shape(latency_seconds=0.01, rate_per_connection=50e6))
            mirror = hub.add_mirror("mirror-2", prefix="/hugging-face")
            pull(endpoint=hub.url("origin"), ...)  # or hub.url("mirror"), or mirror
            assert hub.requests_with_token("mirror") == ()
            assert hub.bytes_sent(site="cdn") <= 2_100_000

`HubProcess(config)` offers the same surface from a process of its own.
"""

from __future__ import annotations

from loopback_hub.access import GOOD_TOKEN, UNLICENSED_TOKEN
from loopback_hub.builders import (
    generated_repo,
    hostile_repo,
    many_small_files,
    odd_names_repo,
    real_model,
    repo,
    sharded_model,
)
from loopback_hub.config import HubConfig, SiteSpec
from loopback_hub.content import BytesContent, Content, DiskContent, Generated
from loopback_hub.effects import (
    AlterListing,
    Behind,
    Close,
    ETag,
    Gzip,
    Hangup,
    Headers,
    IgnoreRange,
    Lacks,
    Length,
    NextLink,
    OtherVersion,
    Portal,
    RateLimit,
    RedirectTo,
    Replace,
    Reset,
    Stall,
    Status,
    WrongBytes,
)
from loopback_hub.faults import Fault
from loopback_hub.outages import Blackhole, Refuse
from loopback_hub.process import HubProcess
from loopback_hub.records import Record
from loopback_hub.repos import Commit, RepoSpec, StoredFile
from loopback_hub.server import LoopbackHub
from loopback_hub.shaping import Shape

__all__ = [
    "GOOD_TOKEN",
    "UNLICENSED_TOKEN",
    "AlterListing",
    "Behind",
    "Blackhole",
    "BytesContent",
    "Close",
    "Commit",
    "Content",
    "DiskContent",
    "ETag",
    "Fault",
    "Generated",
    "Gzip",
    "Hangup",
    "Headers",
    "HubConfig",
    "HubProcess",
    "IgnoreRange",
    "Lacks",
    "Length",
    "LoopbackHub",
    "NextLink",
    "OtherVersion",
    "Portal",
    "RateLimit",
    "Record",
    "RedirectTo",
    "Refuse",
    "Replace",
    "RepoSpec",
    "Reset",
    "Shape",
    "SiteSpec",
    "Stall",
    "Status",
    "StoredFile",
    "WrongBytes",
    "generated_repo",
    "hostile_repo",
    "many_small_files",
    "odd_names_repo",
    "real_model",
    "repo",
    "sharded_model",
]
