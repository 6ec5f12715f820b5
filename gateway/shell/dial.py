"""The one way to the exchange: a connected TCP socket, straight or through a proxy, over IPv4 or IPv6.

REST, orders and streams all dial here, so that one setting governs them. What goes wrong is named by its kind (`dns`,
`proxy`, `tls`, `connect`) with the next step, and never holds the proxy's user or password. Certificates are checked by
whoever makes TLS of the socket, always, against the exchange's name; `explain` words what that finds.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from python_socks import ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy

DIAL_TIMEOUT_S = 10.0
HEAD_START_S = 0.25  # what one address gets before the next is tried beside it (RFC 8305)
MAX_ADDRESSES = 8
SCHEMES = ("http", "socks5", "socks5h")
LOOPBACK = ("localhost", "127.0.0.0/8", "::1")

IpFamily = Literal["auto", "4", "6"]
Dial = Callable[[str, int], Awaitable[socket.socket]]

_Address = tuple[int, "tuple[Any, ...]"]  # address family, and what `connect` takes
Resolve = Callable[[str, int, int], Awaitable[list[_Address]]]
_FAMILIES = {"auto": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}


class DialError(OSError):
    """No connection. `kind` is dns, proxy or connect; the text says what and the next step."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """`scheme` http (CONNECT), socks5 (names are resolved here) or socks5h (by the proxy)."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def proxy_address(url: str) -> ProxyAddress:
    """Raises ValueError without quoting the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL; write scheme://host:port or scheme://user:password@host:port") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"must start with one of {', '.join(f'{name}://' for name in SCHEMES)}")
    if not parts.hostname or port is None:
        raise ValueError("needs host and port: scheme://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("ends with the port: a proxy has no path")
    if (parts.username is None) != (parts.password is None):
        raise ValueError("has a user without password, or the reverse; write user:password@ or neither")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return ProxyAddress(parts.scheme, parts.hostname, port, user, password)


class Bypass:
    """Hosts that are reached straight: names (also what ends in `.name`), addresses and networks; `*` is every host."""

    def __init__(self, rules: Iterable[str]) -> None:
        """Raises ValueError on a rule with a slash that is no network."""
        self._all = False
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for rule in rules:
            if rule == "*":
                self._all = True
            elif (network := _network(rule)) is not None:
                self._networks.append(network)
            elif "/" in rule or not rule.strip("."):
                raise ValueError(f"{rule!r} is neither a host name nor an address or network")
            else:
                self._names.add(rule.lower().strip("."))

    def __contains__(self, host: str) -> bool:
        if self._all:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.lower().rstrip(".")
            return any(name == held or name.endswith("." + held) for held in self._names)
        return any(address in network for network in self._networks)


def _network(rule: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(rule)
    except ValueError:
        return None


class Dialler:
    """Call it with host and port: a connected non-blocking socket (TCP_NODELAY), or DialError within `timeout_s`."""

    def __init__(
        self,
        proxy: ProxyAddress | None = None,
        *,
        no_proxy: Iterable[str] = LOOPBACK,
        ip_family: IpFamily = "auto",
        timeout_s: float = DIAL_TIMEOUT_S,
        resolve: Resolve | None = None,
    ) -> None:
        """`resolve` is asked instead of the machine's resolver: as `loop.getaddrinfo`, with host, port and family."""
        self._proxy = proxy
        self._bypass = Bypass(no_proxy)
        self._ip_family: IpFamily = ip_family
        self._timeout_s = timeout_s
        self._look_up = resolve or _machines_resolver

    async def __call__(self, host: str, port: int) -> socket.socket:
        through = None if host in self._bypass else self._proxy
        where = f"{host}:{port}" if through is None else f"the proxy {through.host}:{through.port}"
        try:
            async with asyncio.timeout(self._timeout_s):
                made = await (self._straight(host, port) if through is None else self._through(through, host, port))
        except TimeoutError:
            kind = "connect" if through is None else "proxy"
            step = "check route and firewall" if through is None else "check that it runs, and venue.proxy"
            raise DialError(kind, f"{where} did not answer within {self._timeout_s:g} s; {step}") from None
        with contextlib.suppress(OSError):  # the connection is no worse without it
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    async def _straight(self, host: str, port: int, kind: str = "connect") -> socket.socket:
        addresses = await self._resolve(host, port, "dns" if kind == "connect" else kind)
        tried: set[asyncio.Task[socket.socket]] = set()
        errors: list[OSError] = []
        try:
            for family, address in addresses:
                tried.add(asyncio.create_task(_open(family, address)))
                head_start_s = HEAD_START_S if len(tried) + len(errors) < len(addresses) else None
                if (made := await _first(tried, errors, head_start_s)) is not None:
                    return made
        finally:
            await _drop(tried)
        reason = errors[0].strerror or str(errors[0])
        step = "check route and firewall" if kind == "connect" else "check that it runs, and venue.proxy"
        raise DialError(kind, f"{host}:{port} cannot be reached ({reason}); {step}")

    async def _resolve(self, host: str, port: int, kind: str) -> list[_Address]:
        """Addresses of the wanted family, the families taking turns, at most `MAX_ADDRESSES`."""
        only = "" if self._ip_family == "auto" else f" over IPv{self._ip_family} (venue.ip_family)"
        try:
            found = await self._look_up(host, port, _FAMILIES[self._ip_family])
        except OSError as error:  # gaierror too
            step = "check the name, the DNS server of this machine and venue.ip_family"
            raise DialError(kind, f"{host} has no address{only} ({error.strerror or error}); {step}") from None
        first = [one for one in found if one[0] == found[0][0]]
        rest = [one for one in found if one[0] != found[0][0]]
        turns = [one for pair in zip(first, rest, strict=False) for one in pair]
        short = min(len(first), len(rest))
        return (turns + first[short:] + rest[short:])[:MAX_ADDRESSES]

    async def _through(self, proxy: ProxyAddress, host: str, port: int) -> socket.socket:
        """The proxy's own address, and with socks5 the exchange's, are of the wanted family; else the proxy chooses."""
        target = host
        if proxy.scheme == "socks5":
            target = str((await self._resolve(host, port, "dns"))[0][1][0])
        proxy_ip = str((await self._resolve(proxy.host, proxy.port, "proxy"))[0][1][0])
        kind = ProxyType.HTTP if proxy.scheme == "http" else ProxyType.SOCKS5
        user, password = proxy.user or None, proxy.password or None
        way = Proxy(kind, proxy_ip, proxy.port, user, password, rdns=True)
        name = f"{proxy.host}:{proxy.port}"
        try:
            return await way.connect(target, port, timeout=self._timeout_s)
        except ProxyError as error:
            step = "check user and password in venue.proxy, and whether it may reach that port"
            what = str(error)[:80] or "it hung up"
            raise DialError("proxy", f"{name} refused the way to {host}:{port} ({what}); {step}") from None
        except TimeoutError:
            raise
        except OSError as error:
            step = "check that it runs, and venue.proxy"
            raise DialError("proxy", f"{name} cannot be reached ({_os_reason(error)}); {step}") from None


