"""What `brainstem doctor` asks the exchange over REST: clock, filters, key rights, settings, money. It only reads.

All of it together costs some 20 of the 2,400 weight a minute that every program at this address shares.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.core.account_venue import ReplyError
from gateway.core.market_data import BadReply, BadSymbol
from gateway.settings import Plan
from ipc.config import Config
from scripts.doctor_asker import Asker, Unreachable
from scripts.doctor_finding import Finding, fail, note, ok, warn

CLOCK_WARN_MS = 500
CLOCK_FAIL_MS = 60_000
_SAMPLES = 3
_KEYS_NEXT = "Make a key with futures allowed, in the account of this environment, and give it to the gateway"


@dataclass
class Venue:
    """The exchange as one account sees it. `wallet` asks for the key's rights; None: nobody answers that here."""

    plan: Plan
    config: Config
    asker: Asker
    wallet: Asker | None
    signed: bool
    listen_to: asyncio.Future[str | None]
    """A symbol the exchange trades, once known: what the canaries listen to. None: none is configured."""
    offset_ms: float = 0.0

    def now_ms(self) -> int:
        return int(time.time() * 1000 + self.offset_ms)


async def findings(venue: Venue) -> list[Finding]:
    """The clock first: what is signed needs it. Where that already gets no answer, the rest is not asked."""
    try:
        found = await _guarded(venue, "clock", clock)
        if any(one.absent for one in found):
            return found
        found += await _guarded(venue, "filters", filters)
    finally:
        if not venue.listen_to.done():  # not a symbol is known to be there: the first one will tell
            venue.listen_to.set_result(next(iter(venue.plan.symbols), None))
    if not venue.signed:
        return found
    rights = await _guarded(venue, "key", key_rights)
    found += rights
    for check, ask in (("settings", settings), ("balance", money)):
        if not any(one.severity == "fail" for one in rights):
            found += await _guarded(venue, check, ask)
    return found


