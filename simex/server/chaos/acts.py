"""What a fault does when it begins, and how that is undone at its end. Message faults need neither."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

import orjson

from simex.core.exchange import Exchange
from simex.server.chaos import foreign
from simex.server.chaos.door import Door
from simex.server.chaos.kinds import INSTANT, KINDS
from simex.server.faults import Fault
from simex.server.streams import MARKET, PUBLIC, Stream
from simex.server.wire import Wire
from simex.server.world import World

Undo = Callable[[], None]
Begun = tuple[dict[str, Any], Undo | None]
_DRIP_BYTES, _DRIP_EVERY_MS = 64, 50
_FILTERS = {
    "min_notional": "min_notional", "min_qty": "min_qty", "max_qty": "max_qty", "market_max_qty": "market_max_qty",
    "multiplier_up": "multiplier_up", "multiplier_down": "multiplier_down", "tick_size": "order_tick",
    "step_size": "order_step",
}  # fmt: skip


class InfoSource(Protocol):
    """Who answers exchangeInfo: `freeze` makes it answer what it would answer now."""

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@dataclass
class Reach:
    """What faults can get at. `cut_all` cuts every TCP connection and says how many there were."""

    world: World
    exchange: Exchange
    door: Door
    info: InfoSource
    cut_all: Callable[[], int]
    revoke: Callable[[str | None], Undo]
    """Make an account's keys worthless, or everybody's, until the returned callable is called."""


class Acts:
    """Begins faults and ends them. One per server."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._world = reach.world
        self._undo: dict[int, Undo] = {}
        self._begin: dict[str, Callable[[Fault], Begun]] = {
            "close": self._close, "cut_all": self._cut_all, "frame_cut": self._frame_cut, "half_open": self._half_open,
            "drip": self._drip, "moved": self._moved, "refuse": self._refuse, "tls_refuse": self._tls_refuse,
            "tls_certificate": self._tls_certificate, "clock": self._clock, "stale_info": self._stale_info,
            "filters": self._filters, "symbol_status": self._symbol_status, "listen_key_expire": self._end_key,
            "listen_key_delete": self._end_key, "listen_key_gone": self._end_key,
            "key_revoked": self._revoke,
        } | dict.fromkeys(foreign.ACTIONS, self._foreign)  # fmt: skip
        self._moves: dict[int, Fault] = {}
        self._base: dict[str, dict[str, Any]] = {}
        self._changes: dict[str, dict[int, dict[str, Any]]] = {}
        self._plain = reach.world.hub.meaning
        reach.world.hub.meaning = self._meaning
        reach.world.faults.on_end = self._on_end

    def switch_on(self, spec: object) -> dict[str, Any]:
        """Switch one fault on; those that act at once do so and are over. ValueError if it makes no sense."""
        if not isinstance(spec, dict):
            raise ValueError("a fault is a JSON object")
        faults, now = self._world.faults, self._world.fault_ms()
        fault = faults.add(now, spec)
        report: dict[str, Any] = {}
        begin = self._begin.get(fault.kind)
        if begin is not None:
            try:
                report, undo = begin(fault)
            except ValueError:
                faults.withdraw(fault)
                raise
            if undo is not None:
                self._undo[fault.number] = undo
        faults.log.note("begin", now, fault, until_ms=fault.until_ms, **report)
        if KINDS[fault.kind].acts == INSTANT:
            fault.struck += 1
            faults.end(now, fault, "done")
            return {"id": fault.number, "fault": fault.kind, "begin_ms": now, **report}
        if fault.until_ms is not None:
            self._world.later(fault.until_ms - now + 1, lambda: faults.expire(self._world.fault_ms()))
        return fault.listing() | report

    def on_connection(self, connection: Wire) -> None:
        """A new socket meets the faults that are on."""
        faults, where = self._world.faults, {"route": connection.route}
        if faults.idle:
            return
        for fault in faults.active(self._world.fault_ms(), "drip", where):
            connection.drip(_pace(fault))
        for fault in faults.active(self._world.fault_ms(), "half_open", where):
            if fault.fields.get("newcomers"):
                connection.freeze()
                self._add_undo(fault, connection.thaw)

    def _add_undo(self, fault: Fault, more: Undo) -> None:
        before = self._undo.get(fault.number)

        def both() -> None:
            if before is not None:
                before()
            more()

        self._undo[fault.number] = both

    def _on_end(self, fault: Fault) -> None:
        undo = self._undo.pop(fault.number, None)
        if undo is not None:
            undo()

    # -- sockets and the door ----------------------------------------------------------------------------------

    def _sockets(self, fault: Fault) -> list[Wire]:
        return list(self._world.hub.on_route(fault.fields.get("route")))

    def _close(self, fault: Fault) -> Begun:
        victims = self._sockets(fault)
        for connection in victims:
            if "code" in fault.fields:
                connection.close(int(fault.fields["code"]), b"")
            else:
                connection.abort()
        return {"closed": len(victims)}, None

    def _cut_all(self, _fault: Fault) -> Begun:
        return {"closed": self._reach.cut_all()}, None

    def _frame_cut(self, fault: Fault) -> Begun:
        victims = self._sockets(fault)
        for connection in victims:
            connection.cut_frame()
        return {"closed": len(victims)}, None

    def _half_open(self, fault: Fault) -> Begun:
        victims = self._sockets(fault)
        for connection in victims:
            connection.freeze()
        stays = fault.fields.get("stay_dead", False)

        def thaw() -> None:
            for connection in victims:
                connection.thaw()

        return {"frozen": len(victims)}, None if stays else thaw

    def _drip(self, fault: Fault) -> Begun:
        victims = self._sockets(fault)
        for connection in victims:
            connection.drip(_pace(fault))

        def undo() -> None:
            for connection in self._sockets(fault):
                left = self._world.faults.active(self._world.fault_ms(), "drip", {"route": connection.route})
                connection.drip(_pace(left[-1]) if left else None)

        return {"slowed": len(victims)}, undo

    def _refuse(self, _fault: Fault) -> Begun:
        return {}, self._reach.door.refuse()

    def _tls_refuse(self, _fault: Fault) -> Begun:
        return {}, self._reach.door.refuse_handshakes()

    def _tls_certificate(self, fault: Fault) -> Begun:
        return {}, self._reach.door.wrong_certificate(fault.fields["variant"])

    # -- streams -----------------------------------------------------------------------------------------------

    def _moved(self, fault: Fault) -> Begun:
        hub = self._world.hub

        def chosen(name: str) -> bool:
            return fault.selects({"stream": name})

        def begin() -> None:
            self._moves[fault.number] = fault

        def end() -> None:
            del self._moves[fault.number]

        hub.rebind(chosen, begin)
        return {}, lambda: hub.rebind(chosen, end)

    def _meaning(self, name: str, route: str) -> Stream | None:
        """What a name means on a route now that some streams have moved: theirs, or nothing."""
        move = next((fault for fault in self._moves.values() if fault.selects({"stream": name})), None)
        if move is None:
            return self._plain(name, route)
        if route != move.fields.get("to"):
            return None
        home = self._plain(name, PUBLIC) or self._plain(name, MARKET)
        return replace(home, route=route) if home is not None else None

    # -- the exchange itself -----------------------------------------------------------------------------------

    def _clock(self, fault: Fault) -> Begun:
        clock, skew = self._world.clock, int(fault.fields["skew_ms"])
        clock.skew_ms += skew

        def undo() -> None:
            clock.skew_ms -= skew

        return {}, undo

    def _stale_info(self, _fault: Fault) -> Begun:
        self._reach.info.freeze()
        return {}, self._reach.info.thaw

    def _filters(self, fault: Fault) -> Begun:
        fields = fault.fields
        changes: dict[str, Any] = {
            target: Decimal(str(fields[name])) for name, target in _FILTERS.items() if name in fields
        }
        if "max_orders" in fields:
            changes["max_orders"] = fields["max_orders"]
        if not changes:
            raise ValueError(f"fault filters: name at least one of {', '.join(sorted([*_FILTERS, 'max_orders']))}")
        instrument = self._reach.exchange.instrument(self._symbol(fault))
        for name, grid in (("order_tick", instrument.tick_size), ("order_step", instrument.step_size)):
            if name in changes and (not changes[name] or changes[name] % grid):
                raise ValueError(f"fault filters: tick_size and step_size can only become multiples of {grid:f}")
        return self._change_instrument(fault, changes)

    def _symbol_status(self, fault: Fault) -> Begun:
        return self._change_instrument(fault, {"status": fault.fields["status"]})

    def _symbol(self, fault: Fault) -> str:
        symbol = str(fault.fields["symbol"])
        if symbol not in self._world.symbols:
            raise ValueError(f"fault {fault.kind}: symbol must be one of {', '.join(self._world.symbols)}")
        return symbol

    def _change_instrument(self, fault: Fault, changes: dict[str, Any]) -> Begun:
        symbol = self._symbol(fault)
        old = self._reach.exchange.instrument(symbol)
        base, now = self._base.setdefault(symbol, {}), self._changes.setdefault(symbol, {})
        for name in changes:
            if not any(name in others for others in now.values()):
                base[name] = getattr(old, name)
        now[fault.number] = changes
        self._replace(symbol)

        def undo() -> None:
            del now[fault.number]
            self._replace(symbol)

        return {}, undo

    def _replace(self, symbol: str) -> None:
        """What the symbol was, and on top of it what the faults that are on have changed, in their order."""
        wanted = dict(self._base[symbol])
        for changes in self._changes[symbol].values():
            wanted |= changes
        instrument = replace(self._reach.exchange.instrument(symbol), **wanted)
        self._reach.exchange.replace_instrument(instrument)
        self._world.symbols[symbol].instrument = instrument
        row = {
            "e": "contractInfo", "E": self._world.clock.now_ms(), "s": symbol, "ct": "PERPETUAL",
            "dt": instrument.delivery_ms, "ot": instrument.onboard_ms, "cs": instrument.status, "st": 1,
        }  # fmt: skip
        self._world.publish("contractInfo", "", orjson.dumps(row))

    # -- listenKeys and other people -----------------------------------------------------------------------------

    def _end_key(self, fault: Fault) -> Begun:
        keys, only = self._world.keys, fault.fields.get("account")
        ended = [key for account in keys.accounts() if only in (None, account) and (key := keys.close(account))]
        if fault.kind != "listen_key_gone":
            for key in ended:
                self._world.expire_key(key)
        return {"expired": len(ended)}, None

    def _revoke(self, fault: Fault) -> Begun:
        return {}, self._reach.revoke(fault.fields.get("account"))

    def _foreign(self, fault: Fault) -> Begun:
        return foreign.act(self._world, self._reach.exchange, fault), None


def _pace(fault: Fault) -> tuple[int, int]:
    return int(fault.fields.get("bytes", _DRIP_BYTES)), int(fault.fields.get("every_ms", _DRIP_EVERY_MS))