async def _machines_resolver(host: str, port: int, family: int) -> list[_Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [(one[0], one[4]) for one in found]


def _os_reason(error: OSError) -> str:
    inner = error.__cause__
    told = inner if isinstance(inner, OSError) else error
    return (told.strerror or str(told))[:80]


async def _open(family: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


async def _first(
    tried: set[asyncio.Task[socket.socket]], errors: list[OSError], within_s: float | None
) -> socket.socket | None:
    """The first of them that connects; None where all that were tried failed, or the head start is over."""
    loop = asyncio.get_running_loop()
    until_s = None if within_s is None else loop.time() + within_s
    while tried:
        left_s = None if until_s is None else max(0.0, until_s - loop.time())
        done, _ = await asyncio.wait(tried, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return None
        for task in done:
            tried.discard(task)
            error = task.exception()
            if error is None:
                return task.result()
            if not isinstance(error, OSError):
                raise error
            errors.append(error)
        if until_s is not None:
            return None  # a refusal need not be waited out: the next address goes at once
    return None


async def _drop(tried: set[asyncio.Task[socket.socket]]) -> None:
    """The slower ones: cancelled, and closed where they had just connected."""
    for task in tried:
        task.cancel()
    for late in await asyncio.gather(*tried, return_exceptions=True):
        if isinstance(late, socket.socket):
            late.close()


def explain(error: BaseException, host: str) -> str:
    """What a failed connection, handshake or certificate means, for people. `host` is the exchange's name."""
    if isinstance(error, DialError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"tls: the certificate of {host} is not trusted ({error.verify_message}); a private deployment names its "
            f"authority in venue.ca_file, else somebody stands between: never go on without this check"
        )
    if isinstance(error, ssl.SSLError):
        return f"tls: no secure connection with {host} ({error.reason or error}); is it https and wss there?"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
