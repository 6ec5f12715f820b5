"""Builds the exchange over another exchange's public market: rules, limits and clock are taken from there first."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
import orjson

from simex.core.instrument import instrument_from_info
from simex.market.history import NoPast
from simex.server.build import NO_MARK, Means, Parts
from simex.server.keeping import adopt
from simex.server.limits import LimitSettings
from simex.server.player import bars_from_nothing
from simex.server.refusals import Refused
from simex.server.relay.feed import RelayFeed
from simex.server.relay.followed import FollowedBook
from simex.server.relay.gate import GatedExchange
from simex.server.relay.link import Link, LinkSettings
from simex.server.relay.proxy import Proxy
from simex.server.settings import Settings, Upstream
from simex.server.state import SymbolState, scale_of
from simex.server.world import World

log = logging.getLogger("simex.relay")

START_WITHIN_S = 20.0
"""How long the start waits for the exchange behind; then it fails."""
_AGAIN_S = 1.0


async def build_relay(settings: Settings, means: Means) -> Parts:
    """The exchange over the market of `settings.relay`.

    Raises OSError if it cannot be reached in time, ValueError if a symbol is not traded there.
    """
    upstream = settings.relay
    if upstream is None:
        raise ValueError("no exchange to relay was named")
    trust = ssl.create_default_context(cafile=upstream.ca) if upstream.ca else True
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=20), trust_env=True)
    try:
        return await _build(settings, upstream, means, session)
    except BaseException:
        await session.close()
        raise


async def _build(settings: Settings, upstream: Upstream, means: Means, session: aiohttp.ClientSession) -> Parts:
    proxy = Proxy(session, upstream.rest.rstrip("/"), means.clock)
    info = await _first_answer(proxy)
    limits = _limits(settings.limits, info)
    proxy.budget.limit = _weight(info, settings.limits.weight_1m)
    rows = {row["symbol"]: row for row in info["symbols"]}
    unknown = [symbol for symbol in settings.symbols if symbol not in rows]
    if unknown:
        raise ValueError(f"--symbols: not traded at {proxy.base}: {', '.join(unknown)}")
    instruments = [instrument_from_info(rows[symbol]) for symbol in settings.symbols]
    now = means.clock.engine_ms()
    exchange = GatedExchange(instruments, settings.accounts, own_visible=False, id_base=now, rules=settings.rules)
    adopt(exchange, means.saved, now)
    books = {instrument.symbol: FollowedBook() for instrument in instruments}
    states = [
        SymbolState(item, scale_of(item), books[item.symbol], bars_from_nothing(0), NO_MARK, NoPast())
        for item in instruments
    ]
    world = World(exchange, states, means.clock, means.keys, means.rng, means.later)
    base = upstream.ws.rstrip("/")

    def link(route: str, feed: RelayFeed) -> Link:
        return Link(
            session, f"{base}/{route}/stream", LinkSettings(),
            _bound(feed.frame, route), _bound(feed.went_up, route), _bound(feed.went_down, route),
        )  # fmt: skip

    feed = RelayFeed(world, exchange, proxy, books, link)
    exchange.is_open = feed.is_open
    await feed.set_clock()

    async def depth(state: SymbolState, limit: int) -> bytes:
        weight = 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20
        return (await proxy.ask("/fapi/v1/depth", f"symbol={state.symbol}&limit={limit}", weight)).body

    return Parts(
        world, exchange, feed, depth, relay=proxy.fetch, serves=feed.serves, limits=limits, close=session.close
    )


def _bound(call: Callable[..., None], route: str) -> Callable[..., None]:
    return lambda *rest: call(route, *rest)


async def _first_answer(proxy: Proxy) -> dict[str, Any]:
    """exchangeInfo, asked for until it comes or the time is over."""
    last = "no answer"
    try:
        async with asyncio.timeout(START_WITHIN_S):
            while True:
                try:
                    answer = await proxy.ask("/fapi/v1/exchangeInfo", "", 1)
                    if answer.status == 200:
                        body = orjson.loads(answer.body)
                        if isinstance(body, dict) and isinstance(body.get("symbols"), list):
                            return body
                    last = f"HTTP {answer.status}: {answer.body[:100].decode('utf-8', 'replace')}"
                except Refused as refusal:
                    last = str(refusal.__cause__ or refusal)
                except orjson.JSONDecodeError as error:
                    last = f"not JSON ({error})"
                await asyncio.sleep(_AGAIN_S)
    except TimeoutError as error:
        where = f"{proxy.base} did not answer within {START_WITHIN_S:g} s ({last})"
        raise OSError(f"{where}; check --upstream-rest and the network; HTTPS_PROXY names a proxy") from error


def _limits(own: LimitSettings, info: dict[str, Any]) -> LimitSettings:
    """The limits that the relayed exchangeInfo announces are the ones enforced here."""
    found = {
        (row["rateLimitType"], row["interval"], row["intervalNum"]): int(row["limit"])
        for row in info.get("rateLimits", ())
    }
    return replace(
        own,
        weight_1m=found.get(("REQUEST_WEIGHT", "MINUTE", 1), own.weight_1m),
        orders_1m=found.get(("ORDERS", "MINUTE", 1), own.orders_1m),
        orders_10s=found.get(("ORDERS", "SECOND", 10), own.orders_10s),
    )


def _weight(info: dict[str, Any], usual: int) -> int:
    return _limits(LimitSettings(weight_1m=usual), info).weight_1m
