"""Payloads of the market streams, in the key order of the wire. Pure."""

from dataclasses import dataclass
from decimal import Decimal

import orjson

from simex.market.bars import Bar
from simex.market.generator import Forced
from simex.market.ladder import Level
from simex.market.public_book import Diff
from simex.market.scale import Scale, fixed


def _levels(scale: Scale, bids: list[Level], asks: list[Level]) -> tuple[list[list[str]], list[list[str]]]:
    return (
        [[scale.price(price), scale.qty(lots)] for price, lots in bids],
        [[scale.price(price), scale.qty(lots)] for price, lots in asks],
    )


def depth(symbol: str, scale: Scale, now_ms: int, diff: Diff) -> bytes:
    """`depthUpdate`, of the diff and the partial streams alike."""
    bids, asks = _levels(scale, diff.bids, diff.asks)
    return orjson.dumps(
        {"e": "depthUpdate", "E": now_ms, "T": diff.time_ms, "s": symbol, "ps": symbol, "U": diff.first_id,
         "u": diff.last_id, "pu": diff.previous_id, "b": bids, "a": asks, "st": 1}
    )  # fmt: skip


def book_ticker(symbol: str, scale: Scale, now_ms: int, update_id: int, bid: Level, ask: Level) -> bytes:
    """`bookTicker`."""
    return orjson.dumps(
        {"e": "bookTicker", "u": update_id, "s": symbol, "ps": symbol, "b": scale.price(bid[0]), "B": scale.qty(bid[1]),
         "a": scale.price(ask[0]), "A": scale.qty(ask[1]), "T": now_ms, "E": now_ms, "st": 1}
    )  # fmt: skip


@dataclass(slots=True)
class AggTrade:
    """Trades of one taker at one price: price in ticks, quantity in lots."""

    agg_id: int
    price: int
    lots: int
    first_id: int
    last_id: int
    time_ms: int
    buyer_is_maker: bool


def agg_trade(symbol: str, scale: Scale, now_ms: int, trade: AggTrade) -> bytes:
    """`aggTrade`."""
    qty = scale.qty(trade.lots)
    return orjson.dumps(
        {"e": "aggTrade", "E": now_ms, "a": trade.agg_id, "s": symbol, "p": scale.price(trade.price), "q": qty,
         "nq": qty, "f": trade.first_id, "l": trade.last_id, "T": trade.time_ms, "m": trade.buyer_is_maker, "st": 1}
    )  # fmt: skip


def trade(symbol: str, scale: Scale, now_ms: int, single: AggTrade) -> bytes:
    """The undocumented `trade`."""
    return orjson.dumps(
        {"e": "trade", "E": now_ms, "T": single.time_ms, "s": symbol, "t": single.last_id,
         "p": scale.price(single.price), "q": scale.qty(single.lots), "X": "MARKET", "m": single.buyer_is_maker,
         "st": 1}
    )  # fmt: skip


def kline(symbol: str, scale: Scale, now_ms: int, interval: str, bar: Bar, end_ms: int, *, closed: bool) -> bytes:
    """`kline`, with the white space the real one has inside `k`."""
    inner = (
        f'{{"t":{bar.open_ms}, "T":{end_ms - 1}, "s":"{symbol}", {_bar_fields(scale, interval, bar, closed, ", ")}}}'
    )
    return f'{{"e":"kline","E":{now_ms},"s":"{symbol}","k":{inner}}}'.encode()


def continuous_kline(
    pair: str, scale: Scale, now_ms: int, interval: str, bar: Bar, end_ms: int, *, closed: bool
) -> bytes:
    """`continuous_kline` of the perpetual contract."""
    inner = f'{{"t":{bar.open_ms},"T":{end_ms - 1},{_bar_fields(scale, interval, bar, closed, ",")}}}'
    return f'{{"e":"continuous_kline","E":{now_ms},"ps":"{pair}","ct":"PERPETUAL","k":{inner}}}'.encode()


