"""Which endpoints a pull may ask, in which order: short names, and what each name stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hfaria.errors import InvalidConfig, UsageError
from hfaria.rules.endpoints import (
    KNOWN_MIRRORS,
    Api,
    ConfiguredEndpoint,
    Endpoint,
    parse_endpoint,
)
from hfaria.rules.proxies import parse_proxy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ORIGIN_NAME = "origin"
_SHORT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OPTIONS: Mapping[str, type] = {"url": str, "connections": int, "proxy": str, "trusted": bool}


@dataclass(frozen=True, slots=True)
class AddressBook:
    """What short names stand for, and how to talk to those endpoints.

    ``trusted`` are those whose entry says that they may see the token.
    """

    origin: Endpoint
    entries: Mapping[str, ConfiguredEndpoint]
    trusted: tuple[Endpoint, ...] = ()

    def find(self, text: str, *, named_by: str) -> Endpoint:
        """Return the endpoint of a short name or URL; raises `InvalidConfig`.

        A URL that an entry has is that entry, so that its API is known, too.
        """
        name = text.strip()
        if name in self.entries:
            return self.entries[name].endpoint
        if _SHORT_NAME.fullmatch(name):
            raise InvalidConfig(
                f"{named_by}: `{name}` is neither a URL nor a short name",
                hint=f"short names: {', '.join(sorted(self.entries))}",
            )
        endpoint = parse_endpoint(name, named_by=named_by)
        same = (e.endpoint for e in self.entries.values() if e.endpoint.url == endpoint.url)
        return next(same, endpoint)

    def configure(self, endpoint: Endpoint, *, is_fallback: bool = False) -> ConfiguredEndpoint:
        """Return an endpoint with the options of its entry, if it has one."""
        same = (entry for entry in self.entries.values() if entry.endpoint == endpoint)
        return replace(next(same, ConfiguredEndpoint(endpoint)), is_fallback=is_fallback)


def read_address_book(table: Mapping[str, Any], origin: Endpoint, *, named_by: str) -> AddressBook:
    """Read the config file's ``mirrors``: by short name a URL, or a table of options.

    Known mirrors and the origin are in the book anyway; an entry for them adds options.
    """
    entries = {name: ConfiguredEndpoint(endpoint) for name, endpoint in KNOWN_MIRRORS.items()}
    entries[ORIGIN_NAME] = ConfiguredEndpoint(origin)
    trusted: list[Endpoint] = []
    for name, value in table.items():
        where = f"`{name}` in {named_by}"
        if not _SHORT_NAME.fullmatch(name):
            raise InvalidConfig(f"{where} is no short name: letters, digits, `.`, `_` and `-`")
        options = _options(value, where)
        entry = replace(_entry(name, options, entries.get(name), where), **_limits(options, where))
        entries[name] = entry
        if options.get("trusted"):
            trusted.append(check_may_be_trusted(entry.endpoint, named_by=where))
    return AddressBook(origin, entries, tuple(trusted))


def strongest(*sources: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what the first source names that names anything."""
    return next((source for source in sources if source), [])


def put_in_order(
    named: Sequence[tuple[str, str]], book: AddressBook, *, use_origin: bool
) -> tuple[ConfiguredEndpoint, ...]:
    """Return the endpoints of the strongest source, each with who named it, the origin last.

    Raises `UsageError` when one comes twice, or when nobody is left who could list a repo.
    """
    chosen: dict[Endpoint, ConfiguredEndpoint] = {}
    for text, named_by in named:
        endpoint = book.find(text, named_by=named_by)
        if endpoint in chosen:
            raise UsageError(f"{named_by}: `{text.strip()}` is named twice ({endpoint.url})")
        chosen[endpoint] = book.configure(endpoint)
    if use_origin and book.origin not in chosen:
        chosen[book.origin] = book.configure(book.origin, is_fallback=bool(chosen))
    if not chosen:
        raise UsageError("`--no-origin` leaves no endpoint", hint="name one with `--endpoint`")
    if all(endpoint.api is Api.MODELSCOPE for endpoint in chosen):
        raise UsageError(
            f"{next(iter(chosen)).host} gives bytes only: there is no Hub to list the repo",
            hint="name a Hub or mirror as well, or leave out `--no-origin`",
        )
    return tuple(chosen.values())


def trusted_endpoints(named: Iterable[tuple[str, str]], book: AddressBook) -> tuple[Endpoint, ...]:
    """Return who may see the token: the origin first, then those that the user trusts by name."""
    others = (
        check_may_be_trusted(book.find(text, named_by=named_by), named_by=named_by)
        for text, named_by in named
    )
    return tuple(dict.fromkeys((book.origin, *others, *book.trusted)))


def check_may_be_trusted(endpoint: Endpoint, *, named_by: str) -> Endpoint:
    """Return ``endpoint``, unless it is one whose API has no use for the token."""
    if endpoint.api is Api.MODELSCOPE:
        raise InvalidConfig(f"{named_by}: {endpoint.host} is no Hub, and never gets the token")
    return endpoint


def _options(value: object, where: str) -> dict[str, Any]:
    options = {"url": value} if isinstance(value, str) else value
    if not isinstance(options, dict):
        raise InvalidConfig(f"{where} is neither a URL nor a table")
    for key, option in options.items():
        if key not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise InvalidConfig(f"{where} has an unknown key `{key}`", hint=f"known keys: {known}")
        if type(option) is not _OPTIONS[key]:
            raise InvalidConfig(f"`{key}` of {where} has the wrong type")
    return options


def _entry(
    name: str, options: Mapping[str, Any], known: ConfiguredEndpoint | None, where: str
) -> ConfiguredEndpoint:
    url = options.get("url")
    if name == ORIGIN_NAME and url is not None:
        raise InvalidConfig(f"{where}: the origin's URL is set by the key `origin`")
    if url is not None:
        return ConfiguredEndpoint(parse_endpoint(url, named_by=where))
    if known is None:
        raise InvalidConfig(f"{where} has no `url`")
    return known


def _limits(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    connections, proxy = options.get("connections"), options.get("proxy")
    if connections is not None and connections < 1:
        raise InvalidConfig(f"`connections` of {where} is {connections}: it must be 1 or more")
    if proxy is not None:
        parse_proxy(proxy, named_by=f"`proxy` of {where}")
    return {"connections": connections, "proxy": proxy}
