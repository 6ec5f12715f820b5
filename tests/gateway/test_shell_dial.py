"""The one way to the exchange: REST, orders and streams through real proxies, over IPv4 and IPv6, under TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.core.effects import Connect, Send
from gateway.core.inputs import Frame, RestFailed, RestReply, StreamClosed, StreamOpened
from gateway.settings import plan
from gateway.shell import dial as dial_module
from gateway.shell.dial import Bypass, Dial, DialError, Dialler, ProxyAddress, proxy_address
from gateway.shell.order_transport import OrderTransport
from gateway.shell.rest import Rest
from gateway.shell.streams import Streams
from gateway.shell.streams import Told as StreamTold
from gateway.venues.binance.sign import Signer
from ipc.config import Config, ConfigError, load
from tests.gateway.http_rig import ORDER, PING, Exchange, Told, http, too_much
from tests.gateway.proxy_rig import ForwardProxy
from tests.waiting import eventually

NAME = "exchange.test"  # only a proxy can resolve it
SECRET = "p/w:s3cret@x"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def exchange(authority: trustme.CA) -> AsyncIterator[Exchange]:
    """REST and orders over TLS, under a name and under localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME, "localhost", "127.0.0.1").configure_cert(context)
    exchange = Exchange()
    await exchange.start(context)
    yield exchange
    await exchange.stop()


