"""The engine's side of a pull: start it when first needed, feed it blobs, read what became of them.

Everything that touches a partial on aria2's behalf is here, so that no caller can hand aria2 a
file that was not looked at before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfaria.engine.add_request import AddRequest, gid_for
from hfaria.engine.partial import (
    PartialAction,
    backup_control,
    current_boot_id,
    held_ranges,
    prepare_partial,
)
from hfaria.engine.rate import EngineRate
from hfaria.engine.rpc import RpcRefused
from hfaria.engine.tunables import proxy_options
from hfaria.engine.verdicts import failure_of_status
from hfaria.errors import EngineLost
from hfaria.rules.control_file import DEFAULT_PIECE_LENGTH
from hfaria.rules.deliveries import Deliveries, Run
from hfaria.rules.failures import Failure, Reason
from hfaria.rules.preflight import LARGEST_WHOLE_ANSWER
from hfaria.rules.transfers import Arrived, Cancelled, Event, Failed, Progressed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import Protocol

    from hfaria.engine.bridge import Bridge
    from hfaria.engine.rpc import Engine, Poll, TransferStatus
    from hfaria.rules.plan import Transfer
    from hfaria.rules.proxies import Proxy

    class Daemon(Protocol):
        """A daemon, managed or attached."""

        @property
        def engine(self) -> Engine:
            """Its RPC."""

        @property
        def is_attached(self) -> bool:
            """Whether it is somebody else's."""

        def last_words(self) -> str:
            """Return the end of its log."""


_BACKUP_SECONDS = 10.0
_PIECES_SECONDS = 0.2  # a bitfield of 50 GB has 12 kB, so not at each poll
_HOSTS_SECONDS = 1.0
_ASLEEP_SECONDS = 20.0  # more than the engine may take to answer
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """A transfer for the engine, and the URL of its first source.

    ``sources`` is how many may come in all: aria2 limits connections for each host, and ranges in
    all, and the latter can't be raised once it moves. ``connections`` caps those to each source.
    ``proxy`` is the way to the first source.
    """

    transfer: Transfer
    url: str
    sources: int = 1
    connections: int | None = None
    proxy: Proxy | None = None


@dataclass(slots=True)
class _Movement:
    transfer: Transfer
    held_at_start: int
    sources: int = 1
    proxy: Proxy | None = None
    is_bridged: bool = False
    status: TransferStatus | None = None
    hosts: frozenset[str] | None = None


