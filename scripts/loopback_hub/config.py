"""What a hub is made of, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from loopback_hub.shaping import Shape

if TYPE_CHECKING:
    from loopback_hub.faults import Fault
    from loopback_hub.repos import RepoSpec

Role = Literal["origin", "mirror", "cdn", "modelscope"]


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """One address that answers.

    A mirror serves LFS bytes itself (``lfs_from="self"``) or redirects to the origin's CDN
    (``"cdn"``). ``prefix`` is a path before everything, such as ``/hugging-face``. A site of
    role ``"modelscope"`` has the same repos behind another API.
    """

    name: str
    role: Role
    host: str = "127.0.0.1"
    prefix: str = ""
    lfs_from: Literal["self", "cdn"] = "cdn"
    shape: Shape = field(default_factory=Shape)


DEFAULT_SITES = (
    SiteSpec("origin", "origin", "127.0.0.1"),
    SiteSpec("mirror", "mirror", "127.0.0.2", lfs_from="self"),
    SiteSpec("cdn", "cdn", "127.0.0.3"),
)


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Everything a hub starts with; repos, mirrors, faults and shapes can be changed later."""

    repos: tuple[RepoSpec, ...] = ()
    sites: tuple[SiteSpec, ...] = DEFAULT_SITES
    faults: tuple[Fault, ...] = ()
    https: bool = False
    page_size: int = 1000
    url_lifetime_seconds: float = 3600.0
    compresses_when_asked: bool = True
    announces_xet: bool = False
