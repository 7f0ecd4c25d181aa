"""The engine as the rest of hfaria sees it: transfers in, statuses out, all over aria2's RPC."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from hfaria.errors import EngineLost
from hfaria.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hfaria.engine.add_request import AddRequest
    from hfaria.engine.transport import SessionClient
    from hfaria.redact import Secret

_BATCH = 200
_UNDER_WAY = "this GID is under way"
_MOST_STATUSES = 2000
_SETTLE_TICK_SECONDS = 0.01
_KEYS = (
    *("gid", "status", "completedLength", "totalLength", "downloadSpeed"),
    *("connections", "errorCode", "errorMessage"),
)
_PIECE_KEYS = ("bitfield", "pieceLength")
ANSWER_SECONDS = 10.0
"""How long an engine may take to answer; it needs some milliseconds, unless the disk holds it."""

ENDED = frozenset({"complete", "error", "removed"})
"""The statuses that a transfer doesn't leave by itself."""


@dataclass(frozen=True, slots=True)
class RpcAddress:
    """Where a daemon listens, and the secret it asks for."""

    host: str
    port: int
    secret: Secret

    def __str__(self) -> str:
        return f"http://{self.host}:{self.port}/jsonrpc"


@dataclass(frozen=True, slots=True)
class RpcRefused:
    """A daemon's no, as a value."""

    code: int
    message: str

    @property
    def is_unknown_gid(self) -> bool:
        """Whether the daemon doesn't have, or no longer has, this GID in that state."""
        return "not found" in self.message.lower()

    @property
    def is_under_way(self) -> bool:
        """Whether the transfer to be added is there already, and not ended."""
        return self.message == _UNDER_WAY


Added: TypeAlias = "str | RpcRefused"


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """What aria2 says of one transfer. ``complete`` is no evidence that the bytes are right."""

    gid: str
    status: str
    completed_length: int = 0
    total_length: int = 0
    download_speed: int = 0
    connections: int = 0
    error_code: int = 0
    error_message: str = field(default="", repr=False)
    bitfield: str = field(default="", repr=False)
    """The pieces that are held whole, in hex; only where it was asked for."""
    piece_length: int = 0

    @property
    def is_ended(self) -> bool:
        """Whether aria2 has let go of the file."""
        return self.status in ENDED

    @property
    def is_queued(self) -> bool:
        """Whether aria2 lets it wait: for others, or since somebody paused it."""
        return self.status in {"waiting", "paused"}


