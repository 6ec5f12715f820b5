"""A model as a picture for a terminal, and as one plain line. Pure: a model in, something rich can draw out."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ipc.events import Event
from ipc.slices import BookSlice
from scripts.view_model import Model, ProcessLine, SymbolModel, net_profit, spread

WIDE, TALL = 120, 36  # columns and lines from which everything is shown
NARROW = 76  # columns below which a row of the ordinary tables would not fit
_GOOD = {"ready": "green", "starting": "yellow", "waiting": "yellow", "backoff": "red", "failed": "bold red"}


class Room(NamedTuple):
    """How much there is to draw on. `narrow`: what would be cut off is left out instead."""

    wide: bool = True
    tall: bool = True
    narrow: bool = False

    @property
    def rows(self) -> int:
        """Of fills, orders and book levels each."""
        return 5 if self.tall else 3


def room_of(width: int, height: int) -> Room:
    return Room(width >= WIDE, height >= TALL, width < NARROW)


def render(model: Model, room: Room = Room()) -> RenderableType:  # noqa: B008  an immutable value
    """The whole view, most important first: a short terminal cuts at the bottom."""
    parts: list[RenderableType] = [_header(model)]
    if model.problem and (model.gateway is not None or not model.processes):  # else the processes say it
        parts.append(Text(model.problem, style="bold red"))
    parts += [_symbols(model, room), _brains(model, room)]
    lists = [_fills(model, room), _orders(model, room)]
    books = [_book(name, held.book, room) for name, held in model.symbols.items()]
    parts += [Columns(lists, padding=(0, 3)), Columns(books, padding=(0, 3)), _latencies(model)]
    if model.footer:
        parts.append(Text(model.footer, style="dim"))
    return Group(*parts)


def _header(model: Model) -> RenderableType:
    gateway = model.gateway
    line = Text(model.title or f"Brainstem {model.account}", style="bold")
    if gateway is None:
        line.append("   gateway: not heard of yet", style="yellow")
    else:
        age, fresh = model.freshness(gateway)
        ready = gateway.ready and fresh
        line.append(f"   {gateway.environment}", style="cyan")
        line.append("   gateway ready" if ready else f"   gateway NOT ready, {age}", style="green" if ready else "red")
        line.append(f"   risk {gateway.risk}", style="" if gateway.risk == "running" else "bold yellow")
        line.append(f"   unknown {gateway.unknown}", style="" if not gateway.unknown else "bold red")
    if model.wallet is not None:
        line.append("   " + ", ".join(f"{_short(b.wallet, 2)} {b.asset}" for b in model.wallet.balances[:3]))
    line.append(f"   orders {model.tally.sent}, fills {model.tally.fills}")
    if model.processes:
        line.append("\n")
        for process in model.processes:
            line.append(f"{process.name} ")
            line.append(process.state, style=_GOOD.get(process.state, ""))
            line.append(f" ({process.restarts} restarts)   " if process.restarts else "   ", style="red")
    for process in _in_trouble(model):
        line.append(f"\n{process.name}: {_clip(process.detail, 200)}", style="red")
    return Panel(line, padding=(0, 1))


def _in_trouble(model: Model) -> list[ProcessLine]:
    return [process for process in model.processes if process.state in ("backoff", "failed") and process.detail]


def _symbols(model: Model, room: Room) -> Table:
    more = (">spread", ">funding", ">entry") if room.wide else ()
    less = () if room.narrow else (">mark", ">unrealised")
    table = _table("symbol", ">bid", ">ask", ">position", *less, *more, ">age")
    for name, held in model.symbols.items():
        age, fresh = model.freshness(held.book)
        found = spread(held.book) if held.book is not None else None
        bid, ask, basis_points = (str(found[0]), str(found[1]), f"{found[2]:.2f} bp") if found else ("-", "-", "-")
        mark = held.mark.mark if held.mark is not None else "-"
        funding = held.mark.funding_rate if held.mark is not None else None
        qty, entry, unrealised = _position(held)
        state = held.book.state if held.book is not None else "-"
        shown = Text(age if fresh else f"{state} {age}", style="green" if fresh else "yellow")
        rest = (basis_points, _percent(funding), entry) if room.wide else ()
        ordinary = () if room.narrow else (_short(mark, 2), unrealised)
        table.add_row(name, bid, ask, qty, *ordinary, *rest, shown)
    return table


def _position(held: SymbolModel) -> tuple[Text, str, Text]:
    legs = [leg for leg in held.position.legs if Decimal(leg.qty) != 0] if held.position is not None else []
    if not legs:
        return Text("flat" if held.position is not None else "-", style="dim"), "", Text("")
    qty = Text(" ".join(f"{leg.qty}{'' if leg.leg == 'BOTH' else ' ' + leg.leg}" for leg in legs), style="bold")
    entry = " ".join(_short(leg.entry, 2) for leg in legs)
    return qty, entry, _money(sum((Decimal(leg.unrealised or 0) for leg in legs), Decimal(0)))


def _brains(model: Model, room: Room) -> Table:
    more = ("state", ">position", ">orders/fills") if room.wide else ()
    table = _table("brain", "last decision", ">next bar", ">profit", *more)
    for ledger in model.ledgers:
        show = ledger.show or {}
        state = str(show.get("state") or "") if ledger.alive else "gone"
        warm_up = str(show.get("warm_up") or "")
        decision = str(show.get("decision") or warm_up or "none yet")
        style = "green" if ledger.alive else "red"
        qty = Text(ledger.qty, style="" if Decimal(ledger.qty) == 0 else "bold")
        rest = (Text(_clip(state or "alive", 30), style=style), qty, f"{ledger.orders}/{ledger.fills}")
        table.add_row(
            Text(ledger.brain, style=style),
            _clip(_aged(decision, show.get("decision_ms"), model), 60 if room.wide else 20 if room.narrow else 42),
            _until(show.get("next_bar_ms"), model),
            _money(net_profit(ledger)),
            *(rest if room.wide else ()),
        )
    if not model.ledgers:
        table.add_row(Text("no brain yet", style="dim"))
    return table


def _book(name: str, book: BookSlice | None, room: Room) -> Table:
    table = _table(f">{name} qty", ">bid", "ask", "qty")
    for level in range(room.rows):
        bid = book.bids[level] if book is not None and level < len(book.bids) else ("", "")
        ask = book.asks[level] if book is not None and level < len(book.asks) else ("", "")
        table.add_row(bid[1], Text(bid[0], style="green"), Text(ask[0], style="red"), ask[1])
    return table


def _fills(model: Model, room: Room) -> Table:
    table = _table("fill", "symbol", "side", ">qty", ">price", ">realised")
    for event in model.tally.newest[: room.rows]:
        data = event.data
        side = str(data.get("side", ""))
        table.add_row(
            _clock(event.at_ns),
            event.symbol or "",
            Text(side, style="green" if side == "BUY" else "red"),
            str(data.get("last_qty", "")),
            str(data.get("last_price", "")),
            _money(Decimal(str(data.get("realised") or 0))),
        )
    if not model.tally.newest:
        table.add_row(Text("none yet", style="dim"))
    return table


def _orders(model: Model, room: Room) -> Table:
    table = _table("open order", "side", ">qty", ">price", "state", "tag")
    orders = model.open_orders
    for order in orders[: room.rows]:
        style = "green" if order.side == "BUY" else "red"
        qty = order.qty if order.filled_qty == "0" else f"{order.filled_qty}/{order.qty}"
        table.add_row(
            order.symbol, Text(order.side, style=style), qty, order.price or order.type, order.state, order.tag
        )
    if not orders:
        table.add_row(Text("none", style="dim"))
    elif len(orders) > room.rows:
        table.add_row(f"and {len(orders) - room.rows} more")
    return table


def _latencies(model: Model) -> RenderableType:
    held = model.latency_us
    if not held:
        return Text("latencies: none measured yet", style="dim")
    table = _table("hop", ">p50", ">p99", ">samples")
    for hop, sample in held.items():
        p50, p99, count = (latency(sample.get("p50")), latency(sample.get("p99")), int(sample.get("n", 0)))
        table.add_row(hop.replace("_", " "), p50, p99, str(count))
    return table


def plain_line(model: Model) -> str:
    """One line for logs and pipes."""
    parts = [_clock(model.now.wall_ns)]
    gateway = model.gateway
    if model.problem and (gateway is not None or not model.processes):
        parts.append(model.problem)
    elif gateway is None:
        waiting = [f"{process.name} {process.state}" for process in model.processes]
        parts.append("starting: " + ", ".join(waiting) if waiting else "no gateway yet")
    else:
        parts.append("ready" if gateway.ready and model.freshness(gateway)[1] else "NOT ready")
    parts += [f"{process.name}: {_clip(process.detail, 200)}" for process in _in_trouble(model)]
    for name, held in model.symbols.items():
        found = spread(held.book) if held.book is not None else None
        if found and held.book is not None:
            qty, _, _ = _position(held)
            parts.append(
                f"{name} {found[0]}/{found[1]} {held.book.state} {model.freshness(held.book)[0]} pos {qty.plain}"
            )
    for ledger in model.ledgers:
        show = ledger.show or {}
        decision = _clip(str(show.get("decision") or show.get("warm_up") or "no decision yet"), 40)
        parts.append(
            f"{ledger.brain} {net_profit(ledger):+.2f} ({decision}; next bar {_until(show.get('next_bar_ms'), model)})"
        )
    parts.append(f"orders {model.tally.sent} fills {model.tally.fills}")
    return " | ".join(parts)


def latency(value_us: float | None) -> str:
    if value_us is None:
        return "-"
    return f"{value_us:.0f} us" if value_us < 10_000 else f"{value_us / 1000:.1f} ms"


def fill_text(event: Event) -> str:
    data: dict[str, Any] = event.data
    return f"{_clock(event.at_ns)} {event.symbol} {data.get('side')} {data.get('last_qty')} at {data.get('last_price')}"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold dim", pad_edge=False)
    for column in columns:
        name = column.removeprefix(">")
        table.add_column(name, justify="right" if column.startswith(">") else "left", no_wrap=True)
    return table


def _money(value: Decimal) -> Text:
    return Text(f"{value:+.2f}", style="green" if value > 0 else "red" if value < 0 else "dim")


def _short(value: str | None, places: int) -> str:
    try:
        return f"{Decimal(value or 0):.{places}f}"
    except ArithmeticError:
        return str(value)


def _percent(rate: str | None) -> str:
    return f"{Decimal(rate) * 100:.4f} %" if rate else "-"


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _clock(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9, tz=UTC).strftime("%H:%M:%S")


def _aged(text: str, at_ms: object, model: Model) -> str:
    if not isinstance(at_ms, int):
        return text
    return f"{text} ({max(0, model.now.wall_ns // 1_000_000 - at_ms) // 1000} s ago)"


def _until(at_ms: object, model: Model) -> str:
    if not isinstance(at_ms, int):
        return "-"
    left_s = max(0, at_ms - model.now.wall_ns // 1_000_000) // 1000
    return f"{left_s // 60}:{left_s % 60:02d}"