@pytest.fixture
async def stream_port(authority: trustme.CA) -> AsyncIterator[int]:
    async def greet(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.send("hello")
            await connection.wait_closed()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME, "localhost", "127.0.0.1").configure_cert(context)
    async with serve(greet, "127.0.0.1", 0, ssl=context, ping_interval=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@pytest.fixture
async def proxy() -> AsyncIterator[ForwardProxy]:
    proxy = ForwardProxy("trader", "p%2Fw%3As3cret%40x")
    proxy._password = SECRET
    proxy.names[NAME] = "127.0.0.1"
    await proxy.start()
    yield proxy
    await proxy.stop()


def through(proxy: ForwardProxy, scheme: str, password: str = SECRET) -> ProxyAddress:
    return ProxyAddress(scheme, "127.0.0.1", proxy.port, "trader", password)


def order(number: int = 1) -> Send:
    return Send(("orders", "x", number), "POST", "/fapi/v1/order", (("symbol", "A"),), "signed", lane="entry")


def question(number: int = 1) -> Send:
    return Send(("market", "x", number), "GET", "/fapi/v1/x", (("symbol", "A"),), timeout_ms=8_000)


class Ends:
    """The three shells over one dialler."""

    def __init__(self, host: str, port: int, dial: Dial, context: ssl.SSLContext) -> None:
        self.told, self.streamed = Told(), list[StreamTold]()
        signer = Signer("the-key", "the-secret")
        self.rest = Rest(f"https://{host}:{port}", signer, self.told, ssl_context=context, dial=dial)
        self.orders = OrderTransport(
            f"https://{host}:{port}", signer, self.told, PING, ssl_context=context, dial=dial, warm=1, most=1
        )
        self.streams = Streams(self.streamed.append, ssl_context=context, dial=dial)

    async def __aenter__(self) -> Ends:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.streams.close()
        await self.orders.close()
        await self.rest.close()

    async def closed(self) -> str:
        """The reason of the first stream end."""
        await eventually(lambda: any(isinstance(one, StreamClosed) for one in self.streamed), "the end is told", 12)
        return next(one.reason for one in self.streamed if isinstance(one, StreamClosed))


@pytest.mark.parametrize(
    ("scheme", "host"), [("http", NAME), ("socks5h", NAME), ("socks5", "localhost"), ("", "localhost")]
)
async def test_rest_orders_and_streams_reach_the_exchange_the_same_way_and_under_its_own_certificate(
    exchange: Exchange, stream_port: int, proxy: ForwardProxy, trusting: ssl.SSLContext, scheme: str, host: str
) -> None:
    dial = Dialler(through(proxy, scheme) if scheme else None, no_proxy=())
    async with Ends(host, exchange.port, dial, trusting) as ends:
        ends.rest.send(question())
        assert isinstance((await ends.told.wait(1))[0], RestReply)
        ends.orders.start()
        ends.orders.send(order())
        assert isinstance((await ends.told.wait(2))[1], RestReply)
        ends.streams.connect(Connect("public", f"wss://{host}:{stream_port}/public/ws"))
        await eventually(lambda: len(ends.streamed) == 2, "it opened and a frame came")
        assert isinstance(ends.streamed[0], StreamOpened)
        assert isinstance(ends.streamed[1], Frame)
        kind = {"http": "CONNECT", "socks5h": "name", "socks5": "address", "": ""}[scheme]
        named = "127.0.0.1" if scheme == "socks5" else host
        ways = [(kind, named, port) for port in (exchange.port, exchange.port, stream_port)] if scheme else []
        assert proxy.asked == ways


async def test_an_answer_of_megabytes_comes_whole_through_a_proxy_and_the_connection_serves_again(
    exchange: Exchange, proxy: ForwardProxy, trusting: ssl.SSLContext
) -> None:
    exchange.script = too_much
    async with Ends(NAME, exchange.port, Dialler(through(proxy, "http")), trusting) as ends:
        for number in (1, 2, 3):
            ends.rest.send(question(number))
            reply = (await ends.told.wait(number))[-1]
            assert isinstance(reply, RestReply)
            assert reply.body == b"x" * (2 << 20)
        assert len(proxy.asked) == 1, "kept alive: one tunnel served them all"


async def test_bytes_nobody_asked_for_on_an_idle_connection_are_no_answer_to_the_next_question(
    exchange: Exchange, trusting: ssl.SSLContext
) -> None:
    async with Ends("localhost", exchange.port, Dialler(), trusting) as ends:
        ends.rest.send(question(1))
        await ends.told.wait(1)
        pool = ends.rest._client._transport._pool  # type: ignore[attr-defined]
        stream = pool.connections[0]._connection._network_stream
        assert not stream.get_extra_info("is_readable")
        exchange.writers[0].write(http(b"stray"))
        await eventually(lambda: stream.get_extra_info("is_readable"), "the stray bytes are there")
        ends.rest.send(question(2))
        replies = await ends.told.wait(2)
        assert [one.body for one in replies if isinstance(one, RestReply)] == [ORDER, ORDER]
        assert exchange.connections == 2


Breaker = Callable[[ForwardProxy], Awaitable[None] | None]


def refuse(proxy: ForwardProxy) -> None:
    proxy.mode = "refuse"


def cut(proxy: ForwardProxy) -> None:
    proxy.mode = "cut"


def mute(proxy: ForwardProxy) -> None:
    proxy.mode = "mute"


def other_password(proxy: ForwardProxy) -> None:
    proxy._password = "another"


async def gone(proxy: ForwardProxy) -> None:
    await proxy.stop()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("breaker", [refuse, cut, mute, other_password, gone])
async def test_a_proxy_that_fails_is_named_with_the_next_step_nothing_counts_as_sent_and_no_secret_is_told(
    exchange: Exchange, proxy: ForwardProxy, trusting: ssl.SSLContext, breaker: Breaker, scheme: str
) -> None:
    waited = breaker(proxy)
    if waited is not None:
        await waited
    dial = Dialler(through(proxy, scheme), timeout_s=0.5)
    async with Ends(NAME, exchange.port, dial, trusting) as ends:
        ends.orders.start()
        await eventually(lambda: ends.orders.last_connect_error, "a warm connection was tried", 12)
        ends.orders.send(order())
        ends.rest.send(question())
        ends.streams.connect(Connect("public", f"wss://{NAME}:{exchange.port}/public/ws"))
        reasons = [await ends.closed()]
        for failed in await ends.told.wait(2):
            assert isinstance(failed, RestFailed)
            assert not failed.sent
            reasons.append(failed.reason)
        for reason in reasons:
            assert "proxy: " in reason
            assert "venue.proxy" in reason
            assert "s3cret" not in reason
            assert "trader" not in reason
    assert exchange.requests == []


async def test_when_the_proxy_is_back_everything_goes_on(
    exchange: Exchange, proxy: ForwardProxy, trusting: ssl.SSLContext
) -> None:
    async with Ends(NAME, exchange.port, Dialler(through(proxy, "socks5h")), trusting) as ends:
        ends.orders.start()
        await eventually(lambda: ends.orders.status()["open"] == 1, "one connection is warm")
        await proxy.stop()
        await eventually(lambda: ends.orders.status()["connect_failures"] > 1, "the warm connection ended with it")
        await proxy.start()
        await eventually(lambda: ends.orders.status()["open"] == 1, "it is warm again", 15)
        ends.orders.send(order())
        ends.rest.send(question())
        assert [one for one in await ends.told.wait(2) if not isinstance(one, RestReply)] == []


@pytest.mark.parametrize("kind", ["rest", "orders", "streams"])
async def test_a_certificate_nobody_vouches_for_ends_the_connection_before_a_byte_of_ours_and_is_named(
    exchange: Exchange, kind: str
) -> None:
    async with Ends("localhost", exchange.port, Dialler(), ssl.create_default_context()) as ends:
        if kind == "streams":
            ends.streams.connect(Connect("public", f"wss://localhost:{exchange.port}/public/ws"))
            reason = await ends.closed()
        else:
            if kind == "orders":
                ends.orders.start()
                await eventually(lambda: ends.orders.last_connect_error, "a warm connection was tried", 12)
                ends.orders.send(order())
            else:
                ends.rest.send(question())
            (failed,) = await ends.told.wait(1)
            assert isinstance(failed, RestFailed)
            assert not failed.sent
            reason = failed.reason
        assert "tls: the certificate of localhost is not trusted" in reason
        assert "venue.ca_file" in reason
    assert exchange.requests == []


async def test_a_certificate_of_another_name_is_refused_though_its_authority_is_trusted(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.test").configure_cert(context)
    other = Exchange()
    await other.start(context)
    async with Ends("localhost", other.port, Dialler(), trusting) as ends:
        ends.rest.send(question())
        (failed,) = await ends.told.wait(1)
        assert isinstance(failed, RestFailed)
        assert "not trusted" in failed.reason
    await other.stop()
    assert other.requests == []


async def test_a_name_without_address_is_named_as_such_and_works_once_it_has_one(
    exchange: Exchange, trusting: ssl.SSLContext
) -> None:
    known = asyncio.Event()

    async def resolve(host: str, port: int, family: int) -> list[tuple[int, tuple[object, ...]]]:
        if not known.is_set():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, ("127.0.0.1", port))]

    async with Ends(NAME, exchange.port, Dialler(resolve=resolve), trusting) as ends:
        ends.orders.start()
        ends.rest.send(question())
        (failed,) = await ends.told.wait(1)
        assert isinstance(failed, RestFailed)
        assert not failed.sent
        assert f"dns: {NAME} has no address" in failed.reason
        await eventually(lambda: ends.orders.status()["connect_failures"] > 1, "warm connections are tried and paused")
        assert "dns:" in ends.orders.last_connect_error
        known.set()
        await eventually(lambda: ends.orders.status()["open"] == 1, "a warm connection", 15)
        ends.rest.send(question(2))
        assert isinstance((await ends.told.wait(2))[1], RestReply)


