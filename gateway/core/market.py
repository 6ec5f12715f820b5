"""The market side of the gateway: frames of the public and market connections -> books, marks, bars, instruments.

How the root uses it, together with `Links`:
- construct `Links`, then `MarketCore(links=...)`, then `bind(account)`; `links.start(now)` and `market.start(now)`;
- StreamOpened/StreamClosed/StreamAlive go to `links.on_stream`; the market part hears of its families from there;
- a Frame of "public" or "market" goes to `market.on_frame` (it tells Links); one of "private" to the account part and
  to `links.saw_frame(now, conn, "user")`;
- REST answers by the first element of their key: "market" here, "links" there; ticks to both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from gateway.core.bar_desk import BarDesk, BarRecord
from gateway.core.bars import INTERVAL_MS
from gateway.core.book_keeper import Tap
from gateway.core.catalog import MISSING, Catalog, Entry
from gateway.core.depth import DepthDesk
from gateway.core.depth_record import DepthOut, DepthRecord
from gateway.core.effects import Dirty
from gateway.core.inputs import Frame, Now, RestFailed, RestReply
from gateway.core.links import Links
from gateway.core.market_context import MarketContext
from gateway.core.market_data import BadFrame, BarUpdate, CommandReply, Diff, MarkUpdate, Streamed, Unused
from gateway.core.market_settings import MarketSettings
from gateway.core.market_venue import MarketVenue
from gateway.core.marks import MarkDesk, MarkRecord
from gateway.core.parts import Out
from gateway.core.ports import AccountView
from gateway.core.signals import CatalogDoubt, LimitsRead, Signal
from ipc import keys
from ipc.errors import IpcError
from ipc.slices import BookSlice, InstrumentSlice
from rules.instrument import Instrument, text

_encode = msgspec.json.Encoder().encode
_Render = Callable[[Now], bytes | None]


@dataclass(slots=True)
class _Symbol:
    """A wanted symbol. `active` once the exchange was seen to trade it; until then it is down."""

    name: str
    intervals: set[str] = field(default_factory=set)
    active: bool = False


class MarketCore:
    """Implements `gateway.core.ports.MarketView`. REST keys start with "market".

    `stored` is the journal's small state: bars announced before a restart are not announced again.
    """

    def __init__(
        self,
        settings: MarketSettings,
        context: MarketContext,
        links: Links,
        venue: MarketVenue,
        *,
        stored: Mapping[str, bytes] | None = None,
    ) -> None:
        self._settings = settings
        self._context = context
        self._links = links
        self._account: AccountView | None = None
        self._symbols: dict[str, _Symbol] = {}
        self._parse = venue.parse
        self._catalog = Catalog(settings, context, venue)
        self._depth = DepthDesk(settings, context, venue)
        self._marks = MarkDesk(settings, context, venue)
        self._bars = BarDesk(settings, context, venue, links.clock.server_ms, stored or {})
        self._routes: dict[str, DepthRecord | MarkRecord | BarRecord] = {}
        self._renders: dict[str, _Render] = {}
        links.listen(self._on_family)
        links.listen_to_overlaps(lambda family, on: self._depth.overlap(on) if family == "public" else None)

    def bind(self, account: AccountView) -> None:
        """Whose leverage, margin type and fees the instrument slice shows."""
        self._account = account

    def tap(self, symbol: str, tap: Tap) -> None:
        """Call `tap(last update id, book)` after every message applied to the live book of this symbol. For proofs."""
        self._depth.taps[symbol] = tap
        record = self._depth.get(symbol)
        if record is not None:
            record.keeper.tap = tap

    def start(self, now: Now) -> Out:
        self._bars.started_boot_ns = now.boot_ns
        return self._catalog.refresh(now)

    # -- who is wanted --------------------------------------------------------------------------------------------

    def subscribe(self, now: Now, symbols: Iterable[str], intervals: Iterable[str]) -> Out:
        """Serve these symbols, with bars of these intervals. Wants add up; nothing is taken back.

        At `max_symbols` further symbols are refused with a report.
        """
        bars = [interval for interval in intervals if interval in INTERVAL_MS]
        out: Out = []
        for name in symbols:
            symbol = self._symbols.get(name)
            if symbol is None:
                if len(self._symbols) >= self._settings.max_symbols:
                    out += self._context.notices.say(
                        now, "error", "symbol.too_many", name, at_most=self._settings.max_symbols
                    )
                    continue
                symbol = self._symbols[name] = _Symbol(name)
                self._offer_down(name)
                out += self._catalog.look_up(now, name)
            symbol.intervals.update(bars)
        return out + self._activate(now)

    def _activate(self, now: Now) -> Out:
        """Bring up what the catalog allows: streams, books, bars."""
        if not self._catalog.loaded:
            return []
        public: list[str] = []
        market: list[str] = []
        dirty: list[str] = []
        for symbol in self._symbols.values():
            entry = self._catalog.get(symbol.name)
            if not symbol.active:
                dirty += [keys.book(self._context.account, symbol.name), self._instrument_key(symbol.name)]
                if entry is None or entry.reason:
                    continue
                symbol.active = True
                public.append(self._serve_depth(now, symbol.name))
                market.append(self._serve_mark(now, symbol.name))
            new = [interval for interval in symbol.intervals if self._bars.get(symbol.name, interval) is None]
            market += [self._serve_bars(now, symbol.name, name) for name in sorted(new, key=INTERVAL_MS.__getitem__)]
        out: Out = [Dirty(tuple(dirty))] if dirty else []
        if public:
            out += self._links.want(now, "public", public)
        if market:
            out += self._links.want(now, "market", market)
        return out + self._bars.pump(now)

    def _serve_depth(self, now: Now, symbol: str) -> str:
        record = self._depth.add(now, symbol)
        self._routes[record.stream] = record
        self._renders[record.key] = lambda at: self._depth.render(at, record)
        return record.stream

    def _serve_mark(self, now: Now, symbol: str) -> str:
        record = self._marks.add(now, symbol)
        self._routes[record.stream] = record
        self._renders[record.key] = lambda at: self._marks.render(at, record)
        return record.stream

    def _serve_bars(self, now: Now, symbol: str, interval: str) -> str:
        record = self._bars.add(now, symbol, interval)
        self._routes[record.stream] = record
        self._renders[record.bar_key] = lambda at: self._bars.render_bar(at, record)
        self._renders[record.bars_key] = lambda at: self._bars.render_bars(at, record)
        return record.stream

    def _offer_down(self, symbol: str) -> None:
        """From the first wish on there is a slice that says `down`; serving replaces it."""
        self._renders[keys.book(self._context.account, symbol)] = lambda now: self._render_down(now, symbol)
        self._renders[self._instrument_key(symbol)] = lambda now: self._render_instrument(now, symbol)

    # -- inputs ---------------------------------------------------------------------------------------------------

    def on_frame(self, now: Now, frame: Frame) -> Out:
        """One frame of a public or market connection: at most one slice changes."""
        parsed = self._parse(frame.data)
        if type(parsed) is not Streamed:
            return self._odd_frame(now, frame, parsed)  # type: ignore[arg-type]
        out = self._links.saw_frame(now, frame.conn, parsed.stream)
        if not self._links.carries(frame.conn):
            self._context.notices.count("frame.unexpected_connection")
            return out
        record = self._routes.get(parsed.stream)
        data = parsed.data
        if isinstance(data, Diff) and type(record) is DepthRecord and data.symbol == record.symbol:
            result = self._depth.on_diff(now, record, data, frame.recv_ns)
        elif isinstance(data, MarkUpdate) and type(record) is MarkRecord and data.symbol == record.symbol:
            result = self._marks.on_update(now, record, data, frame.recv_ns)
        elif isinstance(data, BarUpdate) and type(record) is BarRecord and _matches(data, record):
            result = self._bars.on_update(now, record, data, frame.recv_ns)
        else:
            result = self._mismatch(now, parsed.stream, record)
        return out + result if out else result

    def _mismatch(self, now: Now, stream: str, record: DepthRecord | MarkRecord | BarRecord | None) -> Out:
        """A frame under a name nobody subscribed to, or whose content belongs to another symbol."""
        out: Out = list(self._context.notices.say(now, "warning", "frame.misplaced", stream[:60]))
        if isinstance(record, DepthRecord):
            out += self._depth.on_bad(now, record, "the message belongs to another symbol or kind")
        return out

    def _odd_frame(self, now: Now, frame: Frame, parsed: BadFrame | Unused | CommandReply) -> Out:
        """Counted and reported under its own name; a depth message that cannot be read costs its book."""
        notices = self._context.notices
        out = self._links.saw_frame(now, frame.conn)
        if isinstance(parsed, Unused):
            notices.count("frame.unused." + parsed.name if parsed.known else "frame.unknown")
            if not parsed.known:
                out += notices.say(now, "info", "frame.unknown_event", parsed.name)
        elif isinstance(parsed, CommandReply):
            self._links.answered(frame.conn, parsed.id)
            if parsed.error is not None:
                out += notices.say(now, "error", "stream.command_refused", frame.conn, detail=parsed.error)
        else:
            about = parsed.stream or frame.conn
            out += notices.say(now, "warning", f"frame.{parsed.kind}", about, detail=parsed.detail)
            record = self._routes.get(parsed.stream) if parsed.stream is not None else None
            if isinstance(record, DepthRecord) and self._links.carries(frame.conn):
                out += self._depth.on_bad(now, record, parsed.kind)
        return out

    def on_rest(self, now: Now, reply: RestReply | RestFailed) -> Out:
        """Keys ("market", "info" | "depth" | "compare" | "bars", ...)."""
        purpose = reply.key[1]
        if purpose == "info":
            fresh, out = self._catalog.on_rest(now, reply, self._symbols)
            if fresh:
                out.append(LimitsRead(self._catalog.limits))
                out.append(Dirty(tuple(self._instrument_key(name) for name in self._symbols)))
                out += self._activate(now)
            return out
        if purpose == "bars":
            out = self._bars.on_rest(now, reply)
            for one in self._bars.take_mute():
                out += self._links.silent(now, one.stream, one.silent_ms, one.deadline_ms, "market", first=one.first)
                out += self._links.resubscribe(now, "market", one.stream)
            return out
        return self._handle(now, self._depth.on_rest(now, reply))

    def _handle(self, now: Now, result: DepthOut) -> Out:
        out = result.out
        for doubt in result.suspicions:
            out += self._links.silent(
                now, doubt.stream, doubt.silent_ms, doubt.deadline_ms, "public", first=doubt.first
            )
            if doubt.alone:
                out += self._links.resubscribe(now, "public", doubt.stream)
        if not all(doubt.alone for doubt in result.suspicions):
            out += self._links.suspect(now, "public", "depth messages were lost: REST moved on without the stream")
        return out

    def on_signal(self, now: Now, signal: Signal) -> Out:
        """CatalogDoubt: the exchange refused by a filter we thought was kept."""
        return self._catalog.refresh(now) if isinstance(signal, CatalogDoubt) else []

    def _on_family(self, now: Now, family: str, up: bool, reason: str) -> Out:
        if family == "public":
            return self._depth.connected(now) if up else self._depth.disconnected(now, reason)
        if up:
            self._marks.connected(now)
            return self._bars.connected(now)
        return self._marks.disconnected() + self._bars.disconnected()

    def on_tick(self, now: Now) -> Out:
        out = self._catalog.on_tick(now)
        out += self._handle(now, self._depth.on_tick(now))
        out += self._bars.on_tick(now)
        for record in self._marks.newly_silent(now):
            silent_ms = (now.boot_ns - record.seen_ns) // 1_000_000
            deadline_ms = self._settings.mark_silence_ms
            out += self._links.silent(now, record.stream, silent_ms, deadline_ms, "market", first=not record.fresh)
            out.append(record.dirty)
            if all(other.silent for other in self._marks.records()):
                out += self._links.suspect(now, "market", "all mark prices are silent")
                break
            out += self._links.resubscribe(now, "market", record.stream)
        return out

    def next_deadline_boot_ns(self) -> int | None:
        dues = (self._catalog.next_deadline_boot_ns(), self._depth.next_deadline_boot_ns())
        known = [due for due in dues if due is not None]
        return min(known) if known else None

    # -- what others see ------------------------------------------------------------------------------------------

    def keys(self) -> tuple[str, ...]:
        """Every slice of this part. `:bars:` and `:instrument` are rewritten only when Dirty names them."""
        return tuple(self._renders)

    def render(self, now: Now, key: str) -> bytes | None:
        render = self._renders.get(key)
        return render(now) if render is not None else None

    def book_page(self, symbol: str, limit: int, token: str | None) -> tuple[dict[str, Any], str | None]:
        """The answer of the operation `book`: (result, next). Raises IpcError."""
        self._must_serve(symbol)
        return self._depth.page(symbol, limit, token)

    def bars_page(
        self, symbol: str, interval: str, limit: int, end_ms: int | None, token: str | None
    ) -> tuple[dict[str, Any], str | None]:
        """The answer of the operation `bars`: (result, next). Raises IpcError."""
        self._must_serve(symbol)
        return self._bars.page(symbol, interval, limit, end_ms, token)

    def _must_serve(self, symbol: str) -> None:
        held = self._symbols.get(symbol)
        if held is not None and not held.active:
            entry = self._catalog.get(symbol)
            code = "symbol.not_trading" if entry is not None and entry.instrument is not None else "symbol.unknown"
            reason = entry.reason if entry is not None else "the exchange's information was not read yet; ask again"
            raise IpcError(code, f"{symbol} is down: {reason}")

    def counters(self) -> dict[str, int]:
        """Counts since the start, by name, for the gateway slice."""
        return self._context.notices.counters

    def symbols(self) -> tuple[str, ...]:
        return tuple(self._symbols)

    def down_reason(self, symbol: str) -> str | None:
        """Why a wanted symbol is not served, or None."""
        held = self._symbols.get(symbol)
        if held is None or held.active:
            return None
        entry = self._catalog.get(symbol)
        return entry.reason if entry is not None else "the exchange's information was not read yet"

    def instrument(self, symbol: str) -> Instrument | None:
        entry = self._catalog.get(symbol)
        return entry.instrument if entry is not None else None

    def best(self, symbol: str, now: Now) -> tuple[Decimal, Decimal] | None:
        record = self._depth.get(symbol)
        if record is None or not record.live:
            return None
        best = record.keeper.book.best()
        return (Decimal(best[0][0]), Decimal(best[1][0])) if best is not None else None

    def mark(self, symbol: str, now: Now) -> Decimal | None:
        return self._marks.price(symbol, now)

    def server_ms(self, now: Now) -> int:
        return self._links.clock.server_ms(now)

    def clock_known(self) -> bool:
        return self._links.clock.known

    def _instrument_key(self, symbol: str) -> str:
        return keys.instrument(self._context.account, symbol)

    def _render_down(self, now: Now, symbol: str) -> bytes:
        head = self._context.heads.fields(now, "down", symbol=symbol)
        return _encode(BookSlice(**head, u=0, bids=[], asks=[]))

    def _render_instrument(self, now: Now, symbol: str) -> bytes | None:
        entry = self._catalog.get(symbol)
        if entry is None:
            return None
        return _encode(self._instrument_slice(now, symbol, entry))

    def _instrument_slice(self, now: Now, symbol: str, entry: Entry) -> InstrumentSlice:
        """A symbol the exchange lacks has the status `MISSING` and zeros: state `down` says not to use them."""
        found = entry.instrument
        head = self._context.heads.fields(now, "down" if entry.reason else "live", symbol=symbol)
        own: dict[str, Any] = {
            name: text(getattr(found, name)) if found is not None else "0" for name in _INSTRUMENT_NUMBERS
        }
        if self._account is not None and found is not None:
            settings = self._account.settings(symbol)
            own |= {
                "leverage": settings.leverage,
                "margin_type": settings.margin_type,
                "position_mode": settings.position_mode,
                "maker_fee": text(settings.maker_fee) if settings.maker_fee is not None else None,
                "taker_fee": text(settings.taker_fee) if settings.taker_fee is not None else None,
                "entries_refused": settings.entries_refused,
            }
        return InstrumentSlice(
            **head,
            status=found.status if found is not None else MISSING,
            base=found.base if found is not None else "",
            quote=found.quote if found is not None else "",
            margin_asset=found.margin_asset if found is not None else "",
            max_orders=found.max_orders if found is not None else None,
            **own,
        )


_INSTRUMENT_NUMBERS = (
    "tick", "step", "market_step", "min_qty", "max_qty", "market_min_qty", "market_max_qty", "min_price", "max_price",
    "min_notional", "multiplier_up", "multiplier_down",
)  # fmt: skip


def _matches(data: BarUpdate, record: BarRecord) -> bool:
    return data.symbol == record.symbol and data.interval == record.interval