@dataclass(slots=True)
class Mover:
    """Moves blobs into ``partials`` with the daemon that ``start`` returns.

    ``scope`` keeps the GIDs of two pulls in one attached daemon apart. `bytes_moved` counts what
    came over the network.
    """

    partials: Path
    start: Callable[[], Daemon]
    connections: int
    scope: str
    largest_whole_answer: int = LARGEST_WHOLE_ANSWER
    bridge: Bridge | None = None
    """For transfers whose way is none of aria2's, or whose sources may have different ways."""
    wall_clock: Callable[[], float] = time.time
    """A clock that goes on while the machine sleeps."""
    bytes_moved: int = 0
    _daemon: Daemon | None = None
    _moving: dict[str, _Movement] = field(default_factory=dict)
    _lost: str | None = None
    """Why the engine is believed to be gone, until a poll has told it."""
    _backed_up_at: float = 0.0
    _pieces_at: float = 0.0
    _hosts_at: float = 0.0
    _polled_at: float = 0.0
    _rate: EngineRate = field(default_factory=EngineRate)
    _deliveries: dict[str, Deliveries] = field(default_factory=dict)

    @property
    def is_busy(self) -> bool:
        """Whether anything is with the engine."""
        return bool(self._moving)

    def statuses(self) -> tuple[tuple[Transfer, int, int], ...]:
        """Return each transfer under way with its bytes held and bytes per second."""
        return tuple(
            (
                movement.transfer,
                held_bytes(movement.status, movement.held_at_start),
                movement.status.download_speed if movement.status else 0,
            )
            for movement in self._moving.values()
        )

    @property
    def bytes_held(self) -> int:
        """Bytes of unfinished transfers that are in their partials now."""
        return sum(
            held_bytes(movement.status, movement.held_at_start)
            for movement in self._moving.values()
        )

    def move(self, wanted: Sequence[MoveRequest]) -> list[Event]:
        """Give transfers with their URLs to the engine; returns what is known at once."""
        events: list[Event] = []
        requests: list[AddRequest] = []
        prepared: dict[str, _Movement] = {}
        for each in wanted:
            transfer = each.transfer
            name = transfer.blob_name
            path = self.partials / name
            state = prepare_partial(path, transfer.size, boot_id=current_boot_id())
            if state.action is PartialAction.COMPLETE_UNVERIFIED:
                events.append(Arrived(name))
                continue
            if name not in self._deliveries:
                deliveries = Deliveries(transfer.size, DEFAULT_PIECE_LENGTH)
                deliveries.note_held(held_ranges(path))
                self._deliveries[name] = deliveries
            gid = gid_for(name, self.scope)
            needs_bridge = each.sources > 1 or (each.proxy is not None and not each.proxy.is_plain)
            movement = _Movement(
                transfer,
                state.held_bytes,
                each.sources,
                each.proxy,
                is_bridged=self.bridge is not None and needs_bridge,
            )
            prepared[gid] = movement
            requests.append(self._request(gid, each, movement))
        if requests:
            events += self._add(requests, prepared)
        return events

    def add_source(self, transfer: Transfer, url: str, proxy: Proxy | None = None) -> None:
        """Let the engine take bytes from ``url``, too; nothing if the transfer has ended."""
        gid = gid_for(transfer.blob_name, self.scope)
        movement = self._moving.get(gid)
        if movement is None or self._lost is not None:
            return
        if movement.is_bridged and self.bridge is not None:
            self.bridge.lead(gid, url, proxy)
        elif proxy != movement.proxy:
            return  # aria2 has one way for each transfer
        try:
            self._engine().change_uri(gid, remove=(), add=(url,))
        except EngineLost as exc:
            self._lost = exc.message
            return
        movement.sources = max(movement.sources, 2)

    def deliveries(self, transfer: Transfer) -> tuple[Run, ...]:
        """Return in which order the ranges arrived, over all attempts until they are forgotten."""
        deliveries = self._deliveries.get(transfer.blob_name)
        return () if deliveries is None else deliveries.runs()

    def forget_deliveries(self, transfer: Transfer) -> None:
        """Forget them: the transfer is published, given up, or begins anew."""
        self._deliveries.pop(transfer.blob_name, None)

    def _request(self, gid: str, wanted: MoveRequest, movement: _Movement) -> AddRequest:
        transfer = wanted.transfer
        options = self._proxy_options(gid, wanted, movement)
        is_huge = transfer.size > self.largest_whole_answer
        if is_huge:
            # One that can't be told the size asks for it: then all of its GETs have a range.
            options += (("use-head", "true"),)
        connections = min(self.connections, wanted.connections or self.connections)
        return AddRequest(
            gid=gid,
            uris=(wanted.url,),
            directory=self.partials,
            out=transfer.blob_name,
            # One that begins anew may come from a server that knows no ranges.
            size=transfer.size if is_huge or movement.held_at_start else None,
            split=connections * max(1, wanted.sources),
            connections=connections,
            min_split_size=_MIB,
            options=options,
        )

    def _proxy_options(
        self, gid: str, wanted: MoveRequest, movement: _Movement
    ) -> tuple[tuple[str, str], ...]:
        proxy = wanted.proxy
        if movement.is_bridged and self.bridge is not None:
            self.bridge.lead(gid, wanted.url, proxy)
            return self.bridge.options(gid)
        if proxy is None:
            return ()
        return proxy_options(proxy)

    def _add(self, requests: list[AddRequest], prepared: dict[str, _Movement]) -> list[Event]:
        events: list[Event] = []
        engine = self._engine()  # one that can't be started is no engine that was lost
        if not self._moving:
            self._polled_at = self.wall_clock()
        self._moving.update(prepared)
        try:
            answers = engine.add_many(requests)
        except EngineLost as exc:
            self._lost = exc.message
            return events
        self._tell_rate()
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, RpcRefused):
                movement = self._moving.pop(request.gid)
                failure = Failure(Reason.TRANSPORT, f"the engine refuses it: {answer.message}")
                events.append(Failed(movement.transfer.blob_name, failure))
        return events

    def poll(self) -> list[Event]:
        """Read what became of the transfers. Raises `EngineLost` when nobody answers any more."""
        if not self._moving:
            return []
        if self._lost is not None:
            raise EngineLost(self._lost)
        now = time.monotonic()
        poll = self._look(now)
        events: list[Event] = []
        ended: list[str] = []
        for gid, status in poll.by_gid.items():
            movement = self._moving.get(gid)
            if movement is None:
                continue
            self._count(movement, status)
            self._note_delivery(movement.transfer, status, now)
            movement.hosts = poll.hosts.get(gid, movement.hosts)
            event = self._read(movement, status)
            events.append(event)
            if not isinstance(event, Progressed):
                ended.append(gid)
                del self._moving[gid]
        if ended:
            self._engine().purge(ended)
            self._forget_ways(ended)
            self._tell_rate()
        self._back_up()
        return events

    def _look(self, now: float) -> Poll:
        with_pieces = now - self._pieces_at >= _PIECES_SECONDS
        if with_pieces:
            self._pieces_at = now
        shared = [gid for gid, each in self._moving.items() if each.sources > 1]
        hosts_of = shared if now - self._hosts_at >= _HOSTS_SECONDS else []
        if hosts_of:
            self._hosts_at = now
        try:
            poll = self._engine().poll(with_pieces=with_pieces, hosts_of=hosts_of)
        except EngineLost:
            # A machine that slept took the engine's time to answer along: it gets it again.
            if self.wall_clock() - self._polled_at < _ASLEEP_SECONDS:
                raise
            self._polled_at = self.wall_clock()
            poll = self._engine().poll(with_pieces=with_pieces)
        self._polled_at = self.wall_clock()
        return poll

    def _note_delivery(self, transfer: Transfer, status: TransferStatus, now: float) -> None:
        deliveries = self._deliveries.get(transfer.blob_name)
        if deliveries is None:
            return
        if status.status == "complete":
            deliveries.note_end(now)
        elif (
            status.total_length == transfer.size
            and status.piece_length == deliveries.piece_length
            and status.bitfield
        ):
            deliveries.note_bitfield(status.bitfield, now)

    def _read(self, movement: _Movement, status: TransferStatus) -> Event:
        transfer = movement.transfer
        if status.status == "complete":
            return Arrived(transfer.blob_name)
        if status.status == "error":
            return Failed(transfer.blob_name, failure_of_status(status))
        if status.status == "removed":
            return Cancelled(transfer.blob_name)
        if status.total_length not in {0, transfer.size}:
            # Known at the first answer: a login page, or another file. Not a byte more of it.
            gid = gid_for(transfer.blob_name, self.scope)
            self._engine().remove([gid])
            detail = f"{status.total_length} bytes instead of {transfer.size}"
            return Failed(transfer.blob_name, Failure(Reason.WRONG_LENGTH, detail))
        return Progressed(
            transfer.blob_name,
            status.completed_length,
            status.connections,
            movement.hosts if movement.sources > 1 else None,
            is_queued=status.is_queued,
            share=self._rate.share_of(len(self._moving)),
        )

    def cancel(self, transfers: list[Transfer]) -> list[Event]:
        """Take transfers from the engine, keeping what is staged."""
        gids = {gid_for(each.blob_name, self.scope): each for each in transfers}
        try:
            gone = self._engine().remove([gid for gid in gids if gid in self._moving])
        except EngineLost as exc:
            self._lost = exc.message
            return []
        if len(gone) < len([gid for gid in gids if gid in self._moving]):
            # It may still write what it was told to let go.
            self._lost = "the engine does not let go of a transfer"
            return []
        for gid in gids:
            self._moving.pop(gid, None)
        self._forget_ways(gids)
        return [Cancelled(each.blob_name) for each in transfers]

    def _forget_ways(self, gids: Iterable[str]) -> None:
        if self.bridge is not None:
            for gid in gids:
                self.bridge.forget(gid)

    def forget_all(self) -> None:
        """After the engine's death: nothing is with it any more; the partials stay."""
        self._moving.clear()
        self._daemon = None
        self._lost = None

    def last_words(self) -> str:
        """Return the end of the daemon's log."""
        return "" if self._daemon is None else self._daemon.last_words()

    def limit_rate(self, bytes_per_second: int | None) -> None:
        """Limit all transfers together, those to come as well; None lifts the limit."""
        self._rate.bytes_per_second = bytes_per_second
        self._tell_rate()

    def _tell_rate(self) -> None:
        if self._daemon is None or self._lost is not None:
            return
        try:
            self._rate.tell(
                self._daemon.engine, self._moving.keys(), is_attached=self._daemon.is_attached
            )
        except EngineLost as exc:
            self._lost = exc.message

    def _engine(self) -> Engine:
        if self._daemon is None:
            self._daemon = self.start()
            self._rate.forget()
            self._tell_rate()
        return self._daemon.engine

    def _count(self, movement: _Movement, status: TransferStatus) -> None:
        before = held_bytes(movement.status, movement.held_at_start)
        if status.completed_length > before:
            self.bytes_moved += status.completed_length - before
        if status.completed_length or movement.status is not None:
            movement.status = status

    def _back_up(self) -> None:
        now = time.monotonic()
        if now - self._backed_up_at < _BACKUP_SECONDS:
            return
        self._backed_up_at = now
        for movement in self._moving.values():
            backup_control(self.partials / movement.transfer.blob_name)


def held_bytes(status: TransferStatus | None, held_at_start: int) -> int:
    """Return what is in a partial, before and after the engine has said so."""
    return held_at_start if status is None else status.completed_length