@dataclass(frozen=True, slots=True)
class Poll:
    """One look at all of our transfers, taken in one moment."""

    active: tuple[TransferStatus, ...]
    waiting: tuple[TransferStatus, ...]
    stopped: tuple[TransferStatus, ...]
    hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of those transfers for which it was asked, the hosts that send bytes now, by GID."""

    @property
    def by_gid(self) -> dict[str, TransferStatus]:
        """Every status seen, by GID."""
        return {each.gid: each for each in (*self.stopped, *self.waiting, *self.active)}


class Engine:
    """A daemon's RPC. Refusals are values; silence, and nonsense, raise `EngineLost`.

    ``common_options`` go with every transfer. Only GIDs added here are reported or touched.
    ``keeps_gids``: aria2 has to know every transfer by the GID that it is added with, since another
    process may have added it as well; it gives a GID of its own to one whose size is told.
    """

    def __init__(
        self,
        address: RpcAddress,
        *,
        common_options: Mapping[str, str] | None = None,
        timeout_seconds: float = ANSWER_SECONDS,
        keeps_gids: bool = False,
    ) -> None:
        self.address = address
        self._common = dict(common_options or {})
        self._timeout = timeout_seconds
        self._tells_sizes = not keeps_gids
        self._own: set[str] = set()
        self._names: dict[str, str] = {}
        """What aria2 calls a transfer that has another GID there, by the GID that we gave it."""
        self._connected: SessionClient | None = None

    @property
    def own_gids(self) -> frozenset[str]:
        """The GIDs that were added here and not yet purged or removed."""
        return frozenset(self._own)

    def version(self) -> str:
        """Return aria2's version; raise `EngineLost` when the secret is refused."""
        answer = self._call("aria2.getVersion")
        if isinstance(answer, RpcRefused):
            raise EngineLost(f"the engine refuses to answer: {answer.message}")
        if "Metalink" not in answer.get("enabledFeatures", ()):
            self._tells_sizes = False
        return str(answer["version"])

    def global_options(self) -> dict[str, str]:
        """Return the daemon's global options; aria2 leaves the secret out."""
        answer = self._call("aria2.getGlobalOption")
        return {} if isinstance(answer, RpcRefused) else dict(answer)

    def transfer_options(self, gid: str) -> dict[str, str]:
        """Return the options of one transfer."""
        answer = self._call("aria2.getOption", gid)
        return {} if isinstance(answer, RpcRefused) else dict(answer)

    def add_many(self, transfers: Sequence[AddRequest]) -> list[Added]:
        """Add ``transfers``; return a GID, or why not, for each, in the same order.

        The result that an earlier attempt left under a GID makes room for the new attempt.
        """
        outcomes: list[Added] = []
        for start in range(0, len(transfers), _BATCH):
            batch = transfers[start : start + _BATCH]
            answers = self._add_batch(batch)
            # aria2 says "No URI to download" both of a GID that is taken and of a bad URI.
            refused = [at for at, answer in enumerate(answers) if isinstance(answer, RpcRefused)]
            again = [batch[at] for at in refused]
            self._forget_results([each.gid for each in again])
            for at, answer in zip(refused, self._add_batch(again), strict=True):
                answers[at] = answer
            self._name_those_under_way(batch, answers)
            outcomes.extend(answers)
        return outcomes

    def poll(self, *, with_pieces: bool = False, hosts_of: Iterable[str] = ()) -> Poll:
        """Look at every transfer of ours, in one request.

        The bitfields come ``with_pieces``, and the hosts of those transfers alone that are named.
        """
        keys = [*_KEYS, *(_PIECE_KEYS if with_pieces else ())]
        asked = list(hosts_of)
        answers = self._multicall(
            [
                ("aria2.tellActive", [keys]),
                ("aria2.tellWaiting", [0, _MOST_STATUSES, keys]),
                ("aria2.tellStopped", [-1, _MOST_STATUSES, list(_KEYS)]),  # the newest first
                *(("aria2.getServers", [gid]) for gid in asked),
            ]
        )
        active, waiting, stopped = (self._statuses(answer) for answer in answers[:3])
        hosts = {
            gid: _read_hosts(answer)
            for gid, answer in zip(asked, answers[3:], strict=True)
            if not isinstance(answer, RpcRefused)  # it has just ended
        }
        return Poll(active, waiting, stopped, hosts)

    def purge(self, gids: Iterable[str]) -> None:
        """Make aria2 forget transfers that have ended; do it once their statuses are read."""
        named = list(gids)
        self._forget_results(named)
        self._own.difference_update(named)
        for gid in named:
            self._names.pop(gid, None)

    def remove(self, gids: Iterable[str], *, settle_seconds: float = 5.0) -> frozenset[str]:
        """Take transfers from aria2, whatever their state, keeping partials and control files.

        Returns those that aria2 has let go of; of the others it may still write the files.
        """
        left = dict.fromkeys(gids)
        gone: set[str] = set()
        self._many("aria2.forceRemove", [[gid] for gid in left])
        deadline = time.monotonic() + settle_seconds
        while left:
            named = list(left)
            answers = self._many("aria2.tellStatus", [[gid, ["status"]] for gid in named])
            ended = [
                gid
                for gid, answer in zip(named, answers, strict=True)
                if isinstance(answer, RpcRefused) or answer["status"] in ENDED
            ]
            self.purge(ended)
            gone.update(ended)
            for gid in ended:
                del left[gid]
            if not left or time.monotonic() > deadline:
                break
            time.sleep(_SETTLE_TICK_SECONDS)  # aria2 removes in its next round
        return frozenset(gone)

    def pause(self, gids: Iterable[str]) -> dict[str, RpcRefused]:
        """Pause at once; return those that were refused."""
        return self._refusals("aria2.forcePause", gids)

    def unpause(self, gids: Iterable[str]) -> dict[str, RpcRefused]:
        """Continue; return those that were refused."""
        return self._refusals("aria2.unpause", gids)

    def change_uri(
        self, gid: str, *, remove: Sequence[str], add: Sequence[str]
    ) -> RpcRefused | None:
        """Replace URIs; to move every connection, pause before and unpause after.

        What is added alone gets connections at once, if ``split`` allows more than there are.
        A connection under way stays on its URI to the end of its range, and puts it back when
        paused: so one that is to be removed must not be in use.
        """
        known = self._call("aria2.getUris", gid) if remove else []
        if isinstance(known, RpcRefused):
            return known
        # aria2 keeps a URI once per split, and takes out one copy per mention.
        copies = [each["uri"] for each in known if each["uri"] in remove]
        answer = self._call("aria2.changeUri", gid, 1, copies, list(add))
        return answer if isinstance(answer, RpcRefused) else None

    def set_rate_limit(self, bytes_per_second: int) -> None:
        """Limit all transfers together; 0 lifts the limit. Not for a daemon of the user's."""
        limit = str(max(0, bytes_per_second))
        self._call("aria2.changeGlobalOption", {"max-overall-download-limit": limit})

    def limit_each(self, gids: Iterable[str], bytes_per_second: int) -> None:
        """Limit some transfers, each by itself; 0 lifts the limit."""
        option = {"max-download-limit": str(max(0, bytes_per_second))}
        self._many("aria2.changeOption", [[gid, option] for gid in gids])

    def close(self) -> None:
        """Drop the connection."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _add_batch(self, batch: Sequence[AddRequest]) -> list[Added]:
        free = [each for each in batch if each.gid not in self._names]
        calls = [each.call(self._common, tells_size=self._tells_sizes) for each in free]
        answers = dict(zip((each.gid for each in free), self._multicall(calls), strict=True))
        added: list[Added] = []
        for each in batch:
            answer = answers.get(each.gid, RpcRefused(1, _UNDER_WAY))
            if isinstance(answer, RpcRefused):
                added.append(answer)
                continue
            if isinstance(answer, list):  # of the Metalink's files, and ours has one
                self._names[each.gid] = str(answer[0])
            self._own.add(each.gid)
            added.append(each.gid)
        return added

    def _forget_results(self, gids: Sequence[str]) -> None:
        answers = self._many("aria2.removeDownloadResult", [[gid] for gid in gids])
        for gid, answer in zip(gids, answers, strict=True):
            if not isinstance(answer, RpcRefused):
                self._names.pop(gid, None)

    def _name_those_under_way(self, batch: Sequence[AddRequest], answers: list[Added]) -> None:
        refused = [at for at, answer in enumerate(answers) if isinstance(answer, RpcRefused)]
        told = self._many("aria2.tellStatus", [[batch[at].gid, ["status"]] for at in refused])
        for at, status in zip(refused, told, strict=True):
            if not isinstance(status, RpcRefused) and status["status"] not in ENDED:
                answers[at] = RpcRefused(1, _UNDER_WAY)

    def _refusals(self, method: str, gids: Iterable[str]) -> dict[str, RpcRefused]:
        named = list(gids)
        answers = self._many(method, [[gid] for gid in named])
        return {
            gid: answer
            for gid, answer in zip(named, answers, strict=True)
            if isinstance(answer, RpcRefused)
        }

    def _statuses(self, answer: Any) -> tuple[TransferStatus, ...]:  # noqa: ANN401 - JSON
        if isinstance(answer, RpcRefused):
            raise EngineLost(f"the engine refuses to answer: {answer.message}")
        ours = {self._names.get(gid, gid): gid for gid in self._own}
        return tuple(
            _read_status(each, ours[each["gid"]]) for each in answer if each["gid"] in ours
        )

    def _many(self, method: str, parameters: Sequence[list[Any]]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(parameters), _BATCH):
            batch = parameters[start : start + _BATCH]
            answers.extend(self._multicall([(method, each) for each in batch]))
        return answers

    def _multicall(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        """Return each call's result or `RpcRefused`."""
        from hfaria.engine.transport import ClientException  # noqa: PLC0415 - aria2p is slow

        named = [(method, self._with_name(parameters)) for method, parameters in calls]
        try:
            answers = self._client().multicall2(named)
        except ClientException as exc:
            raise EngineLost(f"the engine refuses to answer: {redact(exc.message)}") from exc
        if not isinstance(answers, list) or len(answers) != len(calls):
            raise EngineLost("the engine answers with something else than was asked")
        return [_read_answer(answer) for answer in answers]

    def _call(self, method: str, *parameters: object) -> Any:  # noqa: ANN401 - JSON
        from hfaria.engine.transport import ClientException  # noqa: PLC0415 - aria2p is slow

        try:
            return self._client().call(method, self._with_name(list(parameters)))
        except ClientException as exc:
            return RpcRefused(exc.code, redact(exc.message))

    def _with_name(self, parameters: list[Any]) -> list[Any]:
        """Name a transfer as aria2 does; it is the first parameter of what is asked about one."""
        if parameters and isinstance(parameters[0], str):
            return [self._names.get(parameters[0], parameters[0]), *parameters[1:]]
        return parameters

    def _client(self) -> SessionClient:
        if self._connected is None:
            from hfaria.engine.transport import SessionClient  # noqa: PLC0415 - aria2p is slow

            self._connected = SessionClient(
                f"http://{self.address.host}",
                self.address.port,
                secret=self.address.secret,
                timeout_seconds=self._timeout,
            )
        return self._connected


def _read_answer(answer: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(answer, list) and len(answer) == 1:
        return answer[0]
    if isinstance(answer, dict) and "message" in answer:
        return RpcRefused(int(answer.get("code", 0)), redact(str(answer["message"])))
    raise EngineLost("the engine answers with something else than was asked")


def _read_status(fields: Mapping[str, str], gid: str) -> TransferStatus:
    return TransferStatus(
        gid=gid,
        status=fields["status"],
        completed_length=int(fields.get("completedLength", 0)),
        total_length=int(fields.get("totalLength", 0)),
        download_speed=int(fields.get("downloadSpeed", 0)),
        connections=int(fields.get("connections", 0)),
        error_code=int(fields.get("errorCode", 0)),
        error_message=redact(fields.get("errorMessage", "")),
        bitfield=fields.get("bitfield", ""),
        piece_length=int(fields.get("pieceLength", 0)),
    )


def _read_hosts(answer: Any) -> frozenset[str]:  # noqa: ANN401 - JSON
    return frozenset(
        urlsplit(server["currentUri"]).netloc
        for file in answer
        for server in file["servers"]
        if server["downloadSpeed"] != "0"
    )
