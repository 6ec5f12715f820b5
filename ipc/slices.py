"""Slices: the newest state, one JSON value a key, with proof of validity (design section 2).

A reader refuses a slice that is too old, from a dead epoch, or not `live`: `judge` is that rule, pure.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from ipc.wire import OrderView

VERSION = 1

State = Literal["live", "resync", "down"]


class Head(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What every slice starts with. `pub_boot_ns` is CLOCK_BOOTTIME of the writer, `boot` its boot id.

    `event_ms` is the exchange's time of the newest content, `recv_ns` when it reached us (wall), `pub_ns` wall time
    of the write. `as_of` (account slices) is the last event sequence the content includes.
    """

    v: int = VERSION
    epoch: str
    seq: int
    state: State
    account: str
    venue: str
    symbol: str | None = None
    event_ms: int | None = None
    recv_ns: int | None = None
    pub_ns: int
    pub_boot_ns: int
    boot: str
    as_of: int | None = None


class BookSlice(Head, frozen=True, kw_only=True):
    """Top levels a side, best first: `[[price, qty], ...]` as the exchange wrote them. `u` is the last update id."""

    u: int
    bids: list[list[str]]
    asks: list[list[str]]


class MarkSlice(Head, frozen=True, kw_only=True):
    mark: str
    index: str | None = None
    funding_rate: str | None = None
    next_funding_ms: int | None = None


class BarRow(Struct, frozen=True, array_like=True):
    """`[open_ms, open, high, low, close, volume, quote_volume, trades]`; all but times and count decimal strings."""

    open_ms: int
    o: str
    h: str
    l: str  # noqa: E741
    c: str
    v: str
    q: str
    n: int


class BarSlice(Head, frozen=True, kw_only=True):
    """The open bar (None before its first update); `closed_open_ms` names the last closed one: `bars` must hold it."""

    interval: str
    bar: BarRow | None
    closed_open_ms: int | None


class BarsSlice(Head, frozen=True, kw_only=True):
    """Up to 600 closed bars, oldest first, without holes."""

    interval: str
    rows: list[BarRow]


class InstrumentSlice(Head, frozen=True, kw_only=True):
    status: str
    base: str
    quote: str
    margin_asset: str
    tick: str
    step: str
    market_step: str
    min_qty: str
    max_qty: str
    market_min_qty: str
    market_max_qty: str
    min_price: str
    max_price: str
    min_notional: str
    multiplier_up: str
    multiplier_down: str
    max_orders: int | None = None
    maker_fee: str | None = None
    taker_fee: str | None = None
    leverage: int | None = None
    margin_type: str | None = None
    position_mode: str | None = None
    entries_refused: str | None = None


class PositionLeg(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`qty` is signed; `entry` the average entry price ("0" when flat)."""

    leg: str
    qty: str
    entry: str
    realised: str = "0"
    unrealised: str | None = None
    updated_ms: int = 0


class PositionSlice(Head, frozen=True, kw_only=True):
    legs: list[PositionLeg]


class OrdersSlice(Head, frozen=True, kw_only=True):
    """Open orders of the symbol (in flight, unknown and foreign ones included), at most 500; `more` when cut."""

    orders: list[OrderView]
    more: bool = False


class LedgerSlice(Head, frozen=True, kw_only=True):
    """One brain's own books. `qty` signed; `show` is what it last sent with `ping`."""

    brain: str
    run: str | None
    alive: bool
    lease_ms: int
    risk: str
    qty: str
    entry: str
    realised: str
    unrealised: str | None
    fees: dict[str, str]
    funding: str
    orders: int
    fills: int
    show: dict[str, Any] | None = None
    show_ms: int | None = None


class Balance(Struct, frozen=True, kw_only=True):
    asset: str
    wallet: str
    cross: str
    available: str | None = None


class WalletSlice(Head, frozen=True, kw_only=True):
    balances: list[Balance]


class GatewaySlice(Head, frozen=True, kw_only=True):
    """Health. `latency_us` maps a hop to `{p50, p99, n}`; `streams` a connection to `{state, age_ms, url_form}`."""

    environment: str
    pid: int
    ready: bool
    risk: str
    risk_reason: str
    position_mode: str | None
    clock_offset_ms: float | None
    unknown: int
    streams: dict[str, dict[str, Any]]
    budgets: dict[str, dict[str, int]]
    brains: dict[str, dict[str, Any]]
    latency_us: dict[str, dict[str, float]]
    counters: dict[str, int]


class Now(NamedTuple):
    """The reader's clocks: CLOCK_BOOTTIME and wall time in ns, and its boot id."""

    boot_ns: int
    wall_ns: int
    boot: str


class Verdict(NamedTuple):
    """`ok`, or the one `reason` for refusing.

    Reasons: `absent`, `version`, `epoch`, `state`, `future`, `old`, `as_of`; readers add `malformed`.
    """

    ok: bool
    reason: str = ""
    detail: str = ""


WALL_TOLERANCE_NS = 250_000_000


def age_ns(head: Head, now: Now) -> int:
    """Age of a slice; by CLOCK_BOOTTIME on the same boot, else by wall time less `WALL_TOLERANCE_NS` (never below 0
    by tolerance alone). Negative means written in the reader's future."""
    if head.boot == now.boot:
        return now.boot_ns - head.pub_boot_ns
    raw_ns = now.wall_ns - head.pub_ns
    if -WALL_TOLERANCE_NS <= raw_ns < 0:
        return 0
    return raw_ns


def judge(
    head: Head | None,
    now: Now,
    *,
    epoch: str | None,
    max_age_ns: int | None,
    need_as_of: int = 0,
) -> Verdict:
    """May this slice be decided on? `max_age_ns` None: judged by epoch and state only (bars, instrument)."""
    if head is None:
        return Verdict(False, "absent", "the key does not exist")
    if head.v != VERSION:
        return Verdict(False, "version", f"slice version {head.v}, reader {VERSION}")
    if epoch is not None and head.epoch != epoch:
        return Verdict(False, "epoch", f"written by gateway epoch {head.epoch}, now {epoch}")
    if head.state != "live":
        return Verdict(False, "state", f"state is {head.state}")
    if max_age_ns is not None:
        age = age_ns(head, now)
        if age < 0:
            return Verdict(False, "future", f"written {-age} ns in the future")
        if age > max_age_ns:
            return Verdict(False, "old", f"{age / 1e6:.0f} ms old, at most {max_age_ns / 1e6:.0f}")
    if head.as_of is not None and head.as_of < need_as_of:
        return Verdict(False, "as_of", f"includes events up to {head.as_of}, {need_as_of} needed")
    return Verdict(True)


H = TypeVar("H", bound=Head)

_decoders: dict[type[Head], msgspec.json.Decoder[Any]] = {}


def decode(kind: type[H], raw: bytes) -> H:
    """Raises msgspec.ValidationError / DecodeError with the path of the bad field."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    result: H = decoder.decode(raw)
    return result


_encoder = msgspec.json.Encoder()


def encode(slice_: Head) -> bytes:
    return _encoder.encode(slice_)