async def test_the_machines_own_resolver_is_asked() -> None:
    with pytest.raises(DialError, match=r"^dns: no-such-host\.invalid has no address"):
        await Dialler()("no-such-host.invalid", 443)


class Both:
    """Servers on the IPv4 and IPv6 loopback at one port, and a resolver that names both."""

    def __init__(self) -> None:
        self.hits: list[int] = []
        self.port = 0
        self.servers: list[asyncio.Server] = []

    async def start(self, *families: int) -> None:
        for family in families:

            async def hit(_reader: object, writer: asyncio.StreamWriter, family: int = family) -> None:
                self.hits.append(family)
                writer.close()

            where = "127.0.0.1" if family == socket.AF_INET else "::1"
            server = await asyncio.start_server(hit, where, self.port, family=family)
            self.port = server.sockets[0].getsockname()[1]
            self.servers.append(server)

    async def resolve(self, host: str, port: int, family: int) -> list[tuple[int, tuple[object, ...]]]:
        found: list[tuple[int, tuple[object, ...]]] = [
            (socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port)),
        ]  # fmt: skip
        wanted = [one for one in found if family in (socket.AF_UNSPEC, one[0])]
        if not wanted:
            raise socket.gaierror(socket.EAI_NONAME, "Address family not supported")
        return wanted

    async def reached(self, ip_family: dial_module.IpFamily) -> int:
        made = await Dialler(ip_family=ip_family, resolve=self.resolve)("both.test", self.port)
        family = made.family
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "an order is not held for company"
        made.close()
        return family


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 loopback on this machine")
    both = Both()
    yield both
    for server in both.servers:
        server.close()
        await server.wait_closed()


async def test_the_address_family_is_the_one_that_is_chosen(both: Both) -> None:
    await both.start(socket.AF_INET, socket.AF_INET6)
    assert await both.reached("4") == socket.AF_INET
    assert await both.reached("6") == socket.AF_INET6
    assert await both.reached("auto") == socket.AF_INET6, "the first the resolver names"


async def test_left_to_itself_it_takes_whichever_family_answers_and_a_fixed_one_never_another(both: Both) -> None:
    await both.start(socket.AF_INET)
    assert await both.reached("auto") == socket.AF_INET
    with pytest.raises(DialError, match=r"connect: .*cannot be reached"):
        await both.reached("6")