def _bar_fields(scale: Scale, interval: str, bar: Bar, closed: bool, gap: str) -> str:
    fields = (
        f'"i":"{interval}"', f'"f":{bar.first_id}', f'"L":{bar.last_id}', f'"o":"{scale.price(bar.open)}"',
        f'"c":"{scale.price(bar.close)}"', f'"h":"{scale.price(bar.high)}"', f'"l":"{scale.price(bar.low)}"',
        f'"v":"{scale.qty(bar.volume)}"', f'"n":{bar.trades}', f'"x":{"true" if closed else "false"}',
        f'"q":"{scale.quote(bar.quote)}"', f'"V":"{scale.qty(bar.taker_volume)}"',
        f'"Q":"{scale.quote(bar.taker_quote)}"', '"B":"0"',
    )  # fmt: skip
    return gap.join(fields)


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark price and what belongs to it."""

    mark: Decimal
    average: Decimal
    index: Decimal
    rate: Decimal
    next_funding_ms: int
    time_ms: int


def mark_price(symbol: str, mark: Mark, event_ms: int) -> dict[str, object]:
    """One `markPriceUpdate` (the array form holds many)."""
    return {
        "e": "markPriceUpdate", "E": event_ms, "s": symbol, "p": f"{mark.mark:.8f}", "ap": f"{mark.average:.8f}",
        "P": f"{mark.index:.8f}", "i": f"{mark.index:.8f}", "r": f"{mark.rate:.8f}", "T": mark.next_funding_ms, "st": 1,
    }  # fmt: skip


def forced_order(symbol: str, scale: Scale, now_ms: int, forced: Forced) -> dict[str, object]:
    """The `o` of a `forceOrder`: a position outside closed by a LIMIT IOC order at its bankruptcy price."""
    qty, price = scale.qty(forced.lots), scale.price(forced.price)
    return {
        "s": symbol, "S": forced.side, "o": "LIMIT", "f": "IOC", "q": qty, "p": scale.price(forced.limit), "ap": price,
        "X": "FILLED", "l": qty, "z": qty, "T": now_ms, "ps": symbol, "st": 1,
    }  # fmt: skip


def asset_index(name: str, price: Decimal, buffer: str, auto: str, now_ms: int) -> dict[str, object]:
    """One `assetIndexUpdate` (the array form holds many)."""
    wide, near = Decimal(buffer), Decimal(auto)
    return {
        "e": "assetIndexUpdate", "E": now_ms, "s": name, "i": f"{price:.8f}", "b": f"{wide:.8f}", "a": f"{wide:.8f}",
        "B": f"{price * (1 - wide):.8f}", "A": f"{price * (1 + wide):.8f}", "q": f"{near:.8f}", "g": f"{near:.8f}",
        "Q": f"{price * (1 - near):.8f}", "G": f"{price * (1 + near):.8f}",
    }  # fmt: skip


def _percent(change: int, base: int) -> str:
    return fixed(round(change * 100_000 / base), 3) if base else "0.000"


def _average(scale: Scale, bar: Bar) -> str:
    return scale.price(bar.quote // bar.volume) if bar.volume else scale.price(bar.close)


def ticker(symbol: str, scale: Scale, now_ms: int, day: Bar, last_lots: int) -> dict[str, object]:
    """`24hrTicker`."""
    change = day.close - day.open
    return {
        "e": "24hrTicker", "E": now_ms, "s": symbol, "p": scale.price(change), "P": _percent(change, day.open),
        "w": _average(scale, day), "c": scale.price(day.close), "Q": scale.qty(last_lots), "o": scale.price(day.open),
        "h": scale.price(day.high), "l": scale.price(day.low), "v": scale.qty(day.volume),
        "q": scale.quote(day.quote), "O": day.open_ms, "C": now_ms, "F": max(0, day.last_id - day.trades + 1),
        "L": max(0, day.last_id), "n": day.trades, "ps": symbol, "st": 1,
    }  # fmt: skip


def mini_ticker(symbol: str, scale: Scale, now_ms: int, day: Bar) -> dict[str, object]:
    """`24hrMiniTicker`."""
    return {
        "e": "24hrMiniTicker", "E": now_ms, "s": symbol, "c": scale.price(day.close), "o": scale.price(day.open),
        "h": scale.price(day.high), "l": scale.price(day.low), "v": scale.qty(day.volume),
        "q": scale.quote(day.quote), "ps": symbol, "st": 1,
    }  # fmt: skip


def rest_ticker(symbol: str, scale: Scale, now_ms: int, day: Bar, last_lots: int) -> dict[str, object]:
    """GET /fapi/v1/ticker/24hr."""
    change = day.close - day.open
    return {
        "symbol": symbol, "priceChange": scale.price(change), "priceChangePercent": _percent(change, day.open),
        "weightedAvgPrice": _average(scale, day), "lastPrice": scale.price(day.close), "lastQty": scale.qty(last_lots),
        "openPrice": scale.price(day.open), "highPrice": scale.price(day.high), "lowPrice": scale.price(day.low),
        "volume": scale.qty(day.volume), "quoteVolume": scale.quote(day.quote), "openTime": day.open_ms,
        "closeTime": now_ms, "firstId": max(0, day.last_id - day.trades + 1), "lastId": max(0, day.last_id),
        "count": day.trades,
    }  # fmt: skip


def rest_kline(scale: Scale, bar: Bar, end_ms: int) -> list[object]:
    """One row of GET /fapi/v1/klines."""
    return [
        bar.open_ms, scale.price(bar.open), scale.price(bar.high), scale.price(bar.low), scale.price(bar.close),
        scale.qty(bar.volume), end_ms - 1, scale.quote(bar.quote), bar.trades, scale.qty(bar.taker_volume),
        scale.quote(bar.taker_quote), "0",
    ]  # fmt: skip
