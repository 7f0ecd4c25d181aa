"""The hub in this process: a thread with an event loop that serves every site."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from loopback_hub.access import TOKENS, token_kind
from loopback_hub.certificates import Authority
from loopback_hub.config import HubConfig, SiteSpec
from loopback_hub.delivery import Delivery
from loopback_hub.effects import Scene
from loopback_hub.faults import FaultBook, Sight
from loopback_hub.modelscope import parse_modelscope_route
from loopback_hub.protocol import Question, answer
from loopback_hub.records import Record, RecordEntry, RecordQueries
from loopback_hub.routes import UNKNOWN, Route, parse_cdn_route, parse_route
from loopback_hub.signing import Signer
from loopback_hub.site import Site

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import TypeVar

    from aiohttp import web
    from typing_extensions import Self

    from loopback_hub.config import Role
    from loopback_hub.delivery import Link
    from loopback_hub.repos import RepoSpec
    from loopback_hub.shaping import Shape

    T = TypeVar("T")

_OUTAGE_CHECK_SECONDS = 0.01
_OPENING_SECONDS = 30.0


class LoopbackHub(RecordQueries):
    """A hub with its mirrors and its CDN, served by a thread of this process.

    Use it as a context manager. All methods may be called from any thread.
    """

    def __init__(self, config: HubConfig | None = None) -> None:
        self.config = config or HubConfig()
        self.faults = FaultBook(self.config.faults, on_change=self._settle)
        self._repos = {(spec.repo_type, spec.repo_id): spec for spec in self.config.repos}
        self._entries: list[RecordEntry] = []
        self._sites: dict[str, Site] = {}
        self._signer = Signer()
        self._authority: Authority | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start serving; all sites answer when this returns."""
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._thread = threading.Thread(target=loop.run_forever, name="loopback-hub", daemon=True)
        self._thread.start()
        try:
            self._run(self._open())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop serving and let go of every socket."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._run(self._close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self._loop = self._thread = None
        if self._authority is not None:
            self._authority.close()

    @property
    def urls(self) -> dict[str, str]:
        """Base URL of every site by its name."""
        return {name: site.url for name, site in self._sites.items()}

    def url(self, site: str = "origin") -> str:
        """Return a site's base URL, which is what `HF_ENDPOINT` wants."""
        return self._sites[site].url

    @property
    def ca_bundle(self) -> str | None:
        """Path of the CA certificate to trust, if the sites speak HTTPS."""
        return None if self._authority is None else str(self._authority.bundle)

    @property
    def records(self) -> tuple[Record, ...]:
        """All records since the start or the last reset, in order of arrival."""
        return tuple(entry.frozen() for entry in tuple(self._entries))

    @property
    def sent_by_site(self) -> dict[str, int]:
        """Bytes of files that each site has sent since the start; cheap to ask often."""
        return {name: site.flow.sent for name, site in self._sites.items()}

    def reset_records(self) -> None:
        """Forget all records."""
        self._entries = []

    def shape(self, site: str, shape: Shape) -> None:
        """Change how a site's link behaves, for open connections too."""
        self._run(self._reshape(site, shape))

    def add_mirror(
        self,
        name: str,
        *,
        prefix: str = "",
        host: str = "",
        role: Role = "mirror",
        **options: str,
    ) -> str:
        """Start another mirror, or a ModelScope by its role, and return its base URL."""
        address = host or f"127.0.0.{len(self._sites) + 1}"
        spec = SiteSpec(name, role, address, prefix, **{"lfs_from": "self", **options})  # type: ignore[arg-type]
        return self._run(self._start_site(spec)).url

    def put_repo(self, spec: RepoSpec) -> None:
        """Add a repo, or replace the one of the same type and id, as a push does."""
        self._repos = {**self._repos, (spec.repo_type, spec.repo_id): spec}

    def prepare(self) -> None:
        """Compute all digests now, so that no first request waits for them."""
        for spec in self._repos.values():
            spec.prepare()

    async def _open(self) -> None:
        if self.config.https:
            self._authority = Authority()
        for spec in self.config.sites:
            await self._start_site(spec)
        self._outages = asyncio.create_task(self._watch_outages())

    async def _start_site(self, spec: SiteSpec) -> Site:
        site = Site(spec, self._serve)
        hosts = {site.host, "localhost", "127.0.0.1"}
        context = None if self._authority is None else self._authority.server_context(hosts)
        await site.start(context)
        self._sites = {**self._sites, spec.name: site}
        return site

    async def _close(self) -> None:
        outages = getattr(self, "_outages", None)
        if outages is not None:
            outages.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await outages
        for site in self._sites.values():
            await site.stop()
        # Closed transports tell their protocols on the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()

    async def _reshape(self, site: str, shape: Shape) -> None:
        self._sites[site].reshape(shape)

    async def _watch_outages(self) -> None:
        while True:
            await self._settle_outages()
            await asyncio.sleep(_OUTAGE_CHECK_SECONDS)

    async def _settle_outages(self) -> None:
        for name, site in self._sites.items():
            await site.settle(self.faults.reach(name, site.flow.sent))

    def _settle(self) -> None:
        # A site whose outage was just lifted must answer the caller's next request.
        if self._loop is not None:
            self._run(self._settle_outages())

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        if self._loop is None:
            raise RuntimeError("the hub isn't running")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_OPENING_SECONDS)

    async def _serve(self, site: Site, request: web.BaseRequest, link: Link) -> Delivery:
        target = request.raw_path
        entry = _new_entry(site, request, link)
        self._entries.append(entry)
        raw_path, _, query = target.partition("?")
        route = _route(site.spec, raw_path, query)
        entry.kind, entry.repo_id, entry.file_path = route.kind, route.repo_id, route.path or None
        spec = self._repos.get((route.repo_type, route.repo_id or ""))
        if spec is not None and not spec.is_prepared:
            await asyncio.get_running_loop().run_in_executor(None, spec.prepare)
        if site.spec.role != "cdn":
            spec = self.faults.view(site.spec.name, spec)
        question = Question(
            site=site.spec,
            url=site.url,
            cdn_url=self._cdn_url(),
            method=request.method,
            target=target,
            route=route,
            query=query,
            spec=spec,
            token=entry.token,
            has_authorization=entry.authorization_sha256 is not None,
            range=entry.range,
            body=(await request.text()) if request.method == "POST" else "",
            now=time.time(),
            config=self.config,
            signer=self._signer,
        )
        plain = answer(question)
        plain = replace(
            plain,
            may_compress=plain.may_compress and self.config.compresses_when_asked,
            sends_body=request.method != "HEAD",
        )
        if plain.file is not None:
            entry.blob, entry.file_path = plain.file.blob_name, plain.file.path
        bent, entry.faults = self.faults.apply(
            plain,
            Sight(
                site=site.spec.name,
                method=request.method,
                kinds=_kinds(route, sends_file=plain.file is not None and plain.sends_body),
                url_path=unquote(raw_path),
                file_path=entry.file_path,
                blob=entry.blob,
                connection=link.number,
            ),
            Scene(site.url, target, site.spec.prefix, self.urls),
        )
        entry.status = 0 if bent.drops_connection else bent.status
        return Delivery(bent, link, entry)

    def _cdn_url(self) -> str:
        return next((s.url for s in self._sites.values() if s.spec.role == "cdn"), "")


