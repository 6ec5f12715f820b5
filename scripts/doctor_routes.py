"""A canary for each family of streams: does the route deliver what it is for?

On a wrong route the exchange accepts handshake and subscription and then sends nothing, for ever. So a public and a
market route count as right with their first message, within the gateway's own deadline. The private route is silent by
nature: it counts as far as it opens and answers a ping. Its listenKey is asked for as a gateway does (one that is in
use is only prolonged) and never deleted: that would end it for everybody.
"""

from __future__ import annotations

import asyncio
import ssl
import time

from gateway.core.effects import Connect, Disconnect, Probe
from gateway.core.inputs import Frame, StreamAlive, StreamClosed, StreamOpened
from gateway.core.market_data import BadReply, CommandReply, KeyRefused, Streamed
from gateway.settings import Plan
from gateway.shell.dial import Dial
from gateway.shell.streams import Streams
from scripts.doctor_asker import Asker, Unreachable
from scripts.doctor_finding import Finding, fail, note, ok

OPEN_S = 10.0
PONG_S = 5.0
MAX_HELD = 1000  # frames not looked at yet; past it the newest are dropped, one is enough

Told = Frame | StreamOpened | StreamClosed | StreamAlive


class Canary:
    """One connection. `first_s` and `pong_s` are how long it may be silent."""

    def __init__(self, ssl_context: ssl.SSLContext | None, dial: Dial | None) -> None:
        self._told: asyncio.Queue[Told] = asyncio.Queue(MAX_HELD)
        self._streams = Streams(self._tell, ssl_context=ssl_context, dial=dial)

    def _tell(self, item: Told) -> None:
        if not self._told.full():
            self._told.put_nowait(item)

    async def opened(self, url: str) -> str:
        """Empty where the handshake went through, else why not."""
        self._streams.connect(Connect("doctor", url))
        while True:
            item = await self._next(OPEN_S)
            if item is None:
                return f"no handshake within {OPEN_S:g} s"
            if isinstance(item, StreamClosed):
                return item.reason
            if isinstance(item, StreamOpened):
                return ""

    async def first(self, plan: Plan, stream: str, within_s: float) -> str:
        """Empty once `stream` delivered, else what came instead."""
        until_s = time.monotonic() + within_s
        while (left_s := until_s - time.monotonic()) > 0 and (item := await self._next(left_s)) is not None:
            if isinstance(item, StreamClosed):
                return f"closed before its first message: {item.reason}"
            if isinstance(item, Frame):
                parsed = plan.adapter.venue.market.parse(item.data)
                if isinstance(parsed, Streamed) and parsed.stream == stream:
                    return ""
                if isinstance(parsed, CommandReply) and parsed.error:
                    return f"refused the subscription: {parsed.error}"
        return f"accepted the subscription of {stream} and sent none of it within {within_s:g} s"

    async def pong(self) -> str:
        self._streams.probe(Probe("doctor"))
        until_s = time.monotonic() + PONG_S
        while (left_s := until_s - time.monotonic()) > 0 and (item := await self._next(left_s)) is not None:
            if isinstance(item, StreamClosed):
                return f"closed at once: {item.reason}"
            if isinstance(item, StreamAlive | Frame):
                return ""
        return f"no answer to a ping within {PONG_S:g} s"

    async def close(self) -> None:
        self._streams.disconnect(Disconnect("doctor", "seen enough"))
        await self._streams.close()

    async def _next(self, within_s: float) -> Told | None:
        try:
            async with asyncio.timeout(within_s):
                return await self._told.get()
        except TimeoutError:
            return None


async def market_route(
    plan: Plan,
    family: str,
    listen_to: asyncio.Future[str | None],
    ssl_context: ssl.SSLContext | None,
    dial: Dial | None,
) -> Finding:
    """`family` is public (depth) or market (mark prices); `listen_to` becomes a symbol, or None."""
    check = f"route {family}"
    market = plan.adapter.venue.market
    base = plan.endpoints.public if family == "public" else plan.endpoints.market
    symbol = await asyncio.shield(listen_to)
    if symbol is None:
        return note(check, "no symbol is configured to listen to", base, "Name some in accounts.NAME.symbols")
    is_depth = family == "public"
    stream = market.depth_stream(symbol, plan.gateway.market.depth_speed) if is_depth else market.mark_stream(symbol)
    canary = Canary(ssl_context, dial)
    started_s = time.monotonic()
    try:
        if reason := await canary.opened(market.stream_url(base, [stream])):
            return fail(
                check, f"cannot be opened: {reason}", base, f"Check venue.{family} and the network", absent=True
            )
        within_s = plan.gateway.market.first_message_ms / 1000
        if reason := await canary.first(plan, stream, within_s):
            step = f"A wrong route does just that: see venue.{family}, or leave it out for the environment's own"
            return fail(check, reason, base, step)
    finally:
        await canary.close()
    return ok(check, f"{stream} delivers after {time.monotonic() - started_s:.1f} s", base)


async def private_route(
    plan: Plan, asker: Asker, ssl_context: ssl.SSLContext | None, dial: Dial | None
) -> list[Finding]:
    """Every form of the private URL until one opens and answers."""
    market, check = plan.adapter.venue.market, "route private"
    try:
        reply = await asker.ask(market.create_listen_key(asker.key()))
        key = market.parse_listen_key(reply.status, reply.body)
    except Unreachable as error:
        return [fail(check, f"no answer: {error}", asker.base_url, "Check network and address", absent=True)]
    except KeyRefused as error:
        step = "Make a key with futures allowed, in the account of this environment"
        return [fail("key", str(error), f"accounts.{plan.account}", step)]
    except BadReply as error:
        return [fail(check, str(error), asker.base_url, "Is this the exchange's address? See venue.rest")]
    found: list[Finding] = []
    for form in plan.endpoints.private:
        where = form.template.replace("{key}", "***")
        canary = Canary(ssl_context, dial)
        try:
            reason = await canary.opened(market.private_url(form, key)) or await canary.pong()
        finally:
            await canary.close()
        if not reason:
            what = f"opens and answers pings (form {form.form}); silent by nature, own events prove the rest"
            return [*found, ok(check, what, where)]
        found.append(note(check, f"form {form.form}: {reason}", where))
    step = "No form of the private URL works: see venue.private"
    return [*found, fail(check, "own orders and fills would not be heard", plan.endpoints.rest, step, absent=True)]