async def _guarded(venue: Venue, check: str, ask: Callable[[Venue], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await ask(venue)
    except Unreachable as error:
        step = "Check network, venue.proxy and the address"
        return [fail(check, f"no answer: {error}", venue.asker.base_url, step, absent=True)]
    except ReplyError as error:
        return [_refused(venue, check, error)]
    except BadReply as error:
        return [fail(check, str(error), venue.asker.base_url, "Is this the exchange's address? See venue.rest")]


def _refused(venue: Venue, check: str, error: ReplyError) -> Finding:
    if error.kind == "keys" or error.status == 401:
        return fail("key", f"the exchange refuses the key: {error}", _account(venue), _KEYS_NEXT)
    if error.kind == "clock":
        return fail("clock", f"the exchange refuses our time: {error}", "this machine", "Set its clock (chrony, ntp)")
    return fail(check, f"refused: {error}", venue.asker.base_url, "docs/errors.md, and the exchange's own status page")


def _account(venue: Venue) -> str:
    return f"accounts.{venue.plan.account}"


async def clock(venue: Venue) -> list[Finding]:
    best_s, offset_ms = 1e9, 0.0
    market = venue.plan.adapter.venue.market
    for _ in range(_SAMPLES):
        sent_s = time.time()
        reply = await venue.asker.ask(market.server_time(venue.asker.key()))
        came_s = time.time()
        theirs_ms = market.parse_time(reply.status, reply.body)
        if came_s - sent_s < best_s:
            best_s, offset_ms = came_s - sent_s, theirs_ms - (sent_s + came_s) * 500
    venue.offset_ms = offset_ms
    ahead = "behind" if offset_ms > 0 else "ahead of"
    text = f"{abs(offset_ms):.0f} ms {ahead} the exchange, round trip {best_s * 1000:.0f} ms"
    step = "Let chrony or systemd-timesyncd keep it; the gateway allows for it meanwhile"
    if abs(offset_ms) > CLOCK_FAIL_MS:
        return [fail("clock", text, "this machine", step)]
    if abs(offset_ms) > CLOCK_WARN_MS:
        return [warn("clock", text, "this machine", step)]
    return [ok("clock", text, venue.asker.base_url)]


async def filters(venue: Venue) -> list[Finding]:
    """Every symbol of the configuration: is it there, is it traded, is a brain's size above the least?"""
    market = venue.plan.adapter.venue.market
    reply = await venue.asker.ask(market.exchange_info(venue.asker.key()))
    info = market.parse_exchange_info(reply.status, reply.body)
    sizes = _sizes(venue.config)
    found: list[Finding] = []
    for symbol in venue.plan.symbols:
        try:
            instrument = info.instrument(symbol)
        except BadSymbol as error:
            found.append(fail("filters", f"{symbol} cannot be traded: {error}", symbol, "Leave it out"))
            continue
        if instrument is None:
            found.append(fail("filters", f"the exchange has no {symbol}", symbol, "Mend the name, or leave it out"))
        elif not instrument.trading:
            found.append(warn("filters", f"{symbol} is {instrument.status}", symbol, "Wait, or leave it out"))
        else:
            what = f"{symbol}: tick {instrument.tick:f}, step {instrument.step:f}, least {instrument.min_notional:f}"
            found.append(ok("filters", what, symbol))
            if not venue.listen_to.done():
                venue.listen_to.set_result(symbol)
            for name, size in sizes.get(symbol, []):
                if size < instrument.min_notional:
                    what = f"notional {size:f} is below the exchange's least order of {instrument.min_notional:f}"
                    found.append(fail("filters", what, f"brains: {name}", "Raise params.notional"))
    return found or [note("filters", "no symbol is configured", _account(venue), "Name some, or start a brain")]


def _sizes(config: Config) -> dict[str, list[tuple[str, Decimal]]]:
    """By symbol: brains and the notional of their orders, where the strategy has that parameter."""
    from brain.params import validate
    from brain.settings import BrainSpec
    from brain.strategies import find
    from ipc.faults import ConfigError

    out: dict[str, list[tuple[str, Decimal]]] = {}
    try:
        specs = config.section("brains", list[BrainSpec])
        for spec in specs:
            kind = find(spec.strategy, folders=(config.folder,))
            size: Any = getattr(validate(kind.parameters, spec.params), "notional", None)
            for symbol in spec.symbols if isinstance(size, Decimal) else ():
                out.setdefault(symbol, []).append((spec.full_name, size))
    except ConfigError:
        return out  # said by the check of the configuration
    return out


async def key_rights(venue: Venue) -> list[Finding]:
    desk, where = venue.plan.adapter.key_desk, _account(venue)
    absent = note("key", "its rights are not checkable here", where, "Look at them where the key was made")
    if desk is None or venue.wallet is None:
        return [absent]
    reply = await venue.wallet.ask(desk.request(venue.wallet.key(), venue.now_ms()))
    rights = desk.read(reply.status, reply.body)
    if rights is None:
        return [absent]
    found: list[Finding] = []
    if not rights.futures:
        found.append(fail("key", "may not trade futures", where, _KEYS_NEXT))
    if not rights.reading:
        found.append(fail("key", "may not read the account", where, _KEYS_NEXT))
    if rights.withdrawals:
        step = "Take that right away, or make a new key without it: nothing here ever withdraws"
        found.append(warn("key", "may WITHDRAW: whoever gets it can empty the account", where, step))
    if rights.transfers:
        step = "Take that right away: nothing here needs it"
        found.append(warn("key", "may transfer funds between accounts", where, step))
    if not rights.address_bound:
        step = "Bind it to this machine's address where the key was made"
        severe = warn if venue.plan.environment == "mainnet" else note
        found.append(severe("key", "works from every address", where, step))
    return found or [
        ok("key", "trades futures, from named addresses only, and can neither withdraw nor transfer", where)
    ]


async def settings(venue: Venue) -> list[Finding]:
    """Position mode, leverage and margin type against the configuration."""
    desk, wish, asker = venue.plan.adapter.venue.account, venue.plan.account_settings.wish(), venue.asker
    reply = await asker.ask(desk.position_mode(asker.key(), venue.now_ms()))
    mode = desk.read_position_mode(reply.status, reply.body)
    reply = await asker.ask(desk.symbol_settings(asker.key(), venue.now_ms()))
    have = desk.read_symbol_settings(reply.status, reply.body)
    step = "The gateway sets it at its start while the account is flat; else entries are refused until it agrees"
    found: list[Finding] = []
    if wish.position_mode not in (None, mode):
        what = f"position mode is {mode}, the configuration wants {wish.position_mode}"
        found.append(warn("settings", what, f"{_account(venue)}.position_mode", step))
    for symbol in venue.plan.symbols:
        own, wanted = have.get(symbol), wish.of(symbol)
        if own is None:
            continue
        for name, is_now, want in (
            ("leverage", own.leverage, wanted.leverage), ("margin_type", own.margin_type, wanted.margin_type),
        ):  # fmt: skip
            if want is not None and is_now is not None and is_now != want:
                what = f"{symbol}: {name} is {is_now}, the configuration wants {want}"
                found.append(warn("settings", what, f"{_account(venue)}.{name}", step))
        if own.leverage is not None and own.leverage > wish.max_leverage and wanted.leverage is None:
            what = f"{symbol}: leverage {own.leverage} is above max_leverage {wish.max_leverage}: entries are refused"
            found.append(fail("settings", what, f"{_account(venue)}.max_leverage", "Set leverage in the configuration"))
    return found or [ok("settings", f"position mode ({mode}), leverage and margin type agree", _account(venue))]


async def money(venue: Venue) -> list[Finding]:
    desk, asker = venue.plan.adapter.venue.account, venue.asker
    reply = await asker.ask(desk.balances(asker.key(), venue.now_ms()))
    held = [
        f"{row.available:f} {row.balance.asset}"
        for row in desk.read_balances(reply.status, reply.body)
        if row.available is not None and row.available > 0
    ]
    if held:
        return [ok("balance", f"available: {', '.join(held[:5])}", _account(venue))]
    step = "Move margin into the futures wallet"
    return [warn("balance", "nothing is available to trade with", _account(venue), step)]