def _route(site: SiteSpec, raw_path: str, query: str) -> Route:
    if site.role == "cdn":
        return parse_cdn_route(raw_path)
    if not raw_path.startswith(f"{site.prefix}/"):
        return UNKNOWN
    below = raw_path.removeprefix(site.prefix)
    if site.role == "modelscope":
        return parse_modelscope_route(below, query)
    return parse_route(below)


def _kinds(route: Route, *, sends_file: bool) -> frozenset[str]:
    kinds = {route.kind, route.name}
    return frozenset({*kinds, "bytes"} if sends_file else kinds)


def _new_entry(site: Site, request: web.BaseRequest, link: Link) -> RecordEntry:
    headers = request.headers
    authorization = headers.get("Authorization")
    digest = None
    if authorization is not None:
        digest = hashlib.sha256(authorization.encode()).hexdigest()
    return RecordEntry(
        time=time.time(),
        site=site.spec.name,
        method=request.method,
        path=request.raw_path,
        peer=link.peer,
        connection=link.number,
        range=headers.get("Range"),
        token=token_kind(authorization),
        authorization_sha256=digest,
        user_agent=headers.get("User-Agent"),
        cookie=headers.get("Cookie"),
        download_counter=headers.get("X-HF-Download-Counter"),
        strays=_strays(request),
    )


def _strays(request: web.BaseRequest) -> tuple[str, ...]:
    """Name the places, but for its header, in which a token came along."""
    places = [("URL", request.raw_path), *request.headers.items()]
    return tuple(
        name
        for name, text in places
        if name.lower() != "authorization" and any(token in text for token in TOKENS)
    )