async def test_an_address_that_does_not_answer_costs_a_moment_not_the_time_out() -> None:
    full = socket.socket()
    full.bind(("127.0.0.2", 0))
    full.listen(0)
    port = full.getsockname()[1]
    crowd = [socket.socket() for _ in range(3)]
    for one in crowd:  # its queue is full: a further connection waits for ever
        one.setblocking(False)
        one.connect_ex(("127.0.0.2", port))
    other = socket.socket()
    other.bind(("127.0.0.1", port))
    other.listen()

    async def resolve(host: str, port: int, family: int) -> list[tuple[int, tuple[object, ...]]]:
        return [(socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.1", port))]

    async def only_full(host: str, port: int, family: int) -> list[tuple[int, tuple[object, ...]]]:
        return [(socket.AF_INET, ("127.0.0.2", port))]

    made = await Dialler(resolve=resolve)("x.test", port)
    assert made.getpeername() == ("127.0.0.1", port)
    with pytest.raises(DialError, match=r"connect: x.test:\d+ did not answer within 0.3 s"):
        await Dialler(resolve=only_full, timeout_s=0.3)("x.test", port)
    for one in (made, full, other, *crowd):
        one.close()


class TestBypass:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "LOCALHOST", "api.localhost"])
    def test_this_machine_needs_no_proxy(self, host: str) -> None:
        assert host in Bypass(dial_module.LOOPBACK)

    @pytest.mark.parametrize("host", ["fapi.binance.com", "128.0.0.1", "::2", "notlocalhost", "localhost.evil.com"])
    def test_everything_else_does(self, host: str) -> None:
        assert host not in Bypass(dial_module.LOOPBACK)

    def test_names_cover_what_ends_in_them_and_a_star_everything(self) -> None:
        rules = Bypass([".corp.test", "10.0.0.0/8"])
        assert "simex.corp.test" in rules
        assert "corp.test" in rules
        assert "10.1.2.3" in rules
        assert "11.1.2.3" not in rules
        assert "anything" in Bypass(["*"])

    @pytest.mark.parametrize("rule", ["10.0.0.0/99", "a/b", "", "."])
    def test_a_rule_that_means_nothing_is_refused(self, rule: str) -> None:
        with pytest.raises(ValueError, match="neither"):
            Bypass([rule])


class TestProxyAddress:
    def test_user_and_password_are_unquoted_and_never_shown(self) -> None:
        told = proxy_address("socks5h://trader:p%2Fw%3As3cret%40x@proxy.test:1080")
        assert told == ProxyAddress("socks5h", "proxy.test", 1080, "trader", SECRET)
        assert "s3cret" not in repr(told)
        assert "trader" not in repr(told)

    @pytest.mark.parametrize(
        "url",
        [
            "https://s3cret@h:1", "ftp://h:1", "h:1", "http://h", "http://u:s3cret@:80", "http://u@h:80", "http://h:x",
            "http://h:80/s3cret", "http://h:80?s3cret", "http://h:99999", "", "http://[::1:80",
        ],
    )  # fmt: skip
    def test_what_is_no_proxy_is_refused_without_being_quoted(self, url: str) -> None:
        with pytest.raises(ValueError) as told:
            proxy_address(url)
        assert "s3cret" not in str(told.value)


class TestSetting:
    URL = "socks5h://trader:p%2Fw%3As3cret%40x@proxy.test:1080"

    def config(self, tmp_path: Path, **venue: object) -> Config:
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"venue": venue, "simex": {"rest": "http://h:1", "ws": "ws://h:1"}}))
        return load(file, {})

    def test_one_setting_makes_the_way_and_its_password_is_a_secret_everywhere(self, tmp_path: Path) -> None:
        config = self.config(tmp_path, proxy=self.URL, no_proxy=["10.0.0.0/8"], ip_family=6)
        told = plan(config, "main").venue
        assert (told.no_proxy, told.ip_family) == (("10.0.0.0/8",), "6")
        assert told.dialler()._proxy == ProxyAddress("socks5h", "proxy.test", 1080, "trader", SECRET)
        assert {SECRET, "p%2Fw%3As3cret%40x"} <= config.secret_values()
        shown = repr(config) + json.dumps(config.redacted()) + repr(told) + repr(plan(config, "main"))
        assert "s3cret" not in shown
        assert "socks5h://trader:***@proxy.test:1080" in shown

    @pytest.mark.parametrize(
        ("venue", "path"),
        [
            ({"proxy": "https://u:s3cret@h:1"}, "venue.proxy"),
            ({"proxy": "http://u:s3cret#@h:1"}, "venue.proxy"),
            ({"no_proxy": ["1.2.3.0/99"]}, "venue.no_proxy"),
            ({"ip_family": 5}, "venue.ip_family"),
        ],
    )
    def test_a_wrong_one_is_a_fault_by_its_path_that_quotes_no_secret(
        self, tmp_path: Path, venue: dict[str, object], path: str
    ) -> None:
        config = self.config(tmp_path, **venue)
        with pytest.raises(ConfigError) as told:
            plan(config, "main")
        assert path in str(told.value)
        assert "s3cret" not in str(told.value)
        assert "s3cret" not in json.dumps(config.redacted())
