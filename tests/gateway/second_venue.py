"""The market side of an exchange that never was: other names, other paths, lines of text instead of JSON.

Only what the core is promised by `gateway.core.market_venue` is alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from gateway.core.effects import Send
from gateway.core.inputs import Key
from gateway.core.market_data import (
    BadFrame,
    BadReply,
    BadSymbol,
    Diff,
    HistoryRow,
    Level,
    MarkUpdate,
    Parsed,
    RateLimit,
    Snapshot,
    Streamed,
)
from gateway.core.market_venue import PrivateUrl
from rules.instrument import Instrument


def levels(text: str) -> list[Level]:
    """`10.1x3,10.0x1`"""
    return [(price, size) for price, _, size in (item.partition("x") for item in text.split(",") if item)]


class Listing:
    """`SYMBOL tick` a line."""

    limits = (RateLimit("weight", 1, 50),)

    def __init__(self, text: str) -> None:
        self._ticks = dict(line.split() for line in text.splitlines())

    def names(self) -> tuple[str, ...]:
        return tuple(self._ticks)

    def instrument(self, symbol: str) -> Instrument | None:
        if symbol not in self._ticks:
            return None
        if not self._ticks[symbol].replace(".", "").isdigit():
            raise BadSymbol(f"{symbol}: tick {self._ticks[symbol]}")
        tick, one, most = Decimal(self._ticks[symbol]), Decimal(1), Decimal(10**6)
        return Instrument(
            symbol=symbol, status="TRADING", base="AAA", quote="BBB", margin_asset="BBB", tick=tick, step=one,
            market_step=one, min_price=tick, max_price=most, min_qty=one, max_qty=most, market_min_qty=one,
            market_max_qty=most, min_notional=one, multiplier_up=one, multiplier_down=one, max_orders=None,
        )  # fmt: skip


class SecondVenue:
    """Satisfies `MarketVenue`."""

    def depth_stream(self, symbol: str, speed: str) -> str:
        return f"BOOK {symbol}"

    def mark_stream(self, symbol: str) -> str:
        return f"MARK {symbol}"

    def bar_stream(self, symbol: str, interval: str) -> str:
        return f"BAR{interval} {symbol}"

    def stream_url(self, base: str, streams: Iterable[str]) -> str:
        return f"{base}#{';'.join(streams)}"

    def private_url(self, form: PrivateUrl, key: str) -> str:
        return form.template.format(key=key)

    def subscribe(self, number: int, streams: Iterable[str]) -> bytes:
        return f"{number} ADD {';'.join(streams)}".encode()

    def parse(self, data: bytes) -> Parsed:
        stream, *rest = data.decode().split("|")
        kind, _, symbol = stream.partition(" ")
        if kind == "BOOK" and len(rest) == 6:
            prev, first, last, at_ms = (int(number) for number in rest[:4])
            bids, asks = levels(rest[4]), levels(rest[5])
            diff = Diff(symbol=symbol, first_id=first, last_id=last, prev_id=prev, event_ms=at_ms, bids=bids, asks=asks)
            return Streamed(stream, diff)
        if kind == "MARK" and len(rest) == 2:
            return Streamed(stream, MarkUpdate(symbol=symbol, event_ms=int(rest[0]), mark=rest[1]))
        return BadFrame("bad_line", f"{len(rest)} columns", stream)

    def max_bars(self) -> int:
        return 10

    def depth(self, key: Key, symbol: str, limit: int) -> Send:
        return Send(key, "GET", f"/books/{symbol}")

    def history(self, key: Key, symbol: str, interval: str, limit: int, start_ms: int | None = None) -> Send:
        return Send(key, "GET", f"/bars/{symbol}/{interval}")

    def exchange_info(self, key: Key) -> Send:
        return Send(key, "GET", "/listing")

    def server_time(self, key: Key) -> Send:
        return Send(key, "GET", "/clock")

    def create_listen_key(self, key: Key) -> Send:
        return Send(key, "POST", "/session", security="key")

    def renew_listen_key(self, key: Key) -> Send:
        return Send(key, "PUT", "/session", security="key")

    def parse_snapshot(self, status: int, body: bytes) -> Snapshot:
        if status != 200:
            raise BadReply(f"book: {status}")
        last, bids, asks = body.decode().split("|")
        return Snapshot(last_id=int(last), bids=levels(bids), asks=levels(asks))

    def parse_history(self, status: int, body: bytes) -> list[HistoryRow]:
        return []

    def parse_exchange_info(self, status: int, body: bytes) -> Listing:
        return Listing(body.decode())

    def parse_time(self, status: int, body: bytes) -> int:
        return int(body)

    def parse_listen_key(self, status: int, body: bytes) -> str:
        return body.decode()

    def parse_renewal(self, status: int, body: bytes) -> None:
        if status != 200:
            raise BadReply(f"session: {status}")
