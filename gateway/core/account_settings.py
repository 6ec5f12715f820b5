"""Position mode, leverage and margin type: read, set while flat, judged. Pure.

Read -> decide -> write -> read again -> judge. Where the exchange agrees nothing is sent. Where it differs and the
symbol is not flat (or the write failed), or where leverage is above the limit, entries of the symbol are refused with
the reason; closes go on in the mode the exchange has. Each symbol is written to when it is first read (at start, or
when a brain brings it), the mode at start. What somebody else changes after that is set back as soon as the symbol (for
the mode: the account) is flat and without orders, a few times an hour at most; then entries stay refused until a
person decides.
Fees are read once per symbol, one request at a time, in the data lane: they cost 20 weight each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.core.account_venue import AccountVenue, OwnSettings, ReplyError
from gateway.core.effects import Report, Send
from gateway.core.inputs import Key, Now
from gateway.core.parts import Out
from gateway.core.ports import SymbolSettings
from gateway.core.settings_restore import RESTORES_MAX, Restores
from gateway.core.signals import ClockSuspect
from gateway.core.venue_orders import ConfigUpdate

RETRY_NS = 2_000_000_000
STALL_NS = 90_000_000_000
MAX_TRIES = 5  # of one read; then the start goes on and entries stay refused until the next full reading
OWNER = ("account", "set")


@dataclass(frozen=True, slots=True)
class SymbolWish:
    """What the configuration wants of one symbol; None: as it is."""

    leverage: int | None = None
    margin_type: str | None = None  # "crossed" or "isolated"


@dataclass(frozen=True, slots=True)
class AccountWish:
    """`position_mode`: "one_way", "hedge", or None (as it is). Entries need leverage up to `max_leverage`."""

    position_mode: str | None = None
    max_leverage: int = 10
    default: SymbolWish = SymbolWish()
    symbols: Mapping[str, SymbolWish] = field(default_factory=dict)

    def of(self, symbol: str) -> SymbolWish:
        return self.symbols.get(symbol, self.default)

    def differs(self, symbol: str, have: OwnSettings) -> bool:
        """Is there something to write? Leverage above the limit is never written."""
        wish = self.of(symbol)
        leverage = wish.leverage is not None and wish.leverage <= self.max_leverage and wish.leverage != have.leverage
        return leverage or wish.margin_type not in (None, have.margin_type)


@dataclass(slots=True)
class _Ask:
    send: Callable[[Key, int], Send]
    due_ns: int  # when to send again: a wait after a failure, or `STALL_NS` after a request nobody answered
    tries: int = 0


class SettingsKeeper:
    """`settled` is True once judged (well or badly); `start` once an epoch, `reread` with every full reading."""

    def __init__(
        self, wish: AccountWish, venue: AccountVenue, symbols: Iterable[str], server_ms: Callable[[Now], int]
    ) -> None:
        self._wish = wish
        self._venue = venue
        self._symbols = list(symbols)
        self._server_ms = server_ms
        self.mode: str | None = None
        self.settled = False
        self._have: dict[str, OwnSettings] = {}
        self._fees: dict[str, tuple[Decimal, Decimal]] = {}
        self._fees_due: list[str] = []
        self._faults: dict[str, str] = {}  # symbol, or "" for the mode: why a write failed
        self._asks: dict[Key, _Ask] = {}
        self._fresh = list(self._symbols)  # not decided on yet
        self._mode_decided = False
        self._wrote: set[str] = set()  # symbols, and "" for the mode
        self._restores = Restores()
        self._differing: tuple[str, ...] = ()  # from the wish, by the newest word: symbols, and "" for the mode
        self._often: frozenset[str] = frozenset()  # set back as often as an hour allows
        self._count = 0

    # -- the root's calls

    def start(self, now: Now) -> Out:
        self._fees_due = [symbol for symbol in self._symbols if symbol not in self._fees]
        return [*self.reread(now), *self._next_fee(now)]

    def reread(self, now: Now) -> Out:
        """Mode and symbol settings; what is already being asked is not asked twice."""
        if any(key[2] in ("mode", "config") for key in self._asks):
            return []
        return [
            self._ask(now, "mode", "", self._venue.position_mode),
            self._ask(now, "config", "", self._venue.symbol_settings),
        ]

    def add(self, now: Now, symbols: Iterable[str]) -> Out:
        """Symbols that came later: read, then decided on like the first ones."""
        new = [symbol for symbol in symbols if symbol not in self._symbols]
        if not new:
            return []
        self._symbols += new
        self._fresh += new
        self._fees_due += new
        return [*self.reread(now), *self._next_fee(now)]

    def on_reply(self, now: Now, key: Key, status: int, body: bytes) -> Out:
        ask = self._asks.pop(key, None)
        if ask is None:
            return []
        kind, symbol = str(key[2]), str(key[3])
        try:
            self._take(kind, symbol, status, body)
        except ReplyError as fault:
            if fault.kind == "clock":  # certainly not done: worth another try even for a write
                return [*self._failed(now, key, ask, str(fault), False), ClockSuspect(str(fault))]
            return self._failed(now, key, ask, str(fault), fault.kind == "keys" or kind.startswith("set"))
        return self._after(now, kind)

    def on_failed(self, now: Now, key: Key, reason: str) -> Out:
        ask = self._asks.pop(key, None)
        if ask is None:
            return []
        return self._failed(now, key, ask, reason, str(key[2]).startswith("set"))

    def on_tick(self, now: Now) -> Out:
        out: Out = []
        self._often = self._restores.all_spent(now.boot_ns)
        for key, ask in list(self._asks.items()):
            if ask.due_ns <= now.boot_ns:
                ask.due_ns = now.boot_ns + STALL_NS
                out.append(ask.send(key, self._server_ms(now)))
        return out

    def next_deadline_boot_ns(self) -> int | None:
        return min((ask.due_ns for ask in self._asks.values()), default=None)

    def decide(self, now: Now, idle: Callable[[str | None], bool], known: Callable[[str], bool]) -> Out:
        """Write what differs where `idle(symbol)` (None: the whole account) is flat without orders.

        Call it on ticks once the account has been read; `known(symbol)`: its position has. Does nothing until mode
        and settings are read, and nothing for what has been decided on.
        """
        if self._asking():
            return []
        out = self._writes(now, idle, [symbol for symbol in self._fresh if known(symbol)]) if self.read else []
        if not out:
            self.settled = True
        return out

    def undecided(self, now: Now) -> bool:
        """Is there something to write, now or as soon as it is flat?"""
        return bool(self._fresh) or (self.settled and self.read and bool(self._astray(now)))

    def _astray(self, now: Now) -> list[str]:
        """What differs from the wish and may be set back: symbols, and "" for the mode."""
        return [one for one in self._differing if self._restores.may(one, now.boot_ns)]

    def _compare(self) -> None:
        """After every reading and every word of the stream: what differs from the wish. Ticks only look at that."""
        symbols = [
            symbol
            for symbol in self._symbols
            if (have := self._have.get(symbol)) is not None and self._wish.differs(symbol, have)
        ]
        mode = [""] if self._wish.position_mode not in (None, self.mode) else []
        self._differing = (*mode, *symbols)

    def by_us(self, symbol: str) -> bool:
        """The first change seen of a symbol's settings (of the mode: "") since we wrote to it is our own doing."""
        ours = symbol in self._wrote
        self._wrote.discard(symbol)
        return ours

    def on_config(self, update: ConfigUpdate) -> bool:
        """Leverage of a symbol as the stream says; True where it changed."""
        if update.symbol is None or update.leverage is None:
            return False
        have = self._have.get(update.symbol, OwnSettings(None, None))
        self._have[update.symbol] = OwnSettings(update.leverage, have.margin_type)
        self._compare()
        return have.leverage != update.leverage

    # -- what others see

    @property
    def read(self) -> bool:
        return self.mode is not None and bool(self._have)

    def view(self, symbol: str, entries_refused: str | None) -> SymbolSettings:
        have = self._have.get(symbol, OwnSettings(None, None))
        maker, taker = self._fees.get(symbol, (None, None))
        return SymbolSettings(have.leverage, have.margin_type, self.mode, maker, taker, entries_refused)

    def refusal(self, symbol: str) -> str | None:
        """Why its settings allow no entry, or None. Asked for by every entry."""
        if self.mode is None or not self._have:
            return "leverage, margin type and position mode have not been read yet"
        have, wish = self._have.get(symbol), self._wish.of(symbol)
        if have is None:
            return f"the exchange states no settings of {symbol}"
        if self._wish.position_mode not in (None, self.mode):
            return self._differs("position mode", self.mode, self._wish.position_mode, "")
        if wish.margin_type is not None and wish.margin_type != have.margin_type:
            return self._differs("margin type", have.margin_type, wish.margin_type, symbol)
        if wish.leverage is not None and wish.leverage != have.leverage:
            return self._differs("leverage", have.leverage, wish.leverage, symbol)
        if have.leverage is None or have.leverage > self._wish.max_leverage:
            return f"leverage {have.leverage} is above the limit of {self._wish.max_leverage}"
        return None

    def _differs(self, what: str, have: object, want: object, symbol: str) -> str:
        why = self._faults.get(symbol, "it is set while flat and without orders")
        if symbol in self._often:
            why = f"it was set back {RESTORES_MAX} times within an hour; find out who changes it, or change the wish"
        return f"{what} is {have}, configured {want}: {why}"

    # -- inside

    def _take(self, kind: str, symbol: str, status: int, body: bytes) -> None:
        if kind == "mode":
            self.mode = self._venue.read_position_mode(status, body)
            self._compare()
        elif kind == "config":
            self._have = self._venue.read_symbol_settings(status, body)
            self._compare()
        elif kind == "fee":
            self._fees[symbol] = self._venue.read_commission(status, body)
        elif kind == "set_leverage":
            self._venue.read_leverage(status, body)
        else:
            self._venue.read_done(status, body)

    def _after(self, now: Now, kind: str) -> Out:
        if kind in ("fee", "config"):
            return self._next_fee(now)
        if kind.startswith("set") and not self._asking():
            return self.reread(now)  # what was written is believed when it is read
        return []

    def _failed(self, now: Now, key: Key, ask: _Ask, reason: str, final: bool) -> Out:
        kind, symbol = str(key[2]), str(key[3])
        ask.tries += 1
        what = {"what": kind, "symbol": symbol, "why": reason}
        out: Out = [Report("warning", "account setting request failed", what)]
        if final or ask.tries >= MAX_TRIES:
            if kind.startswith("set"):
                self._faults[symbol] = reason
            return [*out, *self._after(now, kind)]
        ask.due_ns = now.boot_ns + RETRY_NS * ask.tries
        self._asks[key] = ask
        return out

    def _asking(self) -> bool:
        return any(key[2] != "fee" for key in self._asks)

    def _writes(self, now: Now, idle: Callable[[str | None], bool], fresh: list[str]) -> Out:
        out: Out = []
        mode = self._wish.position_mode
        astray = self._astray(now) if self.settled else []
        if (not self._mode_decided or "" in astray) and mode not in (None, self.mode) and idle(None):
            out.append(self._ask(now, "set_mode", "", lambda key, ms: self._venue.set_position_mode(key, ms, mode)))
        self._mode_decided = True
        for symbol in dict.fromkeys([*fresh, *filter(None, astray)]):
            if symbol in self._fresh:
                self._fresh.remove(symbol)
            have = self._have.get(symbol)
            if have is not None and idle(symbol):
                out += self._symbol_writes(now, symbol, have, self._wish.of(symbol))
        written = {str(item.key[3]) for item in out if isinstance(item, Send)}
        self._wrote |= written
        for one in written:
            self._faults.pop(one, None)
            if one in astray:
                self._restores.note(one, now.boot_ns)
        return out

    def _symbol_writes(self, now: Now, symbol: str, have: OwnSettings, wish: SymbolWish) -> list[Send]:
        out = []
        margin, leverage = wish.margin_type, wish.leverage
        if margin is not None and margin != have.margin_type:
            out.append(
                self._ask(
                    now, "set_margin", symbol, lambda key, ms: self._venue.set_margin_type(key, ms, symbol, margin)
                )
            )
        if leverage is not None and leverage != have.leverage and leverage <= self._wish.max_leverage:
            out.append(
                self._ask(
                    now, "set_leverage", symbol, lambda key, ms: self._venue.set_leverage(key, ms, symbol, leverage)
                )
            )
        return out

    def _next_fee(self, now: Now) -> Out:
        """One at a time, and only of symbols the exchange was seen to have: any other waits for a later reading."""
        symbol = next((symbol for symbol in self._fees_due if symbol in self._have), None)
        if symbol is None or any(key[2] == "fee" for key in self._asks):
            return []
        self._fees_due.remove(symbol)
        return [self._ask(now, "fee", symbol, lambda key, ms: self._venue.commission(key, ms, symbol))]

    def _ask(self, now: Now, kind: str, symbol: str, send: Callable[[Key, int], Send]) -> Send:
        self._count += 1
        key: Key = (*OWNER, kind, symbol, self._count)
        self._asks[key] = _Ask(send, now.boot_ns + STALL_NS)
        return send(key, self._server_ms(now))
